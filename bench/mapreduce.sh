#!/usr/bin/env bash
# Measures map and reduce: bench/run mapreduce [MIB] [js]. Counts the words of a generated text with examples/wordcount: a first run, one without a
# change, one after a line was put into the middle; beside them wc and Node.js. The counts are compared first. First the WebAssembly program, then, where `js` is
# said, the module: it takes fifteen times as long. Needs the target wasm32-wasip1. NODE_BINARY names another build.
set -euo pipefail
cd "$(dirname "$0")/.."
mib=${1:-1024}
binary=${NODE_BINARY:-target/release/jsfs}
[ -n "${NODE_BINARY:-}" ] || cargo build --release --locked --quiet

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
node bench/mapreduce/text.mjs "$mib" "$work/text"
node bench/mapreduce/edit.mjs "$work/text" "$work/edited"

"$binary" serve --data "$work/data" --listen 127.0.0.1:7495 --set log.level=error --set programs.memory=256MiB >"$work/node.txt" &
jsfs=$!
for _ in $(seq 100); do
  curl -s -o "$work/ready" http://127.0.0.1:7495/ && break
  sleep 0.1
done

put() { # file, target
  curl -sf -o "$work/stored" -X PUT -H "x-access-key: $(cat "$work/data/root.key")" -T "$1" "http://127.0.0.1:7495/$2"
}

. bench/ticks.sh

row() { # name, seconds, CPU ms, parts worked on
  printf '%-28s %9s %11s %8s\n' "$@"
}

run() { # name, program
  local before after begun ended parts cached
  before=$(ticks $jsfs)
  begun=$(date +%s%N)
  curl -sf -D "$work/head" -o "$work/counts.json" -H "x-access-key: $(cat "$work/data/root.key")" \
    "http://127.0.0.1:7495/$2?parallel=auto&input=/text"
  ended=$(date +%s%N)
  after=$(ticks $jsfs)
  parts=$(awk 'tolower($1) == "x-parts:" { print $2 + 0 }' "$work/head")
  cached=$(awk 'tolower($1) == "x-parts-cached:" { print $2 + 0 }' "$work/head")
  cpu=$(((after - before) * 1000 / $(getconf CLK_TCK)))
  row "$1" "$(awk "BEGIN { printf \"%.2f\", ($ended - $begun) / 1e9 }")" "$cpu" "$((parts - cached))/$parts"
}

beside() { # name, command
  local name=$1 spent
  shift
  TIMEFORMAT='%R %U %S'
  spent=$({ time "$@" >"$work/out"; } 2>&1)
  row "$name" "$(awk '{ print $1 }' <<<"$spent")" "$(awk '{ printf "%d", ($2 + $3) * 1000 }' <<<"$spent")" -
}

rustc --edition 2024 --target wasm32-wasip1 -O -C panic=abort -o "$work/words.wasm" examples/wordcount/words.rs
put "$work/words.wasm" "words.wasm?executable=true&content_type=application/wasm"
put examples/wordcount/wordcount.js "wordcount.js?executable=true&content_type=text/javascript"

three() { # name, program
  put "$work/text" text
  run "$1, first" "$2"
  first=$cpu
  counted=$(node bench/mapreduce/sum.mjs "$work/counts.json")
  [ "$counted" = "$expected" ] || { echo "the counts differ: $counted, Node.js $expected" >&2; exit 1; }
  run "$1, unchanged" "$2"
  put "$work/edited" text
  run "$1, after an edit" "$2"
  awk "BEGIN { printf \"after the edit: %.2f %% of the CPU time of the first run\n\", 100 * $cpu / $first }"
}

{
  echo "word count of $mib MiB on $(nproc) processors"
  row run seconds "CPU ms" parts
  beside "wc -w" wc -w "$work/text"
  beside "Node.js" node bench/mapreduce/node.mjs "$work/text"
  expected=$(cat "$work/out")
  three WebAssembly words.wasm
  [ "${2:-}" != js ] || three JavaScript wordcount.js
} | tee "$work/table"
mkdir -p bench/results
cp "$work/table" bench/results/mapreduce.txt
