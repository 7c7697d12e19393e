#!/usr/bin/env bash
# The C ABI under tools that see what tests can't: wrong memory, leaks, undefined behaviour, races.
#
#   ffi/sanitize.sh [address] [miri] [cgo]      (all, if none is named)
#
# address: the library itself, the C programs, c-poll and the Go package with AddressSanitizer and its search
# for leaks. miri: what of the library needs no sockets, in Miri. cgo: the Go package with the race detector and
# cgo's full checks of pointers. What a part needs and is not there is named in a line, and the part left out.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
target=$(realpath -m "$target")
host=$(rustc -vV | sed -n 's/^host: //p')
nightly=${NIGHTLY:-nightly}
# Those of .cargo/config.toml, which a variable replaces.
flags="--cfg poly1305_force_soft"

skipped() { echo "SKIPPED $1: $2"; }
passed() { echo "ok $*"; }
has_nightly() { command -v rustup > /dev/null && rustup run "$nightly" rustc --version > /dev/null 2>&1; }
has_component() { rustup component list --toolchain "$nightly" --installed 2> /dev/null | grep -q "^$1"; }

address() {
  has_nightly || { skipped ffi-address "no nightly toolchain; rustup toolchain install nightly --component rust-src"; return; }
  has_component rust-src || { skipped ffi-address "no rust-src; rustup component add rust-src --toolchain nightly"; return; }
  printf 'int main(void) { return 0; }\n' > "$target/asan-probe.c"
  gcc -fsanitize=address -o "$target/asan-probe" "$target/asan-probe.c" 2> "$target/asan-probe.log" \
    || { skipped ffi-address "gcc has no AddressSanitizer; install gcc and libasan (Debian: gcc)"; return; }
  local folder=$target/asan/library
  RUSTFLAGS="$flags -Zsanitizer=address" cargo "+$nightly" build -Zbuild-std --locked --target "$host" \
    --target-dir "$target/asan" --release -p gopool-sv2-ffi
  CC=gcc CFLAGS=-fsanitize=address ffi/archive.sh "$target/asan/$host/release/libgopool_sv2_ffi.a" "$folder"
  nm "$folder/libgopool_sv2.a" | grep ' U __asan_report_store8' > "$target/asan/symbols" || { echo "FAILED: the library is not instrumented" >&2; exit 1; }
  ffi/c-tests/run.sh --asan "$folder"
  # -lgopool_sv2 is the archive: a program of Go's needs it at link time only.
  mkdir -p "$target/asan/static"
  cp "$folder/libgopool_sv2.a" "$target/asan/static/"
  (cd go-bindings && CC=gcc CGO_LDFLAGS="-L$target/asan/static -lm -ldl -lpthread" \
    go test -count=1 -asan -tags sv2_system ./ffihost)
  passed "ffi, c-poll and ffihost with AddressSanitizer, leaks searched for"
}

miri() {
  has_nightly || { skipped ffi-miri "no nightly toolchain; rustup toolchain install nightly --component miri,rust-src"; return; }
  has_component miri || { skipped ffi-miri "no miri; rustup component add miri rust-src --toolchain nightly"; return; }
  MIRIFLAGS="${MIRIFLAGS:-}" cargo "+$nightly" miri test --locked --target-dir "$target/miri" -p gopool-sv2-ffi --lib
  passed "what of ffi needs no sockets, in Miri"
}

cgo() {
  (cd go-bindings && GOEXPERIMENT=cgocheck2 go test -count=1 -race -tags sv2_static ./ffihost)
  passed "ffihost with the race detector and cgocheck2"
}

mkdir -p "$target"
[ $# -gt 0 ] || set -- address miri cgo
for part in "$@"; do
  case $part in
    address|miri|cgo) "$part" ;;
    *) echo "usage: $0 [address] [miri] [cgo]" >&2; exit 64 ;;
  esac
done
