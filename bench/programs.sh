#!/usr/bin/env bash
# Measures programs against workerd and Node.js in the same run: bench/run programs [SECONDS]. JSFS has a fresh sandbox for each request; the
# isolates of the others live on. Answers are compared first. Prints requests/s and CPU time of the server for each request.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-8}
command -v wrk >/dev/null || { echo "wrk is not installed (Debian: apt-get install wrk)" >&2; exit 1; }
cargo build --release --locked --quiet
[ -x bench/peers/node_modules/.bin/workerd ] || npm --prefix bench/peers ci --silent --no-audit --no-fund

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
export BODY="$work/body.json"
node bench/programs/body.mjs >"$BODY"

target/release/jsfs serve --data "$work/data" --listen 127.0.0.1:7490 --set log.level=error &
jsfs=$!
bench/peers/node_modules/.bin/workerd serve bench/programs/workerd.capnp &
workerd=$!
node bench/programs/node.mjs &
node=$!
for port in 7490 7491 7492 7493 7494; do
  for _ in $(seq 100); do
    curl -s -o "$work/ready" "http://127.0.0.1:$port/" && break
    sleep 0.1
  done
done
for name in hello json; do
  curl -sf -o "$work/stored" -X PUT -H "x-access-key: $(cat "$work/data/root.key")" -H "content-type: text/javascript" \
    --data-binary "@bench/programs/$name.js" "http://127.0.0.1:7490/$name?executable=true&private=false"
done

url() { # server, program
  case "$1 $2" in
  "jsfs "*) echo "http://127.0.0.1:7490/$2" ;;
  "workerd hello") echo http://127.0.0.1:7491/ ;;
  "workerd json") echo http://127.0.0.1:7492/ ;;
  "node hello") echo http://127.0.0.1:7493/ ;;
  "node json") echo http://127.0.0.1:7494/ ;;
  esac
}

ask() { # server, program
  if [ "$2" = json ]; then
    curl -sf -H "content-type: application/json" --data-binary "@$BODY" "$(url "$1" json)"
  else
    curl -sf "$(url "$1" hello)"
  fi
}

. bench/ticks.sh

for name in hello json; do
  for server in workerd node; do
    [ "$(ask jsfs $name)" = "$(ask $server $name)" ] || { echo "$server answers $name otherwise" >&2; exit 1; }
  done
done

hz=$(getconf CLK_TCK)
for name in hello json; do
  script=()
  [ $name = hello ] || script=(-s bench/programs/post.lua)
  for server in jsfs workerd node; do
    pid=${!server}
    wrk -t1 -c16 -d2s "${script[@]}" "$(url $server $name)" >/dev/null
    before=$(ticks "$pid")
    said=$(wrk -t1 -c16 "-d${seconds}s" --latency "${script[@]}" "$(url $server $name)")
    after=$(ticks "$pid")
    requests=$(awk '/requests in/ { print $1 }' <<<"$said")
    rate=$(awk '/Requests\/sec/ { print $2 }' <<<"$said")
    p99=$(awk '$1 == "99%" { print $2 }' <<<"$said")
    errors=$(awk '/Non-2xx/ { print $NF }' <<<"$said")
    memory=$(for one in $pid $(pgrep -P "$pid" || true); do awk '/VmRSS/ { print $2 }' "/proc/$one/status"; done | awk '{ sum += $1 } END { printf "%d", sum / 1024 }')
    printf '%-6s %-8s %10s requests/s  %6.1f µs CPU each  p99 %-8s %5s MiB  %s\n' $name $server "$rate" \
      "$(awk -v t=$((after - before)) -v hz="$hz" -v n="$requests" 'BEGIN { print t / hz * 1e6 / n }')" "$p99" "$memory" "${errors:+errors $errors}"
  done
done

kill "$jsfs" "$workerd" "$node"
bench/storing.sh
