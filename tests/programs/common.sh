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

# calibration HEIGHT WIDTH K1: a camera's, as cv::FileStorage of OpenCV 4 writes it, its focal length 40 pixels.
calibration() {
  cat <<EOF
%YAML:1.0
---
image_width: $2
image_height: $1
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 40., 0., $(awk "BEGIN { print $2 / 2 - 0.5 }"), 0., 40.,
       $(awk "BEGIN { print $1 / 2 - 0.5 }"), 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ $3, 0., 0., 0., 0. ]
EOF
}
# homography "H11, H12, ...": a map's file, as cv::FileStorage writes it.
homography() { printf '%%YAML 1.2\n---\nhomography: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [ %s ]\n' "$1"; }
# Whether the build has the library for them; one that has not says what brings it.
reads_calibrations() {
  calibration 32 32 0 >probe.yml
  ! "$programs/dssl-show" synthetic --kind views --camera probe.yml --out probe.png 2>&1 | grep -q 'without yaml-cpp (package libyaml-cpp-dev'
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
