#!/usr/bin/env bash
# Shows which Python scripts/setup.sh --runtimes asks and fills: its own environment, never somebody's. Nothing is fetched: the
# machine has all packages, by a stand-in, and so has python3 one.
# Usage: setup_runtimes.sh SETUP   (scripts/setup.sh)
set -euo pipefail

setup=${1:?usage: setup_runtimes.sh SETUP}
house=$(mktemp -d)
trap 'rm -rf "$house"' EXIT
mkdir -p "$house"/{scripts,bin,mine}
cp "$setup" "$house/scripts/setup.sh"

stand_in() { printf '#!/bin/sh\n%s\n' "$2" >"$house/$1" && chmod +x "$house/$1"; }
stand_in bin/dpkg-query 'echo installed'
stand_in bin/cmake 'echo cmake version 3.25.1'
# Says of itself what the variables are, and keeps what it was asked to do; an environment has the same.
stand_in bin/python3 'case $1 in
  -c) [ -z "$BROKEN" ] || exit 3; echo "${IN_ENVIRONMENT:-False}" ;;
  -) cat >/dev/null; echo "$0" >>"$LOG"; echo $ABSENT ;;
  -m) echo "$@" >>"$LOG"; if [ "$2" = venv ]; then mkdir -p "$4/bin" && cp "$0" "$4/bin/python"; fi ;;
esac'
cp "$house/bin/python3" "$house/mine/python"
export LOG=$house/log PATH="$house/bin:$PATH" ABSENT= BROKEN= DSSL_PYTHON= IN_ENVIRONMENT=

# check WHAT SAID DONE: runs it; its output and what Python was asked for have to match.
check() {
  : >"$LOG"
  local said
  said=$(bash "$house/scripts/setup.sh" --runtimes 2>&1) || { echo "FAILED: $1: it ends with $?: $said" >&2; exit 1; }
  [[ $said =~ $2 ]] || { echo "FAILED: $1: it says '$said', not '$2'" >&2; exit 1; }
  [[ $(tr '\n' ' ' <"$LOG") =~ $3 ]] || { echo "FAILED: $1: it did '$(cat "$LOG")', not '$3'" >&2; exit 1; }
}

check "all are there" '' '^python3 $|bin/python3 $'
BROKEN=1 check "a Python that does not run" 'python3 does not run; .* leave out' '^$'
ABSENT=openvino IN_ENVIRONMENT=True check "a virtual environment" 'missing.*openvino.*nothing is installed' 'bin/python3 $'
ABSENT=openvino DSSL_PYTHON=$house/mine/python check "a Python that is named" 'missing.*openvino.*mine/python is yours' 'mine/python $'
DSSL_PYTHON=$house/none check "a Python that is not there" 'no .*/none; ' '^$'
[[ ! -e $house/build ]] || { echo "FAILED: an environment was made that nobody runs" >&2; exit 1; }
ABSENT=openvino check "something is missing" 'missing.*openvino$' 'python3 -m venv --system-site-packages .*/build/python -m pip install .* openvino $'
ABSENT=openvino IN_ENVIRONMENT=True check "an environment of before beside somebody's" 'nothing is installed' 'bin/python3 $'
check "an environment of before" '' 'build/python/bin/python $'
echo "setup.sh fills no environment but its own"
