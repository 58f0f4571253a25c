# Sourced by what measures a server's CPU time.

ticks() { # CPU time of a process and its children, in clock ticks
  local total=0 one
  for one in $1 $(pgrep -P "$1" || true); do
    total=$((total + $(awk '{ print $14 + $15 }' "/proc/$one/stat")))
  done
  echo $total
}
