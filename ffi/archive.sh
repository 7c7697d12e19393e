#!/bin/sh
# Makes of cargo's archive one object whose only global names are those of the header, so that it goes into
# a program beside other Rust libraries: the archive, and a shared library, in the folder given.
#
#   ffi/archive.sh CARGO_ARCHIVE FOLDER
set -eu
header=$(dirname "$0")/include/gopool_sv2.h
names=$(grep -o '^[a-z].*gsv2_[a-z0-9_]*(' "$header" | grep -o 'gsv2_[a-z0-9_]*($' | tr -d '(')
roots=$(for name in $names; do printf ' -u %s' "$name"; done)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck disable=SC2086
ld -r --gc-sections --force-group-allocation $roots -o "$work/all.o" "$1"
# The embedded bitcode is of rustc's LLVM, which other tools can't read.
objcopy --strip-unneeded --remove-section=.llvmbc --remove-section=.llvmcmd \
	--wildcard --keep-global-symbol='gsv2_*' "$work/all.o" "$work/gopool_sv2.o"
mkdir -p "$2"
ar rcs "$work/libgopool_sv2.a" "$work/gopool_sv2.o"
# A library with a sanitizer leaves its functions to the program.
undefined=-Wl,-z,defs
case " ${CFLAGS-} " in *-fsanitize=*) undefined= ;; esac
# shellcheck disable=SC2086
"${CC:-cc}" ${CFLAGS-} -shared $undefined -Wl,-soname,libgopool_sv2.so -o "$work/libgopool_sv2.so" "$work/gopool_sv2.o" -lm -lpthread -ldl
strip -x "$work/libgopool_sv2.so"
mv "$work/libgopool_sv2.a" "$work/libgopool_sv2.so" "$2"
