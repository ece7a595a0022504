#!/usr/bin/env bash
# The package for Debian that cpack makes of a build: its fields and its files.
# Usage: deb.sh BUILD_FOLDER VERSION CPACK [PROGRAM...]
set -euo pipefail
build=${1:?usage: deb.sh BUILD_FOLDER VERSION CPACK [PROGRAM...]} version=${2:?version} cpack=${3:?cpack}
shift 3
for tool in dpkg-deb dpkg-shlibdeps; do
  command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 0; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $1" >&2; exit 1; }
"$cpack" --config "$build/CPackConfig.cmake" -G DEB -B "$work" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "cpack"; }
packages=("$work"/*.deb)
[[ ${#packages[@]} -eq 1 && -s ${packages[0]} ]] || fail "not one package: ${packages[*]}"
package=${packages[0]}
field() { dpkg-deb -f "$package" "$1"; }
[[ $(field Package) == dssl && $(field Version) == "$version" ]] || fail "the package is $(field Package) $(field Version)"
[[ $(field Architecture) == "$(dpkg --print-architecture)" ]] || fail "the package is for $(field Architecture)"
depends=$(field Depends)
for needed in 'libeigen3-dev \(>= 3.4\)' libtbb-dev 'libc6 \(>=' 'libstdc\+\+6 \(>=' libtbb12; do
  grep -Eq "(^|, )$needed" <<<"$depends" || fail "it depends on $depends; expected $needed among it"
done
dpkg-deb -c "$package" | awk '{ print $6 }' >"$work/files"
has() { grep -Eqx -- "\./usr/$1" "$work/files" || fail "it does not hold /usr/$1"; }
has include/dssl/dssl.hpp
has include/dssl/backend/cuda.cuh
has share/cmake/dssl/dsslConfig.cmake
has share/cmake/dssl/dsslConfigVersion.cmake
has share/cmake/dssl/dsslTargets.cmake
has share/cmake/dssl/cpu/float.cpp
has share/pkgconfig/dssl.pc
has 'share/doc/dssl/LICENSE'
has include/dssl.h
has 'lib/([^/]*/)?libdssl_c.so'
has "lib/([^/]*/)?libdssl_c.so.${version%.*}"
has "lib/([^/]*/)?libdssl_c.so.$version"
has 'lib/([^/]*/)?pkgconfig/dssl-c.pc'
has share/cmake/dssl/dsslC.cmake
for program in "$@"; do has "bin/$program"; done
grep -Ev '^\./(usr/(bin|include|lib|share)(/|$)|usr/$|$)' "$work/files" >"$work/others" && fail "it holds $(head -1 "$work/others")"
# The library is found by the linker once it is unpacked.
dpkg-deb -e "$package" "$work/control"
grep -Eq "^libdssl_c ${version%.*} dssl" "$work/control/shlibs" || fail "it does not say whose library libdssl_c is"
grep -q ldconfig "$work/control"/{postinst,triggers} 2>/dev/null || fail "the linker's cache is not told of the library"
echo "$(basename "$package"): $(wc -l <"$work/files") files, $(du -k "$package" | cut -f1) kB"
