#!/usr/bin/env bash
# Breaks the rules that check_snippets.sh holds, one at a time, and expects it to notice each.
set -euo pipefail
check=$(cd "$(dirname "$0")" && pwd)/check_snippets.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

write() {  # text of the page, text of the file
  printf '%s' "$1" >"$folder/page.md"
  printf '%s' "$2" >"$folder/code.cpp"
}
page=$'Text.\n<!-- snippet: code.cpp#one -->\n```cpp\nint x;\n\nint y;\n```\n'
code=$'  // [one]\n  int x;\n\n  int y;\n  // [one end]\n'

write "$page" "$code"
"$check" "$folder" "$folder/page.md" >/dev/null || { echo "a page without fault is refused" >&2; exit 1; }

expect() {  # part of the message, text of the page, text of the file
  write "$2" "$3"
  local output
  if output=$("$check" "$folder" "$folder/page.md" 2>&1); then
    echo "not noticed: $1" >&2
    exit 1
  fi
  [[ $output == *"$1"* ]] || { echo "expected '$1', got: $output" >&2; exit 1; }
}
expect "differs from the snippet 'one'" "${page/int x/int z}" "$code"
expect "differs from the snippet 'one'" "$page" "${code/int y;/int y;  // more}"
expect "without a line" "${page/<!-- snippet: code.cpp#one -->$'\n'/}" "$code"
expect "there is no" "${page/code.cpp/other.cpp}" "$code"
expect "does not have the snippet 'two'" "${page/cpp#one/cpp#two}" "$code"
expect "does not have the snippet 'one' once" "$page" "$code$code"
expect "does not have the snippet 'one' once" "$page" "${code/"  // [one end]"/}"
expect "no page quotes the snippet 'two'" "$page" "$code${code//one/two}"
expect "no block of code after the marker" "${page/\`\`\`cpp/int}" "$code"
expect "no page holds a block of code" "Text." ""
