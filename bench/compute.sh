#!/usr/bin/env bash
# Measures what a program's computing costs: bench/run compute [ROUNDS]. The kernels of bench/compute/kernels.c, compiled by gcc -O2 for the machine and by clang -O2
# for WebAssembly, run in turn, as they are and as a stored program; their results are compared, and the table has CPU times and their ratios.
# Needs gcc, clang, lld and wasi-libc with libclang-rt for wasm32 (Debian: gcc clang lld wasi-libc libclang-rt-14-dev-wasm32). NODE_BINARY names another build.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
binary=${NODE_BINARY:-target/release/jsfs}
[ -n "${NODE_BINARY:-}" ] || cargo build --release --locked --quiet

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
gcc -O2 -o "$work/native" bench/compute/kernels.c -lm
clang --target=wasm32-wasi -O2 -msimd128 -o "$work/kernels.wasm" bench/compute/kernels.c

"$binary" serve --data "$work/data" --listen 127.0.0.1:7496 --set log.level=error --set programs.cpu_ms=60000 --set programs.wall_ms=120000 \
  --set programs.memory=256MiB >"$work/node.txt" &
jsfs=$!
for _ in $(seq 100); do
  curl -s -o "$work/ready" http://127.0.0.1:7496/ && break
  sleep 0.1
done
curl -sf -o "$work/stored" -X PUT -H "x-access-key: $(cat "$work/data/root.key")" -T "$work/kernels.wasm" \
  "http://127.0.0.1:7496/kernels.wasm?executable=true&private=false"

. bench/ticks.sh
TIMEFORMAT='%U %S'

for _ in $(seq "$rounds"); do
  for kernel in $("$work/native"); do
    spent=$({ time "$work/native" "$kernel" >"$work/expected"; } 2>&1)
    native=$(awk '{ printf "%d", ($1 + $2) * 1000 }' <<<"$spent")
    before=$(ticks $jsfs)
    curl -sf -o "$work/result" "http://127.0.0.1:7496/kernels.wasm?$kernel"
    program=$((($(ticks $jsfs) - before) * 1000 / $(getconf CLK_TCK)))
    cmp "$work/expected" "$work/result"
    echo "$kernel $native $program"
  done
done >"$work/times"

mkdir -p bench/results
{
  echo "CPU time of computing: gcc $(gcc -dumpfullversion) and clang $(clang -dumpversion), the least of $rounds rounds"
  printf '%-10s %8s %12s %6s\n' kernel "gcc ms" "program ms" ratio
  awk '!($1 in a) || $2 < a[$1] { a[$1] = $2 } !($1 in b) || $3 < b[$1] { b[$1] = $3 }
    END { for (k in a) printf "%-10s %8d %12d %6.2f\n", k, a[k], b[k], b[k] / a[k] }' "$work/times" | sort -k4n | tee "$work/sorted"
  awk '{ r[NR] = $4 } END { printf "median of the ratios: %.2f\n", NR % 2 ? r[(NR + 1) / 2] : (r[NR / 2] + r[NR / 2 + 1]) / 2 }' "$work/sorted"
} | tee bench/results/compute.txt
