#!/usr/bin/env bash
# Holds that a program compiles nothing of what draws views, where dssl::cpu has it: of two copies of a function the linker
# takes the program's, which is less optimised, and rounds otherwise.
# Usage: overridden.sh NM LIBRARY OBJECT...
set -euo pipefail
[[ $# -ge 3 ]] || { sed -n '4p' "$0" >&2; exit 2; }
nm=$1 library=$2
shift 2

pixels() {  # the functions of pixels that these files define, and others may define too
  "$nm" -C --defined-only "$@" | sed -nE 's/^[0-9a-f]+ [WV] (.*(PlanarImage|turn_hue|turn_pixel|BlurWorkspace|ResampleWorkspace).*\(.*)$/\1/p' |
    grep -vE '::~|::operator=|::PlanarImage\(|Workspace\(|^std::|^void std::' | sort -u
}

held=$(pixels "$library")
[[ -n $held ]] || { echo "$library: no function of pixels" >&2; exit 1; }
both=$(comm -12 <(echo "$held") <(pixels "$@"))
if [[ -n $both ]]; then
  echo "compiled in the program too, whose copy is the one that runs:" >&2
  echo "$both" >&2
  exit 1
fi
echo "$(wc -l <<<"$held") functions of pixels come from ${library##*/} alone"
