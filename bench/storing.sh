#!/usr/bin/env bash
# What storing a program costs, its first request beside a warm one, and what stored programs cost a node that rests: the second half of
# bench/run programs. Without a component of componentize-js (npm --prefix tests/foreign ci) the large one is left out, which is said.
set -euo pipefail
cd "$(dirname "$0")/.."
jsfs=${JSFS:-target/release/jsfs}
many=${MANY:-1000}
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

start() { # name: a node; sets url, key and pid
  "$jsfs" serve --data "$work/$1" --listen 127.0.0.1:0 --set log.level=error >"$work/$1.out" &
  pid=$!
  for _ in $(seq 300); do
    url=$(grep -o -m1 'http://127[0-9.]*:[0-9]*' "$work/$1.out") && break
    sleep 0.1
  done
  key=$(cat "$work/$1/root.key")
}

stop() {
  kill "$pid"
  wait "$pid" || true
}

resident() { # KiB of a node and its worker
  local one
  for one in "$pid" $(pgrep -P "$pid" || true); do awk '/VmRSS/ { print $2 }' "/proc/$one/status"; done |
    awk '{ sum += $1 } END { print sum }'
}

node bench/programs/body.mjs >"$work/body.json"
start first
node bench/programs/first.mjs "$url" "$key" text/javascript bench/programs/hello.js
node bench/programs/first.mjs "$url" "$key" text/javascript bench/programs/json.js "$work/body.json"
if rustc --edition 2024 -O --target wasm32-wasip2 -o "$work/small.wasm" bench/programs/small.rs 2>"$work/said"; then
  node bench/programs/first.mjs "$url" "$key" application/wasm "$work/small.wasm"
else
  echo "no small component: the target wasm32-wasip2 is not installed"
fi
if (cd tests/foreign && node componentize.mjs "$work/large.wasm") >"$work/said" 2>&1; then
  node bench/programs/first.mjs "$url" "$key" application/wasm "$work/large.wasm"
else
  echo "no large component: npm --prefix tests/foreign ci --ignore-scripts"
fi
stop

for count in 1 "$many"; do
  start "idle-$count"
  node bench/programs/many.mjs "$url" "$key" "$count"
  sleep 15
  stored=$(resident)
  stop
  start "idle-$count"
  curl -sf -o "$work/answer" -H "x-access-key: $key" "$url/many/0.js"
  sleep 15
  echo "$count $stored $(resident)" >>"$work/idle"
  stop
done
awk 'NR == 1 { stored = $2; again = $3 } NR == 2 {
  printf "%s stored programs: %+.1f MiB (%.2f times a node with one), after a restart %+.1f MiB (%.2f times)\n",
    $1, ($2 - stored) / 1024, $2 / stored, ($3 - again) / 1024, $3 / again }' "$work/idle"
