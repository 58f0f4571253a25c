#!/usr/bin/env bash
# How long a client that means well waits beside attacks on the front door, and how much memory the node takes: bench/run attacks [COUNT [KIND…]]. Each is measured right after
# the same without it and beside the same attack on another node, ROUNDS times (3). Ends with 1 where a target is missed. JSFS names another binary, SETTINGS has settings of
# the node, separated by spaces.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${JSFS:-}" ] || cargo build --release --locked --quiet
cargo build --release --locked --quiet --manifest-path bench/Cargo.toml
ulimit -n "$(ulimit -Hn)"
exec node bench/attacks.mjs "$@"
