#!/usr/bin/env bash
# Measures the processor time that it takes to store large objects: bench/run ingest [MIB [ROUNDS]]. JSFS names another binary.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${JSFS:-}" ] || cargo build --release --locked --quiet
cargo build --release --locked --quiet --manifest-path bench/Cargo.toml
exec node bench/ingest.mjs "$@"
