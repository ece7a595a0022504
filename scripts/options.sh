#!/usr/bin/env bash
# Writes docs/options.md, every option of every program with default and meaning, from what the programs say of
# themselves; or checks that the page says it.
#
#   scripts/options.sh [--check] [--page FILE] PROGRAM...
#
# The target docs_options of a build does it with that build's programs; the test docs.options checks.
set -euo pipefail
page=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/docs/options.md
check=0
while [[ ${1:-} == --* ]]; do
  case $1 in
    --check) check=1; shift ;;
    --page) page=$2; shift 2 ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done
[[ $# -gt 0 ]] || { sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

made=$(mktemp)
trap 'rm -f "$made"' EXIT
cat >"$made" <<'TEXT'
# Options of the programs

Every option of every program: what holds where it is not given, which values it takes where these are few or bounded, and what it means. "required" must be given, "off" is a flag that is not given, "none" is nothing. A default of 0 that stands for something else says so in the meaning. `--help` says the same in the terminal, and `--version` the version.

This page is written by the programs: `cmake --build --preset release --target docs_options`.

Where they write: a file is written whole or not at all; a link stays, and the file that it leads to is replaced. An output that is one of the inputs, under whatever name, or that is no regular file (a device, a FIFO) is refused before the work, and so is a picture in a folder whose pictures the program reads (folders in it that begin with a dot are not read).

In a folder for results, result.json is written last. A run of `dssl-segment`, `dssl-retrieve` or `dssl-defects` that begins to write first removes an earlier run's result.json and scores, and the overlays or maps which that run listed in the hidden file `.written` beside them: where result.json lies, it tells of the pictures beside it. What the programs did not write stays, and so does a bank until it is written anew.
TEXT
for program in "$@"; do
  echo
  "$program" --options-page
done >>"$made"

if ((check)); then
  if ! diff -u "$page" "$made" >&2; then
    echo "options.sh: $page is not what the programs say; build the target docs_options" >&2
    exit 1
  fi
else
  cp "$made" "$page"
fi
