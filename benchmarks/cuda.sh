#!/usr/bin/env bash
# Builds, tests and measures the CUDA backend on a machine with a GPU; no network is needed.
#
#   benchmarks/cuda.sh [--build FOLDER] [--out FOLDER] [--architectures LIST] [--prefix FOLDERS] [--quick]
#
# --build          a folder for the build (build/cuda)
# --out            where cuda.json, cuda.md and the logs go (benchmarks/results/cuda)
# --architectures  compute capabilities to build for, such as 90 ("80;86;89;90")
# --prefix         where Eigen, oneTBB, Catch2, Google Benchmark, CLI11 and nlohmann_json lie (CMAKE_PREFIX_PATH), if
#                  not where CMake looks by itself
# --quick          few repeats: to see that it works, not to quote
#
# Stops at the first test that fails. Environment: CUDACXX names the compiler, CUDA_VISIBLE_DEVICES the device.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/cuda
out=$root/benchmarks/results/cuda
architectures="80;86;89;90"
prefix=
quick=0
while (($# > 0)); do
  case $1 in
    --build) build=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --architectures) architectures=$2; shift 2 ;;
    --prefix) prefix=$2; shift 2 ;;
    --quick) quick=1; shift ;;
    *) sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
  esac
done
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
rm -f "$out"/step-*.json
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
    done
  done
done

python3 - "$out" <<'PYTHON'
import glob, json, os, sys

out = sys.argv[1]
runs = [json.load(open(path)) for path in sorted(glob.glob(os.path.join(out, "step-*.json")))]


def write(name, text):
    path = os.path.join(out, name)
    with open(path + ".new", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


write("cuda.json", json.dumps(runs, indent=1) + "\n")
lines = ["# Training steps on a GPU", "", runs[0]["backend"] if runs else "nothing was measured", "",
         "2 + 4 views at 224, K 2. Utilisation: FLOP of the published step over those of a linear layer of 8192 x 8192",
         "in the same number format.", "",
         "| backbone | products | batch | P | images/s | step | memory | utilisation |", "|---|---|---|---|---|---|---|---|"]
for r in sorted(runs, key=lambda r: (r["arch"], r["precision"], r["batch"])):
    memory = (r["memory"]["plan"] + r["memory"]["scratch"]) / 2**30
    lines.append(f"| {r['arch']} | {r['precision']} | {r['batch']} | {r['prototypes']} | {r['images_per_second']:.0f} "
                 f"| {1000 * r['seconds']['median']:.1f} ms | {memory:.1f} GiB | {100 * r['utilisation']:.0f} % |")
write("cuda.md", "\n".join(lines) + "\n")
PYTHON
say "$out/cuda.md"
