#!/usr/bin/env bash
# Shows that rooms.sh accepts a sound house and finds each kind of violation, one at a time.
# Usage: rooms_finds_violations.sh DESIGN   (docs/design.md, whose table of edges the house's design has)
set -euo pipefail

table=$(grep '^| [a-z]' "${1:?usage: rooms_finds_violations.sh DESIGN}")

here=$(cd "$(dirname "$0")" && pwd)
house=$(mktemp -d)
trap 'rm -rf "$house"' EXIT

mkdir -p "$house"/{core,backend,backend/cuda,nn,tokens,views,points,train,testing,data,io,features,search,metrics,probe,monitor,defects,pictures}
for header in core/a backend/a nn/a tokens/a views/a views/image points/a train/a testing/a data/a io/a io/png io/tiff io/webp io/camera_file io/image_file features/a search/a metrics/a probe/a monitor/a defects/a pictures/a backend/cblas backend/symmetric_eigen; do
  echo '#pragma once' >"$house/$header.hpp"
done
for room in features search metrics probe monitor defects pictures; do
  echo "#include <dssl/$room/a.hpp>" >"$house/$room.hpp"
done

{
  echo 'include/dssl/'
  for room in "$house"/*/; do
    echo "  $(basename "$room")/ $(find "$room" -maxdepth 1 -name '*.hpp' -exec basename {} .hpp \; | tr '\n' ' ')"
  done
  printf '%s\n' '```' "$table"
  for room in "$house"/*/; do
    echo "  | $(basename "$room") 1 |"
  done
} >"$house/design.md"

accepts() {  # header, line
  echo "$2" >"$house/$1"
  "$here/rooms.sh" "$house" "$house/design.md" >/dev/null 2>&1 || { echo "refused: $1: $2" >&2; exit 1; }
  echo '#pragma once' >"$house/$1"
}
refuses() {  # header, line, part of the message
  echo "$2" >"$house/$1"
  if "$here/rooms.sh" "$house" "$house/design.md" >"$house/output" 2>&1; then
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
accepts backend/symmetric_eigen.hpp '#include <Eigen/Eigenvalues>'
accepts metrics/a.hpp '#include <dssl/backend/symmetric_eigen.hpp>'
accepts io/png.hpp '#include <png.h>'
accepts io/tiff.hpp '#include <tiffio.h>'
accepts io/webp.hpp '#include <webp/decode.h>'
accepts io/camera_file.hpp '#include <yaml-cpp/yaml.h>'
accepts backend/cblas.hpp '#include <cblas.h>'
accepts train/a.hpp '#include <dssl/tokens/a.hpp>'
accepts testing/a.hpp '#include <dssl/train/a.hpp>'
accepts features/a.hpp '#include <dssl/data/a.hpp>'
accepts probe/a.hpp '#include <dssl/search/a.hpp>'
accepts monitor/a.hpp '#include <dssl/probe/a.hpp>'
accepts defects/a.hpp '#include <dssl/metrics/a.hpp>'
accepts pictures/a.hpp '#include <dssl/features/a.hpp>'
accepts nn/a.hpp '// std::cout is for programs'

refuses nn/a.hpp "$(printf '// line\n%.0s' {1..90})" 'the drawing gives nn 1 lines; it has 9'
refuses testing/a.hpp "$(printf '// line\n%.0s' {1..90})" 'the drawing gives testing 1 lines; it has 9'
refuses core/a.hpp '#include <dssl/backend/a.hpp>' 'core may not include <dssl/backend/a.hpp>'
refuses backend/a.hpp '#include <dssl/nn/a.hpp>' 'backend may not include'
refuses nn/a.hpp '#include <dssl/tokens/a.hpp>' 'nn may not include'
refuses points/a.hpp '#include <dssl/tokens/a.hpp>' 'points may not include'
refuses tokens/a.hpp '#include <dssl/train/a.hpp>' 'tokens may not include'
refuses io/a.hpp '#include <dssl/views/a.hpp>' 'io may not include'
refuses train/a.hpp '#include <dssl/testing/a.hpp>' 'train may not include'
for room in features search metrics probe monitor defects pictures; do
  refuses train/a.hpp "#include <dssl/$room/a.hpp>" "train may not include <dssl/$room/a.hpp>"
done
refuses features/a.hpp '#include <dssl/train/a.hpp>' 'features may not include'
refuses features/a.hpp '#include <dssl/search/a.hpp>' 'features may not include'
refuses search/a.hpp '#include <dssl/features/a.hpp>' 'search may not include'
refuses metrics/a.hpp '#include <dssl/search/a.hpp>' 'metrics may not include'
refuses probe/a.hpp '#include <dssl/monitor/a.hpp>' 'probe may not include'
refuses defects/a.hpp '#include <dssl/probe/a.hpp>' 'defects may not include'
refuses pictures/a.hpp '#include <dssl/metrics/a.hpp>' 'pictures may not include'
refuses probe/a.hpp '#include <dssl/features.hpp>' 'probe may not include <dssl/features.hpp>'
refuses nn/a.hpp '#include <Eigen/Core>' 'only backend/ may see Eigen'
refuses backend/a.hpp '#include <Eigen/Eigenvalues>' 'more than Eigen/Core'
refuses backend/a.hpp '#include <dssl/backend/symmetric_eigen.hpp>' 'dear to compile'
refuses nn/a.hpp '#include <cuda_runtime.h>' 'only backend/cuda/*.cuh may see CUDA'
refuses backend/a.hpp '#include <cublasLt.h>' 'only backend/cuda/*.cuh may see CUDA'
echo '#include <cuda_runtime.h>' >"$house/backend/cuda/a.cuh" && "$here/rooms.sh" "$house" "$house/design.md" >/dev/null
refuses train/a.hpp '#include <tbb/parallel_for.h>' 'may see oneTBB'
refuses backend/a.hpp '#include <dnnl.hpp>' 'may see oneDNN'
refuses backend/a.hpp '#include <cblas.h>' 'may see a BLAS'
refuses backend/a.hpp '#include <mpi.h>' 'may see MPI'
refuses backend/a.hpp '#include <nccl.h>' 'may see NCCL'
refuses backend/a.hpp '#include <dssl/backend/cblas.hpp>' 'not every user has'
refuses io/a.hpp '#include <png.h>' 'only io/png.hpp'
refuses io/png.hpp '#include <tiffio.h>' 'only io/tiff.hpp'
refuses io/image_file.hpp '#include <webp/decode.h>' 'only io/webp.hpp'
refuses io/image_file.hpp '#include <yaml-cpp/yaml.h>' 'only io/camera_file.hpp'
refuses nn/a.hpp '#include "b.hpp"' 'not spelled in full'
refuses nn/a.hpp '#include <dssl/nn/b.hpp>' 'does not exist'
refuses nn/a.hpp '#include <iostream>' 'does not print'
refuses nn/a.hpp 'inline void f() { std::abort(); }' 'ends the process'
refuses search/b.hpp '#pragma once' 'search.hpp: <dssl/search/b.hpp> is not among its parts' && rm "$house/search/b.hpp"
echo '#include <dssl/search/a.hpp>' >>"$house/metrics.hpp"
refuses nn/a.hpp '#pragma once' 'metrics.hpp: <dssl/search/a.hpp> is no part of metrics/'
rm "$house/metrics.hpp" && refuses nn/a.hpp '#pragma once' 'metrics/: no metrics.hpp names its parts'
echo '#include <dssl/metrics/a.hpp>' >"$house/metrics.hpp"
mkdir "$house/attic" && refuses attic/a.hpp '#pragma once' 'no room of the house' && rm -r "$house/attic"

# The page of the design.
refuses nn/b.hpp '#pragma once' 'design.md: the list of nn/ does not name b' && rm "$house/nn/b.hpp"
refuses top.hpp '#pragma once' 'design.md: the list of headers beside the rooms does not name top.hpp' && rm "$house/top.hpp"
long=$(printf '// line\n%.0s' {1..401})
refuses nn/a.hpp "$long" 'design.md: gives no reason why nn/a.hpp has 401 lines, more than 400'
sed -i 's/^  | nn 1 |/  | nn 401 |/' "$house/design.md" && echo '| `nn/a.hpp` |  |' >>"$house/design.md"
refuses nn/a.hpp "$long" 'design.md: gives no reason why nn/a.hpp has 401 lines, more than 400'
sed -i 's/^| `nn.*/| `nn\/a.hpp` | one idea |/' "$house/design.md"
accepts nn/a.hpp "$long"
refuses nn/a.hpp '#pragma once' 'design.md: gives a reason why nn/a.hpp is longer than 400 lines; it has 1'
sed -i '/^| `nn/d; s/^  | nn 401 |/  | nn 1 |/' "$house/design.md"
sed -i 's/^| testing | core, backend, /| testing | core, /' "$house/design.md"
refuses nn/a.hpp '#pragma once' 'design.md: by its table testing may include: backbone core data'
sed -i 's/^| nn | core, /| nn | io, core, /' "$house/design.md"
refuses nn/a.hpp '#pragma once' 'design.md: by its table nn may include: backend core io'
echo "each violation is found"
