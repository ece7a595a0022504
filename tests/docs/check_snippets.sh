#!/usr/bin/env bash
# Holds the pages to compiled text: every ```cpp block of a page is quoted from a file of snippets, to the letter.
# Usage: check_snippets.sh SNIPPET_FOLDER PAGE...
#
# In a page, on the line before the block:  <!-- snippet: file.cpp#name -->
# In a file, around the text:  // [name]  and  // [name end]  (their own indentation is taken off every line)
set -euo pipefail

folder=${1:?usage: check_snippets.sh SNIPPET_FOLDER PAGE...}
shift
[[ $# -gt 0 ]] || { echo "usage: check_snippets.sh SNIPPET_FOLDER PAGE..." >&2; exit 2; }
violations=0
compared=0
declare -A quoted=()

complain() {
  echo "$1" >&2
  violations=$((violations + 1))
}

# Prints the text of a snippet; fails if it is not there once, with an end.
snippet() {  # file, name
  awk -v name="$2" '
    { text = $0; sub(/^ +/, "", text) }
    text == "// [" name " end]" { if (inside) ended++; inside = 0; next }
    text == "// [" name "]" { begun++; inside = 1; indent = length($0) - length(text); next }
    inside { print substr($0, 1, indent) ~ /^ *$/ ? substr($0, indent + 1) : $0 }
    END { exit !(begun == 1 && ended == 1) }' "$1"
}

check_page() {
  local page=$1 line marker="" number=0 block expected file name start
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    if [[ $line == '<!-- snippet: '*'#'*' -->' ]]; then
      marker=${line#'<!-- snippet: '}
      marker=${marker%' -->'}
      continue
    fi
    if [[ $line == '```cpp' ]]; then
      start=$number
      block=""
      while IFS= read -r line && number=$((number + 1)) && [[ $line != '```' ]]; do block+=$line$'\n'; done
      file=${marker%%#*}
      name=${marker#*#}
      if [[ -z $marker ]]; then
        complain "$page:$start: a block of code without a line '<!-- snippet: file.cpp#name -->' before it"
      elif [[ ! -f $folder/$file ]]; then
        complain "$page:$start: there is no $folder/$file"
      elif ! expected=$(snippet "$folder/$file" "$name"); then
        complain "$page:$start: $folder/$file does not have the snippet '$name' once, between '// [$name]' and '// [$name end]'"
      elif [[ $expected != "${block%$'\n'}" ]]; then
        complain "$page:$start: differs from the snippet '$name' of $folder/$file:"
        diff <(printf '%s\n' "$expected") <(printf '%s' "$block") >&2 || true
      fi
      [[ -z $marker ]] || quoted[$marker]=1
      compared=$((compared + 1))
    elif [[ -n $marker && -n $line ]]; then
      complain "$page:$number: no block of code after the marker of '$marker'"
    fi
    [[ -z $line ]] || marker=""
  done <"$page"
}

for page in "$@"; do check_page "$page"; done

# Text that no page quotes is compiled for nothing.
for file in "$folder"/*.cpp; do
  while IFS= read -r name; do
    [[ -n ${quoted["${file##*/}#$name"]:-} ]] || complain "$file: no page quotes the snippet '$name'"
  done < <(sed -n 's#^ *// \[\(.*\)\]$#\1#p' "$file" | grep -v ' end$' || true)
done

[[ $compared -gt 0 ]] || complain "no page holds a block of code"
if [[ $violations -gt 0 ]]; then
  echo "$violations violations in $compared blocks of code" >&2
  exit 1
fi
echo "$compared blocks of code are what is compiled"
