#!/usr/bin/env bash
# Breaks the rules that check_links.sh holds, one at a time, and expects it to notice each.
set -euo pipefail
check=$(cd "$(dirname "$0")" && pwd)/check_links.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/parts"
printf '# One\n\n## The `Part`, and (more)\n\n```\n## no heading\n[a](nowhere.md)\n```\n' >"$folder/parts/one.md"

page=$'See [one](parts/one.md), [more](parts/one.md#the-part-and-more), [this](#here) and [that](https://nowhere.invalid/x#y).\n\n# Here\n'
printf '%s' "$page" >"$folder/page.md"
[[ $("$check" "$folder/page.md" "$folder/parts/one.md") == "3 links lead somewhere" ]] || { echo "a page without fault is refused" >&2; exit 1; }

expect() {  # part of the message, text of the page
  printf '%s' "$2" >"$folder/page.md"
  local output
  if output=$("$check" "$folder/page.md" 2>&1); then
    echo "not noticed: $1" >&2
    exit 1
  fi
  [[ $output == *"$1"* ]] || { echo "expected '$1', got: $output" >&2; exit 1; }
}
expect "the link to one.md leads nowhere" "${page/parts\/one.md/one.md}"
expect "#the-part: there is no such heading" "${page/-and-more/}"
expect "#no-heading: there is no such heading" "${page/the-part-and-more/no-heading}"
expect "#here: there is no such heading" "${page/\# Here/\# There}"
expect "no page holds a link" "Text."
