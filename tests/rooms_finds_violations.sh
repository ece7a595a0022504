#!/usr/bin/env bash
# Shows that rooms.sh accepts a sound house and finds each kind of violation, one at a time.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
house=$(mktemp -d)
trap 'rm -rf "$house"' EXIT

mkdir -p "$house"/{core,backend,backend/cuda,nn,tokens,views,points,train,data,io,eval}
for header in core/a backend/a nn/a tokens/a views/a views/image points/a train/a data/a io/a io/png eval/a backend/cblas; do
  echo '#pragma once' >"$house/$header.hpp"
done

accepts() {  # header, line
  echo "$2" >"$house/$1"
  "$here/rooms.sh" "$house" >/dev/null 2>&1 || { echo "refused: $1: $2" >&2; exit 1; }
  echo '#pragma once' >"$house/$1"
}
refuses() {  # header, line, part of the message
  echo "$2" >"$house/$1"
  if "$here/rooms.sh" "$house" >"$house/output" 2>&1; then
    echo "not found: $1: $2" >&2
    exit 1
  fi
  grep -qF "$3" "$house/output" || { echo "found with another message: $1: $2" >&2; cat "$house/output" >&2; exit 1; }
  echo '#pragma once' >"$house/$1"
}

accepts nn/a.hpp '#include <dssl/backend/a.hpp>'
accepts points/a.hpp '#include <dssl/nn/a.hpp>'
accepts io/a.hpp '#include <dssl/views/image.hpp>'
accepts data/a.hpp '#include <tbb/parallel_pipeline.h>'
accepts backend/a.hpp '#include <Eigen/Core>'
accepts io/png.hpp '#include <png.h>'
accepts backend/cblas.hpp '#include <cblas.h>'
accepts train/a.hpp '#include <dssl/tokens/a.hpp>'
accepts eval/a.hpp '#include <dssl/data/a.hpp>'
accepts nn/a.hpp '// std::cout is for programs'

refuses core/a.hpp '#include <dssl/backend/a.hpp>' 'core may not include <dssl/backend/a.hpp>'
refuses backend/a.hpp '#include <dssl/nn/a.hpp>' 'backend may not include'
refuses nn/a.hpp '#include <dssl/tokens/a.hpp>' 'nn may not include'
refuses points/a.hpp '#include <dssl/tokens/a.hpp>' 'points may not include'
refuses tokens/a.hpp '#include <dssl/train/a.hpp>' 'tokens may not include'
refuses io/a.hpp '#include <dssl/views/a.hpp>' 'io may not include'
refuses train/a.hpp '#include <dssl/eval/a.hpp>' 'train may not include'
refuses nn/a.hpp '#include <Eigen/Core>' 'only backend/ may see Eigen'
refuses nn/a.hpp '#include <cuda_runtime.h>' 'only backend/cuda/*.cuh may see CUDA'
refuses backend/a.hpp '#include <cublasLt.h>' 'only backend/cuda/*.cuh may see CUDA'
echo '#include <cuda_runtime.h>' >"$house/backend/cuda/a.cuh" && "$here/rooms.sh" "$house" >/dev/null
refuses train/a.hpp '#include <tbb/parallel_for.h>' 'may see oneTBB'
refuses backend/a.hpp '#include <dnnl.hpp>' 'may see oneDNN'
refuses backend/a.hpp '#include <cblas.h>' 'may see a BLAS'
refuses backend/a.hpp '#include <dssl/backend/cblas.hpp>' 'not every user has'
refuses io/a.hpp '#include <png.h>' 'only io/png.hpp'
refuses nn/a.hpp '#include "b.hpp"' 'not spelled in full'
refuses nn/a.hpp '#include <dssl/nn/b.hpp>' 'does not exist'
refuses nn/a.hpp '#include <iostream>' 'does not print'
refuses nn/a.hpp 'inline void f() { std::abort(); }' 'ends the process'
mkdir "$house/attic" && refuses attic/a.hpp '#pragma once' 'no room of the house'
echo "each violation is found"
