#!/usr/bin/env bash
# Measures JSFS against nginx and rclone over HTTP: bench/run http [SECONDS [ROUNDS]]. WORK has only the works whose names contain it; JSFS names another binary.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in wrk nginx rclone; do
  command -v $program >/dev/null || { echo "$program is not installed (Debian: apt-get install wrk nginx-light rclone)" >&2; exit 1; }
done
[ -n "${JSFS:-}" ] || cargo build --release --locked --quiet
cargo build --release --locked --quiet --manifest-path bench/Cargo.toml
ulimit -n "$(ulimit -Hn)"
exec node bench/http.mjs "${1:-5}" "${2:-5}"
