#!/usr/bin/env bash
# How long a client that means well waits beside attacks on the front door, and how much memory the node takes: bench/run attacks [COUNT [KIND…]]. Each is measured right after
# the same without it, ROUNDS times (3). The client that measures has real-time priority where that is allowed, and attackers are nicer than the node, because they would be on
# other machines. JSFS names another binary, SETTINGS has settings of the node, separated by spaces.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${JSFS:-}" ] || cargo build --release --locked --quiet
cargo build --release --locked --quiet --manifest-path bench/Cargo.toml
ulimit -n "$(ulimit -Hn)"
exec node bench/attacks.mjs "$@"
