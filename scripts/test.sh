#!/usr/bin/env bash
# Installs what is missing, builds everything, benchmarks too, and runs the tests. Further arguments go to ctest (-R NAME, ...).
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh --runtimes
cores=$(nproc)
python=()
[[ -z ${DSSL_PYTHON:-} ]] || python=(-DDSSL_PYTHON="$(command -v "$DSSL_PYTHON" || echo "$DSSL_PYTHON")")
# Kernels of CUDA for one architecture, and its PTX for newer devices: each one more takes minutes. An installation, or a
# build by hand, holds machine code for four.
cmake --preset release -DDSSL_BUILD_BENCHMARKS=ON -DDSSL_CUDA_ARCHITECTURES="${DSSL_CUDA_ARCHITECTURES:-80}" "${python[@]}"
cmake --build --preset release --parallel "$cores"
ctest --preset release --parallel "$cores" "$@"
