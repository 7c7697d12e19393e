#!/bin/sh
# Installs what archive.sh made, with the header and a file for pkg-config.
#
#   ffi/install.sh FOLDER PREFIX      (DESTDIR is put before PREFIX)
set -eu
from=$1
prefix=$2
to=${DESTDIR-}$prefix
here=$(dirname "$0")
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$here/../Cargo.toml" | head -n 1)
mkdir -p "$to/include" "$to/lib/pkgconfig"
install -m 644 "$here/include/gopool_sv2.h" "$to/include/"
install -m 644 "$from/libgopool_sv2.a" "$to/lib/"
install -m 755 "$from/libgopool_sv2.so" "$to/lib/"
cat > "$to/lib/pkgconfig/gopool-sv2.pc" <<PC
prefix=$prefix
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: gopool-sv2
Description: Stratum V2 listener for Go mining pools, as a C library
Version: $version
Libs: -L\${libdir} -lgopool_sv2
Libs.private: -lm -lpthread -ldl
Cflags: -I\${includedir}
PC
echo "installed into $to: include/gopool_sv2.h, lib/libgopool_sv2.{a,so}, lib/pkgconfig/gopool-sv2.pc"
