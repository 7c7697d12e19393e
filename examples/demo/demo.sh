#!/usr/bin/env bash
# The whole line on one machine: minipool (a small real pool with a chain of its own), the sidecar,
# the statistics service with its dashboard, and two CPU miners, one on a standard and one on an
# extended channel. Everything listens on the loopback address or a Unix socket.
#
#   Ctrl-C stops it. DEMO_SECONDS=n stops it after n seconds and a block, 5 minutes at most.
#   DEMO_DIR=path keeps keys, logs and journals there (default: demo-run in the checkout). It is made anew
#   each time; a directory that no demo has made is refused.
#   DEMO_DASHBOARD=address:port puts the dashboard there (default: a free port of 127.0.0.1).
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
[admin]
listen = "127.0.0.1:0"
[stats]
sink = "unix:$sockets/stats.sock"
every_sec = 2
[log]
format = "human"
journal = "sidecar.journal"
T
cat > "$run/stats.toml" <<T
[stats]
events = "unix:$sockets/stats.sock"
http = "${DEMO_DASHBOARD:-127.0.0.1:0}"
[log]
format = "human"
T
"$binary" check-config --config "$run/sidecar.toml"
"$binary" stats --check --config "$run/stats.toml"

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

# What the dashboard shows as a total, once `$2` shares are in it: five seconds at most.
shown() { # host:port accepted
  local i found=
  for ((i = 0; i < 50; i++)); do
    found=$({
      exec 3<> "/dev/tcp/${1%:*}/${1##*:}"
      printf 'GET /api/v1/summary HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" >&3
      cat <&3
    } 2>/dev/null | sed -n 's/.*"shares":{"accepted":\([0-9]*\).*/\1/p')
    [ "$found" = "$2" ] && break
    sleep 0.1
  done
  echo "${found:--}"
}

say "Starting minipool, the sidecar, the statistics service and two miners"
address=$("$run/minipool" -test-address)
start minipool "$run/minipool" -socket "$sockets/minipool.sock" -datadir "$run/chain" -journal "$run/minipool.journal"
pool=$last
for ((i = 0; i < 300; i++)); do [ -S "$sockets/minipool.sock" ] && break; sleep 0.1; done
start stats "$binary" stats --config "$run/stats.toml"
stats=$last
await 'the statistics service' "$run/stats.log" 'the dashboard is at' "$stats"
dashboard=$(grep -ao 'http://[^[:space:]]*' "$run/stats.log" | head -n 1)
start sidecar "$binary" serve --config "$run/sidecar.toml"
sidecar=$last
await sidecar "$run/sidecar.log" 'miners type' "$sidecar"
await sidecar "$run/sidecar.log" 'link to the pool is up' "$sidecar"
url=$(grep -ao 'stratum2+tcp://[^[:space:]]*' "$run/sidecar.log" | head -n 1)
echo "miners type: $url"
echo "they mine to $address"
echo "dashboard:   $dashboard"
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
  for pid in "$pool" "$sidecar" "$stats" "${miners[@]}"; do
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

accepted_by_miner() { # sum of the counts in its Success messages
  sed -n 's/.*"event":"accepted".*"count":\([0-9]*\).*/\1/p' "$run/miner-$1.journal" | awk '{n += $1} END {print n + 0}'
}
count() { grep -c -- "$2" "$run/$1.journal" || true; }
standard=$(accepted_by_miner standard)
extended=$(accepted_by_miner extended)
by_sidecar=$(count sidecar '"event":"answer".*"accepted":true')
by_pool=$(count minipool '"event":"verdict".*"accepted":true')
at=${dashboard#http://}
by_dashboard=$(shown "${at%/}" "$by_pool")
finish "$stats" 'the statistics service'
rm -rf "$sockets"
pids=()
say "Accepted shares in the books"
printf '  %-22s %6d standard + %d extended = %d\n' miners "$standard" "$extended" $((standard + extended))
printf '  %-22s %6s\n' sidecar "$by_sidecar" minipool "$by_pool" dashboard "$by_dashboard" 'blocks on the chain' "$(blocks)"
status=0
if [ $((standard + extended)) -ne "$by_sidecar" ] || [ "$by_sidecar" -ne "$by_pool" ] ||
  [ "$by_dashboard" != "$by_pool" ]; then
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
