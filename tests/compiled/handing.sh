#!/usr/bin/env bash
# A backend handed from a translation unit to one of another instruction set is an error of the linker, whose message
# names the set; between two of the same it links and runs.
# Usage: handing.sh COMPILER SOURCE RESPONSE_FILE_OF_INCLUDE_FOLDERS
set -euo pipefail
export LC_ALL=C
compiler=$1 source=$2 folders=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile() { "$compiler" -std=c++20 -O0 "@$folders" "$@" -c "$source"; }

cd "$work"
compile -march=x86-64-v2 -o gives.o
for level in 2 3; do compile -march=x86-64-v$level -DDSSL_TEST_TAKES -o takes$level.o; done
"$compiler" gives.o takes2.o -ltbb -o alike
./alike
if "$compiler" gives.o takes3.o -ltbb -o unlike 2>message; then
  echo "a Cpu of one instruction set was taken for that of another" >&2
  exit 1
fi
grep -q 'words_of.*dssl::sse4::' message || { echo "the linker's message does not name the instruction set:" >&2; cat message >&2; exit 1; }
