#!/usr/bin/env bash
# pkg-config finds the installed headers and the library for C, and what is compiled with its flags alone works.
# Usage: pkg_config.sh PREFIX VERSION CXX [CC]   (CC: a library for C was installed)
set -euo pipefail
prefix=${1:?usage: pkg_config.sh PREFIX VERSION CXX [CC]} version=${2:?version} cxx=${3:?compiler} cc=${4:-}
command -v pkg-config >/dev/null || { echo "skipped: no pkg-config"; exit 0; }
program=$(realpath "$(dirname "${BASH_SOURCE[0]}")")/consumer/headers.cpp
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The tree may be moved.
cp -r "$prefix" "$work/moved"
prefix=$work/moved
cd "$work"
fail() { echo "FAILED: $1" >&2; exit 1; }
PKG_CONFIG_PATH=$(find "$prefix" -type d -name pkgconfig | paste -sd:)
export PKG_CONFIG_PATH

# check NAME: its version, and that the flags stay within the tree.
check() {
  pkg-config --validate "$1" || fail "$1.pc is no file of pkg-config"
  [[ $(pkg-config --modversion "$1") == "$version" ]] || fail "$1.pc has version $(pkg-config --modversion "$1"); expected $version"
  [[ $(realpath "$(pkg-config --variable=includedir "$1")") == "$prefix/include" ]] || fail "$1.pc does not find the headers"
}
check dssl
read -ra flags <<<"$(pkg-config --cflags --libs dssl)"
"$cxx" -std=c++20 "$program" -o headers "${flags[@]}"
[[ $(./headers) == "$version" ]] || fail "the headers that pkg-config finds are of another version"
[[ -n $cc ]] || exit 0

check dssl-c
cat >interface.c <<'END'
#include <stdio.h>
#include <dssl.h>
int main(void) {
  char line[200];
  dssl_backbone* backbone = NULL;
  printf("%s\n", dssl_version());
  return dssl_backbone_open(&backbone, "nowhere", NULL, line, sizeof line) == DSSL_BAD_FILE && backbone == NULL ? 0 : 1;
}
END
read -ra flags <<<"$(pkg-config --cflags --libs dssl-c)"
"$cc" interface.c -o interface "${flags[@]}"
[[ $(LD_LIBRARY_PATH=$(pkg-config --variable=libdir dssl-c) ./interface) == "$version" ]] || fail "the library for C that pkg-config finds does not work"
echo "pkg-config: headers and library of $version"
