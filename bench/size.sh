#!/usr/bin/env bash
# Measures what releases of several kinds take in JSFS, restic and borg: bench/run size [KIND…]. JSFS names another binary.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in restic borg; do
  command -v $program >/dev/null || { echo "$program is not installed (Debian: apt-get install restic borgbackup)" >&2; exit 1; }
done
[ -n "${JSFS:-}" ] || cargo build --release --locked --quiet
bench/corpora.sh
exec node bench/size.mjs "$@"
