#!/usr/bin/env bash
# Every link of a page to a file of the house leads to one, and one with #heading to a heading of it.
# Usage: check_links.sh PAGE...
set -euo pipefail
[[ $# -gt 0 ]] || { echo "usage: check_links.sh PAGE..." >&2; exit 2; }

# The names by which a page's headings are linked to: lower case, without punctuation, blanks as hyphens.
headings() {  # page
  awk '/^```/ { code = !code } !code && /^#+ / { sub(/^#+ /, ""); print tolower($0) }' "$1" | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

violations=0
followed=0
for page in "$@"; do
  while IFS= read -r link; do
    [[ $link != http://* && $link != https://* ]] || continue
    followed=$((followed + 1))
    path=${link%%#*}
    target=$page
    [[ -z $path ]] || target=$(dirname "$page")/$path
    if [[ ! -e $target ]]; then
      echo "$page: the link to $link leads nowhere" >&2
      violations=$((violations + 1))
    elif [[ $link == *'#'* ]] && ! grep -qxF -e "${link#*#}" <(headings "$target"); then
      echo "$page: $link: there is no such heading" >&2
      violations=$((violations + 1))
    fi
  done < <(awk '/^```/ { code = !code } !code' "$page" | grep -oE '\]\([^)]+\)' | sed 's/^](//; s/)$//' || true)
done

[[ $followed -gt 0 ]] || { echo "no page holds a link" >&2; exit 1; }
if [[ $violations -gt 0 ]]; then
  echo "$violations of $followed links are broken" >&2
  exit 1
fi
echo "$followed links lead somewhere"
