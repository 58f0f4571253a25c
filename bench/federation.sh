#!/usr/bin/env bash
# Measures what a member of a federation answers that keeps nothing: bench/run federation [MIB [ENTRIES]]. JSFS names another binary.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in nginx openssl; do
  command -v $program >/dev/null || { echo "$program is not installed (Debian: apt-get install nginx-light openssl)" >&2; exit 1; }
done
[ -n "${JSFS:-}" ] || cargo build --release --locked --quiet
exec node bench/federation.mjs "${1:-256}" "${2:-100000}"
