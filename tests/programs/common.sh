# What the tests of the programs share. Sourced with the folder of the programs as first argument.
set -euo pipefail

if [[ $# -lt 2 ]]; then
  echo "usage: $0 FOLDER_OF_PROGRAMS MAKE_IMAGE" >&2
  exit 2
fi
programs=$1 make_image=$2
tools=$(dirname "$make_image")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "FAILED: $1" >&2
  for log in out.txt err.txt; do
    [[ -f $log ]] && { echo "--- $log"; tail -n 20 "$log"; } >&2
  done
  exit 1
}

# succeeds COMMAND...: exit status 0 and nothing on stderr.
succeeds() {
  local status=0
  "$@" >out.txt 2>err.txt || status=$?
  [[ $status -eq 0 ]] || fail "status $status of: $*"
  [[ ! -s err.txt ]] || fail "something on stderr of: $*"
}

# fails STATUS WORDS COMMAND...: that status and one line on stderr with these words (a pattern of grep -E).
fails() {
  local wanted=$1 words=$2 status=0
  shift 2
  "$@" >out.txt 2>err.txt || status=$?
  [[ $status -eq $wanted ]] || fail "status $status, not $wanted, of: $*"
  [[ $(wc -l <err.txt) -eq 1 ]] || fail "not one line on stderr of: $*"
  grep -Eq -- "$words" err.txt || fail "stderr does not say '$words': $*"
}

# warns LINES WORDS COMMAND...: success, and that many lines on stderr, all with these words.
warns() {
  local lines=$1 words=$2 status=0
  shift 2
  "$@" >out.txt 2>err.txt || status=$?
  [[ $status -eq 0 ]] || fail "status $status of: $*"
  [[ $(grep -Ec -- "$words" err.txt) -eq $lines && $(wc -l <err.txt) -eq $lines ]] ||
    fail "not $lines lines of '$words' on stderr of: $*"
}

# value FILE KEY...: a value of a JSON file.
value() { "$tools/dssl_json_value" "$@"; }

# above VALUE LEAST WHAT: fails unless VALUE is at least LEAST.
above() { awk "BEGIN { exit !($1 >= $2) }" || fail "$1 is below $2: $3"; }

# A run of nano8 small enough for a test: 4 steps an epoch on 8 scenes.
tiny=(--arch nano8 --batch 2 --views-global 16 --views-local 16 --locals 1 --prototypes 16)
scenes=(--data synthetic --synthetic-count 8 --synthetic-size 32)
pretrain() { "$programs/dssl-pretrain" "${tiny[@]}" "$@"; }
segment() {
  "$programs/dssl-segment" --arch nano8 --size 32 --epochs 1 --batch 4 --threads 1 "$@"
}
