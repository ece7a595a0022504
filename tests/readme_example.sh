#!/usr/bin/env bash
# The README's first C++ block must be examples/readme.cpp, which is compiled, to the letter.
# Usage: readme_example.sh README.md readme.cpp
set -euo pipefail

if [[ $# -ne 2 ]]; then
  echo "usage: $0 README.md readme.cpp" >&2
  exit 2
fi
block=$(awk '/^```/ { if (inside) exit; if ($0 == "```cpp") { inside = 1; next } } inside' "$1")
[[ -n $block ]] || { echo "$1: has no C++ block" >&2; exit 1; }
diff -u --label "$1" --label "$2" <(printf '%s\n' "$block") "$2" || {
  echo "$1: its C++ block is not $2" >&2
  exit 1
}
