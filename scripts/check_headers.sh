#!/usr/bin/env bash
# Compiles each header alone with clang++, syntax only, warnings as errors.
# Usage: check_headers.sh CLANGXX INCLUDE_FOLDERS.rsp HEADERS.txt   (both files are written by CMake)
set -euo pipefail

if [[ $# -ne 3 ]]; then
  echo "usage: $0 CLANGXX INCLUDE_FOLDERS.rsp HEADERS.txt" >&2
  exit 2
fi
export clangxx=$1 folders=$2

check() {
  printf '#include <%s>\n' "$1" "$1" |
    "$clangxx" -x c++ -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
      "@$folders" - || { echo "$1: does not compile alone" >&2; return 1; }
}
export -f check

# xargs goes on after a failure and reports it at the end.
xargs -a "$3" -r -P "$(nproc)" -I '{}' bash -c 'check "$1"' _ '{}'
echo "$(wc -l <"$3") headers compile alone"
