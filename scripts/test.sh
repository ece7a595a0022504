#!/usr/bin/env bash
# Installs what is missing, builds everything, benchmarks too, and runs the tests. Further arguments go to ctest (-R NAME, ...).
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
cores=$(nproc)
cmake --preset release -DDSSL_BUILD_BENCHMARKS=ON
cmake --build --preset release --parallel "$cores"
ctest --preset release --parallel "$cores" "$@"
