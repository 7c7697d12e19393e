#!/usr/bin/env bash
# The C test of a library that has the mint bridge (`make lib MINT=1`), on both kinds of it, and that nothing of
# SQLite is to be seen from outside.
#
#   ffi/c-tests/mint.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=go-bindings/ffihost/lib/$(go env GOOS)_$(go env GOARCH)
program=${CARGO_TARGET_DIR:-target}/debug/gopool-sv2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C
fail() { echo "FAILED $*" >&2; exit 1; }
[ -x "$program" ] || fail "$program is missing, which makes keys: run cargo build --bin gopool-sv2"
nm -g --defined-only "$folder/libgopool_sv2.a" | awk 'NF == 3 { print $3 }' | grep -v '^gsv2_' > "$work/foreign" || true
[ ! -s "$work/foreign" ] || { head "$work/foreign" >&2; fail "the archive exports what is not of the header"; }
grep -q 'SQLite format 3' "$folder/libgopool_sv2.a" ||
  fail "the library has no mint bridge: run make lib MINT=1"
for kind in archive shared; do
  library=$folder/libgopool_sv2.a
  [ $kind = archive ] || library="$folder/libgopool_sv2.so -Wl,-rpath,$(realpath "$folder")"
  mkdir "$work/$kind"
  "$program" keygen --out "$work/$kind/authority.key" > "$work/keygen"
  # shellcheck disable=SC2086
  "${CC:-cc}" -std=c99 -D_XOPEN_SOURCE=700 -Wall -Wextra -Wpedantic -Werror -O1 -g -Iffi/include -o "$work/mint" \
    ffi/c-tests/mint.c ffi/c-tests/listener.c $library -lm -ldl -lpthread || fail "mint.c can't be built"
  "$work/mint" "$work/$kind" > "$work/out" || fail "mint, $kind library"
  echo "ok mint, $kind library: $(cat "$work/out")"
done
