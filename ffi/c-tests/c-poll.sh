#!/usr/bin/env bash
# Runs a c-poll that was built somehow, with a miner of each kind, and counts what it accepted.
#
#   ffi/c-tests/c-poll.sh C-POLL GOPOOL-SV2
set -euo pipefail
[ $# = 2 ] || { echo "usage: $0 C-POLL GOPOOL-SV2" >&2; exit 64; }
poll=$(realpath "$1") program=$(realpath "$2")
work=$(mktemp -d)
pool=
trap '[ -z "$pool" ] || kill "$pool" 2> /dev/null || true; rm -rf "$work"' EXIT
fail() { echo "FAILED c-poll: $*" >&2; cat "$work/log" >&2; exit 1; }
cd "$work"
"$program" keygen --out authority.key > keygen.log
printf '[listen]\naddress = "127.0.0.1:0"\n[authority]\nkey_file = "authority.key"\n' > listener.toml
"$poll" listener.toml > out 2> log & pool=$!
for _ in $(seq 600); do
  url=$(sed -n 's/^miners type: //p' out)
  [ -z "$url" ] || break
  kill -0 "$pool" 2> /dev/null || fail "it ended"
  sleep 0.1
done
[ -n "$url" ] || fail "it does not say where it listens"
for kind in --standard --extended; do
  timeout 120 "$program" miner "$url" --user x --shares 2 "$kind" > miner.log 2>&1 || { cat miner.log >&2; fail "a miner ($kind)"; }
done
kill -INT "$pool"
wait "$pool" || fail "it ended with $?"
pool=
accepted=$(sed -n 's/^\([0-9]*\) shares accepted.*/\1/p' out)
[ "${accepted:-0}" -ge 4 ] || fail "$accepted shares accepted, not 4 or more"
echo "$accepted shares accepted"
