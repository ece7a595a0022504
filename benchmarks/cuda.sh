#!/usr/bin/env bash
# Builds, tests and measures the CUDA backend on a machine with a GPU; no network is needed.
#
#   benchmarks/cuda.sh [--build FOLDER] [--out FOLDER] [--architectures LIST] [--prefix FOLDERS]
#                      [--python PYTHON_WITH_TORCH] [--quick]
#
# --build          a folder for the build (build/cuda)
# --out            where cuda.json, cuda.md and the logs go (benchmarks/results/cuda)
# --architectures  compute capabilities to build for, such as 90 ("80;86;89;90")
# --prefix         where Eigen, oneTBB, Catch2, Google Benchmark, CLI11 and nlohmann_json lie (CMAKE_PREFIX_PATH), if
#                  not where CMake looks by itself
# --python         an interpreter with PyTorch for CUDA: the peer is run too, on the same device
# --quick          few repeats: to see that it works, not to quote
#
# Stops at the first test that fails. Environment: CUDACXX names the compiler, CUDA_VISIBLE_DEVICES the device.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/cuda
out=$root/benchmarks/results/cuda
architectures="80;86;89;90"
prefix=
python=
quick=0
while (($# > 0)); do
  case $1 in
    --build) build=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --architectures) architectures=$2; shift 2 ;;
    --prefix) prefix=$2; shift 2 ;;
    --python) python=$2; shift 2 ;;
    --quick) quick=1; shift ;;
    *) sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
  esac
done
build=$(realpath -m "$build") out=$(realpath -m "$out")
say() { echo "cuda.sh: $*" >&2; }

mkdir -p "$out"
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DDSSL_CUDA=ON "-DDSSL_CUDA_ARCHITECTURES=$architectures" \
  -DDSSL_BUILD_TESTS=ON -DDSSL_BUILD_EXAMPLES=OFF -DDSSL_BUILD_BENCHMARKS=ON "-DCMAKE_PREFIX_PATH=$prefix" >"$out/configure.log"
say "building"
cmake --build "$build" --target dssl_test_cuda dssl-cuda-step >"$out/build.log"
test=$build/tests/cuda/dssl_test_cuda
step=$build/benchmarks/dssl-cuda-step

say "tests on the device"
(cd "$out" && "$test") >"$out/test.log" 2>&1 || { tail -n 40 "$out/test.log" >&2; say "tests failed: $out/test.log"; exit 1; }
if grep -q 'skipped: ' "$out/test.log"; then
  grep -m1 'skipped: ' "$out/test.log" >&2
  say "nothing was tested or measured"
  exit 1
fi
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    say "compute-sanitizer $tool"
    # One test asks for more memory than there is: the call that fails is what it wants.
    also=""
    if [[ $tool == memcheck ]]; then also="--report-api-errors no"; fi
    (cd "$out" && compute-sanitizer --tool $tool $also --error-exitcode 9 "$test") >"$out/$tool.log" 2>&1 ||
      { tail -n 40 "$out/$tool.log" >&2; say "$tool found errors: $out/$tool.log"; exit 1; }
  done
else
  say "compute-sanitizer is not installed: not checked"
fi

steps=20
precisions="bf16 tf32 f32"
if ((quick)); then steps=3 precisions=bf16; fi
rm -f "$out"/{step,parts}-*.json "$out"/kernels-*.csv "$out"/{pairs.json,no-memory.txt,tried.txt}
declare -A largest
for arch in tiny16 small16 base16; do
  for precision in $precisions; do
    # Batch 64, and then larger ones as long as they fit.
    for batch in 64 128 256 512; do
      ((quick && batch > 64)) && break
      say "step of $arch, $precision, batch $batch"
      result=$out/step-$arch-$precision-$batch.json
      if ! "$step" --arch $arch --precision $precision --batch $batch --steps $steps >"$result" 2>"$out/step.log"; then
        rm -f "$result"
        grep -q 'out of memory' "$out/step.log" && break
        cat "$out/step.log" >&2
        exit 1
      fi
      largest[$arch-$precision]=$batch
    done
  done
done

# Other ways to make the same step, and steps that drop nothing with and without graphs.
if ((!quick)); then
  for arch in tiny16 small16 base16; do
    [[ -n ${largest[$arch-bf16]:-} ]] || continue
    for way in --stream-views --recompute --graphs "--stochastic-depth 0" "--stochastic-depth 0 --graphs"; do
      say "step of $arch, bf16, batch 64, $way"
      # shellcheck disable=SC2086  # a way is several words
      "$step" --arch $arch --precision bf16 --batch 64 --steps $steps $way >"$out/step-$arch-bf16-64${way// /}.json"
    done
  done
fi

# Where the time goes: by primitive, each waited for; and by kernel, where the toolkit's profiler is installed.
for arch in tiny16 small16 base16; do
  [[ -n ${largest[$arch-bf16]:-} ]] || continue
  say "parts of a step of $arch"
  "$step" --arch $arch --precision bf16 --batch 64 --steps $steps --parts >"$out/parts-$arch-bf16.json"
  if command -v nsys >/dev/null; then
    say "kernels of a step of $arch"
    # Served, the program makes steps and nothing else.
    (cd "$out" && nsys profile --force-overwrite true -o kernels bash -c \
      "yes step | head -n $steps | '$step' --arch $arch --precision bf16 --batch 64 --serve" &&
      nsys stats --force-export true --report cuda_gpu_kern_sum --format csv kernels.nsys-rep) \
      >"$out/nsys.log" 2>&1 && sed -n '/^Time (%)/,/^$/p' "$out/nsys.log" >"$out/kernels-$arch.csv" ||
      say "nsys failed: $out/nsys.log"
    rm -f "$out"/kernels.{nsys-rep,sqlite}
  fi
done

if [[ -n $python ]]; then
  "$python" "$root/benchmarks/peers/densedino.py" --check "$root/tests/fixtures" >&2
  pairs=20
  if ((quick)); then pairs=5; fi
  # Status 3 is a peer, or dssl, without memory for the batch, which is told; half of it is tried then.
  pair() {
    local arch=$1 batch=$2 peer=$3 status
    while ((batch >= 64)); do
      grep -qsx "$arch $batch $peer" "$out/tried.txt" && break
      echo "$arch $batch $peer" >>"$out/tried.txt"
      say "dssl and PyTorch ($peer), $arch, batch $batch"
      status=0
      "$root/benchmarks/peers/run.py" --build "$build/benchmarks" --python "$python" --device cuda --arch "$arch" \
        --peer "$peer" --precision bf16 --batch "$batch" --pairs $pairs --warm-up 5 --out "$out/pairs.json" >/dev/null ||
        status=$?
      ((status == 3)) || return $status
      echo "$arch $batch $peer" >>"$out/no-memory.txt"
      batch=$((batch / 2))
    done
  }
  for arch in tiny16 small16 base16; do
    for peer in eager eager-masked compile; do
      for batch in $(printf '%s\n' 64 "${largest[$arch-bf16]:-64}" | sort -nu); do pair $arch "$batch" $peer; done
    done
  done
fi

python3 "$root/benchmarks/cuda_report.py" --results "$out"
say "$out/cuda.md"
