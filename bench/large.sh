#!/usr/bin/env bash
# Measures JSFS with much in it: bench/run large [SCALE]. JSFS names another binary.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${JSFS:-}" ] || cargo build --release --locked --quiet
cargo build --release --locked --quiet --manifest-path bench/Cargo.toml
ulimit -n "$(ulimit -Hn)"
exec node bench/large.mjs "${1:-100}"
