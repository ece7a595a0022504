#!/usr/bin/env bash
# Two programs print the same lines, and some.
# Usage: same_lines.sh HEADER_ONLY COMPILED
set -euo pipefail
header_only=$("$1") compiled=$("$2")
[[ $(wc -l <<<"$compiled") -ge 10 && $compiled != *nan* && $compiled != *inf* ]] || { echo "not all is said: $compiled" >&2; exit 1; }
diff <(echo "$header_only") <(echo "$compiled") || { echo "header-only (<) and dssl::cpu (>) differ" >&2; exit 1; }
echo "$compiled"
