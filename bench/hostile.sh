#!/usr/bin/env bash
# How long a client that means well waits for a file and for a program, alone and beside programs that mean ill: bench/hostile.sh [COUNT [KIND…]]. Each
# line is measured right after one without them on the same node, ROUNDS times (3); the best of them counts, because whatever else the machine does only adds.
# The attackers' own client is nicer than the node and the one that measures more urgent than all (where that is allowed: it is said if not), because they
# would be on other machines: what is measured is how long the node makes its clients wait, not how long they wait for its processors. `JSFS` names
# another binary, `NUMBERS` how many attack at once.
set -euo pipefail
cd "$(dirname "$0")/.."
jsfs=${JSFS:-target/release/jsfs}
count=${1:-1000}
shift || true
kinds=${*:-loop wasm regex builtins crypto memory output storing compiling}
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

"$jsfs" serve --data "$work/data" --listen 127.0.0.1:0 --set log.level=error >"$work/said" &
for _ in $(seq 300); do
  url=$(grep -o -m1 'http://127[0-9.]*:[0-9]*' "$work/said") && break
  sleep 0.1
done
key=$(cat "$work/data/root.key")
put() { # path, type, body
  curl -sf -o "$work/answer" -X PUT -H "x-access-key: $key" -H "content-type: $2" --data-binary "$3" "$url$1"
}
put '/good.txt?private=false' text/plain well
put '/good.js?private=false&executable=true' text/javascript 'export default { fetch: () => new Response("well") };'

urgent=(chrt --fifo 1)
"${urgent[@]}" true 2>"$work/refused" || { echo "the client that measures waits for processors too: $(cat "$work/refused")"; urgent=(); }
beside() { "${urgent[@]}" node bench/programs/beside.mjs "$url" "$count"; }

printf '%-14s %38s %40s\n' '' 'a file: p50 and p99, ms' 'a program: p50 and p99, ms'
for kind in $kinds; do
  for number in ${NUMBERS:-4 16}; do
    : >"$work/figures"
    for _ in $(seq "${ROUNDS:-3}"); do
      alone=$(beside)
      : >"$work/attack"
      nice -n 19 node bench/programs/attack.mjs "$url" "$key" "$kind" "$number" >"$work/attack" &
      attacker=$!
      until grep -q 'under way' "$work/attack"; do sleep 0.1; done
      echo "$alone $(beside)" >>"$work/figures"
      kill "$attacker"
      wait "$attacker" 2>/dev/null || true
      sleep 2
    done
    awk -v kind="$kind" -v number="$number" '{ for (at = 1; at <= NF; at++) if (NR == 1 || $at < best[at]) best[at] = $at } END {
      printf "%2d × %-9s", number, kind
      for (at = 1; at < 4; at += 2)
        printf "  alone %5.2f %6.2f  beside %5.2f %7.2f (%4.1f ×)", best[at], best[at + 1], best[at + 4], best[at + 5], best[at + 5] / best[at + 1]
      print "" }' "$work/figures"
  done
done
