#!/usr/bin/env bash
# Measures everything and writes one JSON file and one Markdown table; docs/performance.md is made from them.
#
#   benchmarks/run.sh [--build FOLDER] [--out FOLDER] [--python PYTHON_WITH_TORCH] [--faiss PYTHON_WITH_FAISS]
#                     [--precision "f32 ..."] [--quick]
#
# --build      a CMake build folder of type Release (build/release); it is built first
# --out        where results.json, results.md and what they were made from go (benchmarks/results)
# --python     an interpreter with PyTorch: the peer is run too, in turn with dssl; with torchvision views are made in turn too
# --faiss      an interpreter with faiss: the searches are run too, in turn with dssl
# --precision  number formats to measure ("f32")
# --quick      few repeats: to see that it works, not to quote
#
# Nothing else should run meanwhile. Results taken under load say so.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/release
out=$root/benchmarks/results
python=
faiss=
precisions=f32
quick=0
while (($# > 0)); do
  case $1 in
    --build) build=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --python) python=$2; shift 2 ;;
    --faiss) faiss=$2; shift 2 ;;
    --precision) precisions=$2; shift 2 ;;
    --quick) quick=1; shift ;;
    *) sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
  esac
done

if [[ ! -f $build/CMakeCache.txt ]]; then
  echo "run.sh: $build is no build folder: cmake -B $build -DCMAKE_BUILD_TYPE=Release -DDSSL_BUILD_BENCHMARKS=ON" >&2
  exit 1
fi
cached() { sed -n "s/^$1:[^=]*=//p" "$build/CMakeCache.txt"; }
if [[ $(cached CMAKE_BUILD_TYPE) != Release || -n $(cached DSSL_SANITIZE) || $(cached DSSL_TBB_STAND_IN) == ON ]]; then
  echo "run.sh: $build is a '$(cached CMAKE_BUILD_TYPE)' build; speed is measured with Release, without sanitizers" >&2
  exit 1
fi
cmake --build "$build" --target dssl_benchmarks dssl-step benchmarks/dssl-features dssl-search dssl-view-sets

programs=$build/benchmarks
mkdir -p "$out"
rm -f "$out"/{parts,costs,first,pairs}.json "$out"/{step,features}-*.json
steps=9 warm_up=3 minimum=0.3 runs=25 pairs=9 repeats=3
if ((quick)); then steps=3 warm_up=1 minimum=0.01 runs=5 pairs=5 repeats=1; fi
say() { echo "run.sh: $*, load $(cut -d' ' -f1 /proc/loadavg)" >&2; }

for precision in $precisions; do
  for threads in 1 $(nproc); do
    for arch in small16 tiny16 nano8; do
      say "step of $arch, $precision, $threads threads"
      "$programs/dssl-step" --arch $arch --precision "$precision" --threads "$threads" --steps $steps \
        --warm-up $warm_up > "$out/step-$arch-$precision-$threads.json"
    done
    for arch in tiny16 small16 base16; do
      say "features of $arch, $precision, $threads threads"
      "$programs/dssl-features" --arch $arch --precision "$precision" --threads "$threads" --runs $runs \
        --warm-up $warm_up > "$out/features-$arch-$precision-$threads.json"
    done
  done
  for arch in small16 tiny16; do
    for less in recompute stream-views; do
      say "step of $arch, $precision, $less"
      "$programs/dssl-step" --arch $arch --precision "$precision" --steps $steps --warm-up $warm_up --$less \
        > "$out/step-$less-$arch-$precision.json"
    done
    say "parts of a step of $arch, $precision"
    "$programs/dssl-step" --arch $arch --precision "$precision" --steps $steps --warm-up $warm_up --parts \
      > "$out/step-parts-$arch-$precision.json"
    say "scaling of a step of $arch, $precision"
    "$programs/dssl-step" --arch $arch --precision "$precision" --steps 3 --warm-up 1 --scaling \
      > "$out/step-scaling-$arch-$precision.json"
  done
done

say "parts"
"$programs/dssl_benchmarks" --benchmark_min_time=$minimum --benchmark_format=json > "$out/parts.json"
say "time to the first feature"
"$root/benchmarks/first_feature.py" --build "$programs" --runs $runs --out "$out/first.json" > /dev/null
say "compile time and size"
"$root/benchmarks/compile_cost.py" --recipes --repeats $repeats --out "$out/costs.json" > /dev/null

if [[ -n $python ]]; then
  "$python" "$root/benchmarks/peers/densedino.py" --check "$root/tests/fixtures" >&2
  for precision in $precisions; do
    say "dssl and PyTorch in turn, $precision"
    pair() {
      "$root/benchmarks/peers/run.py" --build "$programs" --python "$python" --precision "$precision" \
        --pairs $pairs --warm-up $warm_up --out "$out/pairs.json" "$@" > /dev/null
    }
    pair --task step --arch small16 tiny16 --peer eager eager-lean compile compile-lean
    pair --task features --arch tiny16 small16 base16 --peer eager compile
  done
fi
if [[ -n $python ]] && "$python" -c 'import torchvision' 2>/dev/null; then
  say "dssl and Pillow in turn"
  "$root/benchmarks/peers/run.py" --build "$programs" --python "$python" --task view-sets --threads 1 --pairs $pairs --warm-up $warm_up \
    --arch boxes homographies boxes-plain homographies-plain --out "$out/pairs.json" > /dev/null
fi
if [[ -n $faiss ]]; then
  say "dssl and faiss in turn"
  search() {
    "$root/benchmarks/peers/run.py" --build "$programs" --python "$faiss" --task search --pairs $pairs --warm-up 1 \
      --out "$out/pairs.json" "$@" > /dev/null
  }
  search --arch cosine distance --peer faiss --sizes=--rows=100000 --sizes=--queries=1024
  search --arch coreset --peer faiss faiss-numpy --sizes=--rows=50000 --sizes=--coreset=300
fi
"$root/benchmarks/report.py" --results "$out"
