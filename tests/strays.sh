#!/usr/bin/env bash
# Holds what lies in the repository: at its root the files and folders that are known, elsewhere no hidden file, nothing that an
# editor or a merge left, and nothing large but fixtures and results. Skipped where git does not tell what is tracked.
# Usage: strays.sh ROOT
set -euo pipefail
root=${1:?usage: strays.sh ROOT}
known=" .ci .clang-format .clang-tidy .gitignore CHANGELOG.md CMakeLists.txt CMakePresets.json LICENSE README.md \
benchmarks c cmake docs examples fuzz include scripts tests "

# strays: of lines "BYTES PATH", those that are none of the house's, each with why.
strays() {
  local bytes path
  while read -r bytes path; do
    if [[ $known != *" ${path%%/*} "* ]]; then
      echo "$path: is at the root, where tests/strays.sh does not know it"
    elif [[ $path == */.* && $path != .ci/* && $path != fuzz/.gitattributes ]]; then
      echo "$path: is hidden"
    elif [[ $path =~ (~|\.(orig|rej|part|bak|swp|o|log))$ ]]; then
      echo "$path: was left by a tool"
    elif [[ $bytes -gt 300000 && $path != tests/fixtures/* && $path != benchmarks/results/* ]]; then
      echo "$path: has $bytes bytes; expected at most 300000"
    fi
  done
}

# What it finds, first.
for stray in '1100000 .json' '5 notes.md' '5 docs/.json' '5 docs/design.md.orig' '300001 docs/images/demo.png'; do
  [[ -n $(strays <<<"$stray") ]] || { echo "not found: $stray" >&2; exit 1; }
done
for sound in '5 README.md' '5 .ci/run' '5 fuzz/.gitattributes' '1100000 tests/fixtures/a.safetensors' '300000 docs/images/demo.png'; do
  [[ -z $(strays <<<"$sound") ]] || { echo "refused: $sound" >&2; exit 1; }
done

cd "$root"
if ! git ls-files --error-unmatch README.md >/dev/null 2>&1; then
  echo "skipped: no checkout of git"
  exit 0
fi
sizes=$(git ls-files -z | xargs -0 stat -c '%s %n' 2>/dev/null || true)  # one removed but not yet from the index has no size
[[ -n $sizes ]] || { echo "stat tells no sizes" >&2; exit 1; }
found=$(strays <<<"$sizes" || true)
if [[ -n $found ]]; then
  echo "$found" >&2
  exit 1
fi
echo "no strays among $(git ls-files | wc -l) files"
