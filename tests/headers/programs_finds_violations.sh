#!/usr/bin/env bash
# The check of the programs' headers finds what one names of another and does not bring.
# Usage: programs_finds_violations.sh PYTHON EXAMPLES
set -euo pipefail
check_by=$1
check=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/programs.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$2"/. "$work"
# finds HEADER INCLUDE WORDS: without this line.
finds() {
  cp "$work/$1" "$work/before"
  sed -i "\\|^#include <$2>|d" "$work/$1"
  ! cmp -s "$work/$1" "$work/before" || { echo "FAILED: $1 does not include $2" >&2; exit 1; }
  if "$check_by" "$check" "$work" >/dev/null 2>"$work/err.txt"; then echo "FAILED: $1 without $2 goes unnoticed" >&2; exit 1; fi
  grep -qx "$1: names $3, which it does not include" "$work/err.txt" || { cat "$work/err.txt" >&2; exit 1; }
  mv "$work/before" "$work/$1"
}
finds pretrain/job.hpp common/ranks.hpp 'RankSettings of common/ranks.hpp'
finds common/program.hpp common/arguments.hpp 'check_numbers of common/arguments.hpp'
finds common/program.hpp common/options_page.hpp 'options_page_flag of common/options_page.hpp'
"$check_by" "$check" "$work" >/dev/null
mkdir "$work/none"
! "$check_by" "$check" "$work/none" >/dev/null || { echo "FAILED: a folder without headers passes" >&2; exit 1; }
