#!/usr/bin/env bash
# The whole line on one machine: minipool (a small real pool with a chain of its own), the sidecar,
# and two CPU miners, one on a standard and one on an extended channel. Everything listens on the
# loopback address or a Unix socket.
#
#   Ctrl-C stops it. DEMO_SECONDS=n stops it after n seconds and a block, 5 minutes at most.
#   DEMO_DIR=path keeps keys, logs and journals there (default: demo-run in the checkout). It is made anew
#   each time; a directory that no demo has made is refused.
set -euo pipefail
cd "$(dirname "$0")/../.."
run=${DEMO_DIR:-$PWD/demo-run}
seconds=${DEMO_SECONDS:-0}
longest=300
case $seconds in ''|*[!0-9]*) echo "DEMO_SECONDS must be a number of seconds, not '$seconds'" >&2; exit 64;; esac

say() { printf '\n== %s\n' "$*"; }
pids=()
wanted_stop=0
trap 'wanted_stop=1' INT TERM

# Ends one of our processes and waits for it; after 15 s the hard way.
finish() { # pid name
  local pid=$1 name=$2 i
  kill -TERM "$pid" 2>/dev/null || return 0
  for ((i = 0; i < 150; i++)); do
    kill -0 "$pid" 2>/dev/null || { wait "$pid" 2>/dev/null || true; return 0; }
    sleep 0.1
  done
  echo "$name did not stop within 15 s; killing it" >&2
  kill -KILL "$pid" 2>/dev/null || true
}
cleanup() { for pid in "${pids[@]:-}"; do [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null || true; done; }
trap cleanup EXIT

say "Building (the first time takes a few minutes)"
cargo build --bin gopool-sv2
binary=${CARGO_TARGET_DIR:-target}/debug/gopool-sv2
mark=.made-by-demo
if [ -d "$run" ] && [ ! -e "$run/$mark" ] && [ -n "$(ls -A "$run")" ]; then
  echo "$run holds something that this demo has not made: name another DEMO_DIR, or empty it" >&2
  exit 64
fi
rm -rf "$run"
mkdir -p "$run"
touch "$run/$mark"
run=$(cd "$run" && pwd)
(cd examples/minipool && go build -o "$run/minipool" .)

say "Making an authority key"
"$binary" keygen --out "$run/authority.key"
# A Unix socket's path is short: keep it out of deep directories.
sockets=$(mktemp -d)
cat > "$run/sidecar.toml" <<T
[listen]
address = "127.0.0.1:0"
[authority]
key_file = "authority.key"
[pool]
address = "unix:$sockets/minipool.sock"
[log]
format = "human"
journal = "sidecar.journal"
T
"$binary" check-config --config "$run/sidecar.toml"

# start NAME COMMAND...: its own session, so that Ctrl-C reaches only this script.
start() {
  local name=$1
  shift
  setsid "$@" > "$run/$name.log" 2>&1 &
  pids+=($!)
  last=$!
}
await() { # what file pattern pid
  local i
  for ((i = 0; i < 300; i++)); do
    grep -q -- "$3" "$2" 2>/dev/null && return 0
    kill -0 "$4" 2>/dev/null || break
    sleep 0.1
  done
  echo "$1 did not start; its log:" >&2
  tail -n 20 "$2" >&2
  exit 1
}

say "Starting minipool, the sidecar and two miners"
address=$("$run/minipool" -test-address)
start minipool "$run/minipool" -socket "$sockets/minipool.sock" -datadir "$run/chain" -journal "$run/minipool.journal"
pool=$last
for ((i = 0; i < 300; i++)); do [ -S "$sockets/minipool.sock" ] && break; sleep 0.1; done
start sidecar "$binary" serve --config "$run/sidecar.toml"
sidecar=$last
await sidecar "$run/sidecar.log" 'miners type' "$sidecar"
await sidecar "$run/sidecar.log" 'link to the pool is up' "$sidecar"
url=$(grep -ao 'stratum2+tcp://[^[:space:]]*' "$run/sidecar.log" | head -n 1)
echo "miners type: $url"
echo "they mine to $address"
miners=()
for kind in standard extended; do
  start "miner-$kind" "$binary" miner "$url" --user "$address.$kind" "--$kind" --threads 1 \
    --journal "$run/miner-$kind.journal"
  miners+=("$last")
done

say "Mining; logs and journals are in $run"
begin=$SECONDS
blocks() { grep -c '"event":"block".*"accepted":true' "$run/minipool.journal" 2>/dev/null || true; }
(
  trap - EXIT
  exec tail -q -n +1 -F "$run/minipool.log" "$run/miner-standard.log" "$run/miner-extended.log" 2>/dev/null
) &
viewer=$!
pids+=("$viewer")
while [ "$wanted_stop" = 0 ]; do
  sleep 1 || true
  for pid in "$pool" "$sidecar" "${miners[@]}"; do
    kill -0 "$pid" 2>/dev/null || { echo "a process ended by itself; see $run" >&2; exit 1; }
  done
  elapsed=$((SECONDS - begin))
  if [ "$seconds" -gt 0 ]; then
    if [ "$elapsed" -ge "$seconds" ] && [ "$(blocks)" -gt 0 ]; then break; fi
    if [ "$elapsed" -ge $longest ]; then break; fi
  fi
done
kill "$viewer" 2>/dev/null || true
wait "$viewer" 2>/dev/null || true

say "Stopping: miners first (they await their answers), then the sidecar, then minipool"
for pid in "${miners[@]}"; do finish "$pid" miner; done
finish "$sidecar" sidecar
finish "$pool" minipool
rm -rf "$sockets"
pids=()

accepted_by_miner() { # sum of the counts in its Success messages
  sed -n 's/.*"event":"accepted".*"count":\([0-9]*\).*/\1/p' "$run/miner-$1.journal" | awk '{n += $1} END {print n + 0}'
}
count() { grep -c -- "$2" "$run/$1.journal" || true; }
standard=$(accepted_by_miner standard)
extended=$(accepted_by_miner extended)
by_sidecar=$(count sidecar '"event":"answer".*"accepted":true')
by_pool=$(count minipool '"event":"verdict".*"accepted":true')
say "Accepted shares in the books"
printf '  %-22s %6d standard + %d extended = %d\n' miners "$standard" "$extended" $((standard + extended))
printf '  %-22s %6d\n' sidecar "$by_sidecar" minipool "$by_pool" 'blocks on the chain' "$(blocks)"
status=0
if [ $((standard + extended)) -ne "$by_sidecar" ] || [ "$by_sidecar" -ne "$by_pool" ]; then
  echo "the books differ: see $run" >&2
  status=1
fi
# Stopped by hand, it may have been too early for these.
if [ "$seconds" -gt 0 ] && [ "$wanted_stop" = 0 ]; then
  [ "$standard" -gt 0 ] && [ "$extended" -gt 0 ] || { echo "a miner got no share accepted" >&2; status=1; }
  [ "$(blocks)" -gt 0 ] || { echo "no block within $longest s" >&2; status=1; }
fi
[ $status = 0 ] && echo "The books agree."
exit $status
