#!/usr/bin/env bash
# docs/options.md is what the programs (the arguments) say, and the check finds a page that is not.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$root/scripts/options.sh" --check "$@"
# finds WHAT SED_SCRIPT PROGRAM...: the page changed in this way is found out.
finds() {
  local what=$1 change=$2
  shift 2
  sed "$change" "$root/docs/options.md" >"$work/page.md"
  ! cmp -s "$root/docs/options.md" "$work/page.md" || { echo "FAILED: $what changes nothing" >&2; exit 1; }
  if "$root/scripts/options.sh" --check --page "$work/page.md" "$@" 2>"$work/err.txt"; then
    echo "FAILED: $what goes unnoticed" >&2
    exit 1
  fi
  grep -q 'build the target docs_options' "$work/err.txt" || { echo "FAILED: $what is not said in words" >&2; exit 1; }
}
finds 'another default' '0,/`224`/s/`224`/`225`/' "$@"
finds 'an option that is not listed' '/^| `--locals`/d' "$@"
# Nothing depends on where it runs.
page() { for program in "${programs[@]}"; do "$program" --options-page; done; }
programs=("$@")
page >"$work/here.md"
(cd / && env -i LC_ALL=C taskset -c 0 bash -c 'for program; do "$program" --options-page; done' - "${programs[@]}") >"$work/there.md"
cmp "$work/here.md" "$work/there.md" || { echo "FAILED: the page depends on the machine" >&2; exit 1; }
# Each program has a meaning and a default for each option.
! grep -nE '^\| [^|]* \|  \||\|  \|$' "$work/here.md" || { echo "FAILED: an option without default or meaning" >&2; exit 1; }
echo "options: all as it should be"
