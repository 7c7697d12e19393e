#!/usr/bin/env bash
# Tests of the C ABI from C: the header in each language it is for, what the libraries export, what a wrong
# version comes to, another Rust library beside it, and small programs, each of which exits 0 when it passes.
#
#   ffi/c-tests/run.sh [--asan] [FOLDER]
#
# FOLDER holds libgopool_sv2.a and libgopool_sv2.so; default: where `make lib` puts them. --asan: only the
# programs, built with AddressSanitizer, for a library that is, too. GOPOOL_SV2_LONG=1: more cycles.
set -euo pipefail
asan=
if [ "${1:-}" = --asan ]; then asan=-fsanitize=address; shift; fi
[ $# -le 1 ] || { echo "usage: $0 [--asan] [FOLDER]" >&2; exit 64; }
given=${1:+$(realpath "$1")}
cd "$(dirname "$0")/../.."
folder=${given:-go-bindings/ffihost/lib/$(go env GOOS)_$(go env GOARCH)}
archive=$folder/libgopool_sv2.a shared=$folder/libgopool_sv2.so
program=${CARGO_TARGET_DIR:-target}/debug/gopool-sv2
header=ffi/include/gopool_sv2.h
libraries="-lm -ldl -lpthread"
strict="-Wall -Wextra -Wpedantic -Werror"
for file in "$archive" "$shared"; do [ -f "$file" ] || { echo "$file is missing: run make lib" >&2; exit 1; }; done
[ -x "$program" ] || { echo "$program is missing, which makes keys: run cargo build --bin gopool-sv2" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C
fail() { echo "FAILED $*" >&2; exit 1; }
passed() { echo "ok $*"; }

# The newer name of the standard where the compiler has it.
c23() { if "$1" -std=c23 -x c -E /dev/null > "$work/out" 2>&1; then echo c23; else echo c2x; fi; }

# The header alone, and the example, with each compiler there is.
printf '#include "gopool_sv2.h"\nuint32_t (*version)(void) = gsv2_abi_version;\n' > "$work/alone.c"
cp "$work/alone.c" "$work/alone.cc"
c_compilers=
known="gcc clang"
[ -z "$asan" ] || known=gcc
for compiler in $known; do
  command -v $compiler > "$work/out" || { echo "SKIPPED $compiler: not installed"; continue; }
  c_compilers="$c_compilers $compiler"
  for standard in c99 c11 "$(c23 $compiler)"; do
    $compiler -std="$standard" $strict -Iffi/include -fsyntax-only "$work/alone.c" || fail "the header as $standard, $compiler"
    passed "the header as $standard, $compiler"
  done
  for source in examples/c-poll/*.c; do
    $compiler -std=c99 -D_POSIX_C_SOURCE=200809L $strict -O2 -Iffi/include -c -o "$work/out.o" "$source" || fail "$source, $compiler"
  done
  passed "examples/c-poll as c99, $compiler"
done
for compiler in g++ clang++; do
  command -v $compiler > "$work/out" || { echo "SKIPPED $compiler: not installed"; continue; }
  $compiler -std=c++17 $strict -Iffi/include -fsyntax-only "$work/alone.cc" || fail "the header as c++17, $compiler"
  passed "the header as c++17, $compiler"
done
[ -n "$c_compilers" ] || fail "neither gcc nor clang is there: install one"

if [ -z "$asan" ]; then
# What is exported is what the header has, no less and no more.
grep -o 'gsv2_[a-z0-9_]*(' <(grep '^[a-z].*gsv2_[a-z0-9_]*(' "$header") | tr -d '(' | sort > "$work/wanted"
[ -s "$work/wanted" ] || fail "no functions were found in $header"
nm -g --defined-only "$archive" | awk 'NF == 3 { print $3 }' | sort > "$work/of-archive"
nm -D --defined-only "$shared" | awk '{ sub(/@.*/, "", $3); print $3 }' | sort > "$work/of-shared"
for kind in archive shared; do
  diff "$work/wanted" "$work/of-$kind" > "$work/out" || { cat "$work/out" >&2; fail "exports of the $kind library (<: wanted, >: there)"; }
  passed "the $kind library exports the $(wc -l < "$work/wanted") functions of the header and nothing else"
done

# Another version can't be linked, with a word that says which; this one can, by the same line.
for version in 1 9; do
  printf 'void gsv2_abi_v%s(void);\nvoid (*const wanted)(void) = gsv2_abi_v%s;\nint main(void) { return wanted == 0; }\n' \
    $version $version > "$work/v$version.c"
done
for compiler in $c_compilers; do
  $compiler -o "$work/v1" "$work/v1.c" "$archive" $libraries || fail "this version can't be linked, $compiler"
  "$work/v1" || fail "a program with this version doesn't run, $compiler"
  if $compiler -o "$work/v9" "$work/v9.c" "$archive" $libraries > "$work/out" 2>&1; then
    fail "version 9 of the ABI links with this library, $compiler"
  fi
  grep -q gsv2_abi_v9 "$work/out" || { cat "$work/out" >&2; fail "the linker does not name gsv2_abi_v9, $compiler"; }
  passed "another version fails at link time by name, $compiler"
done

# Another Rust library goes into the same program, whichever comes first, and each keeps its own panics.
cat > "$work/other.rs" <<'RUST'
#[no_mangle]
pub extern "C" fn other_answer() -> u32 {
    std::panic::set_hook(Box::new(|_| {}));
    std::panic::catch_unwind(|| std::panic::panic_any(41u32)).map_or_else(|p| *p.downcast::<u32>().unwrap_or_default() + 1, |()| 0)
}
RUST
rustc --edition 2021 -O --crate-type staticlib -o "$work/libother.a" "$work/other.rs" || fail "another Rust library can't be built"
cat > "$work/beside.c" <<'C'
#include "gopool_sv2.h"
uint32_t other_answer(void);
int main(void) {
  gsv2_runtime none;
  return other_answer() == 42 && gsv2_runtime_new(NULL, &none) == GSV2_INVALID_ARGUMENT ? 0 : 1;
}
C
for compiler in $c_compilers; do
  for order in "$archive $work/libother.a" "$work/libother.a $archive" "$shared $work/libother.a"; do
    $compiler -std=c99 $strict -Iffi/include -o "$work/beside" "$work/beside.c" $order \
      -Wl,-rpath,"$(realpath "$folder")" $libraries || fail "can't be linked beside another Rust library, $compiler: $order"
    "$work/beside" || fail "beside another Rust library, $compiler: $order"
  done
  passed "links and runs beside another Rust library, before and behind it, $compiler"
done
fi

# The programs, with the first compiler, on both libraries.
"$program" keygen --out "$work/authority.key" > "$work/out"
compiler=${c_compilers# } compiler=${compiler%% *}
# Freed memory is not kept back, for it is looked at.
export ASAN_OPTIONS=${ASAN_OPTIONS:-quarantine_size_mb=1:detect_leaks=1}
for test in echo signals reset two cycle; do
  for kind in archive shared; do
    library=$archive
    [ $kind = archive ] || library="$shared -Wl,-rpath,$(realpath "$folder")"
    $compiler -std=c99 -D_XOPEN_SOURCE=700 $strict -O1 -g $asan -Iffi/include -o "$work/$test" \
      "ffi/c-tests/$test.c" ffi/c-tests/listener.c $library $libraries || fail "$test.c can't be built"
    "$work/$test" "$work" > "$work/out" || fail "$test, $kind library${asan:+, AddressSanitizer}"
    passed "$test, $kind library${asan:+, AddressSanitizer}: $(tail -n 1 "$work/out")"
  done
done

# The example pool, with a miner of each kind.
$compiler -std=c99 -D_POSIX_C_SOURCE=200809L $strict -O1 -g $asan -Iffi/include -o "$work/c-poll" \
  examples/c-poll/*.c $archive $libraries || fail "c-poll can't be built"
ffi/c-tests/c-poll.sh "$work/c-poll" "$program" > "$work/out" || fail "c-poll${asan:+, AddressSanitizer}"
passed "c-poll${asan:+, AddressSanitizer}: $(tail -n 1 "$work/out")"
