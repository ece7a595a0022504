#!/usr/bin/env bash
# The main job on a small scale: installs what is missing, builds the programs, makes synthetic scenes, pretrains DINO
# and DenseDINO on them without labels, measures both and random weights by segmentation, and writes a report.
# From a fresh clone on two quiet cores of a Zen 5 it took 428 s: 11 for packages, 159 to build, 258 of work; of a Zen 4
# 836 s, of which 527 of work. On two busy cores with AVX2 alone it took 1388 s.
# Usage: demo.sh [FOLDER], by default build/demo.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-build/demo}
scripts/setup.sh
# A build of its own, of what the demo runs and no more: without tests and without the kernels of CUDA.
cmake --preset release -B build/programs -DDSSL_BUILD_TESTS=OFF -DDSSL_CUDA=OFF
cmake --build build/programs --parallel "$(nproc)" --target dssl-pretrain dssl-segment dssl-report dssl-scenes
bin=build/programs/examples
began=$SECONDS

mkdir -p "$out"
"$bin/dssl-scenes" --out "$out/scenes" --train 500 --val 100 --size 96 --classes 5 --overwrite

# Both see the same images in the same views for the same number of steps. Local views are small, as in DINO; a short
# run wants small batches, a large learning rate, few prototypes and a teacher that follows quickly.
for recipe in dino densedino; do
  echo "== pretraining: $recipe"
  points=()
  [[ $recipe == dino ]] || points=(--points 4)
  "$bin/dssl-pretrain" --data "$out/scenes" --split train --recipe "$recipe" --arch nano8 --epochs 30 --batch 8 \
    "${points[@]}" --views-global 64 --views-local 32 --locals 4 --global-scale 0.25 1 --local-scale 0.05 0.4 --prototypes 256 \
    --lr 0.03 --warmup-epochs 3 --weight-decay-end 0.1 --momentum 0.99 --image-all-views --overwrite --out "$out/$recipe"
done

for weights in random dino densedino; do
  echo "== segmentation: $weights"
  file=random
  [[ $weights == random ]] || file=$out/$weights/teacher.safetensors
  "$bin/dssl-segment" --data "$out/scenes" --weights "$file" --arch nano8 --classes 5 --size 96 --cache-features \
    --epochs 10 --batch 10 --lr 0.3 --overlays 6 --out "$out/segment-$weights"
done

"$bin/dssl-report" --title "DenseDINO on synthetic scenes" --data "$out/scenes" \
  --pretrain "DINO=$out/dino" "DenseDINO=$out/densedino" \
  --segment "random weights=$out/segment-random" "DINO=$out/segment-dino" "DenseDINO=$out/segment-densedino" \
  --out "$out/report.html" >/dev/null
echo "== the report, after $((SECONDS - began)) s of work: $(realpath "$out/report.html")"
