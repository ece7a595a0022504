#!/usr/bin/env bash
# --backend cuda in every program that has a backbone gives the figures of --backend cpu. Runs on a device, or with
# programs that are linked with the stand-in for one.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"${3:-$programs/dssl-scenes}" --out voc --train 4 --val 2 --size 32 --classes 3 >out.txt
"$tools/dssl_make_inspection" set 12 4 4
printf 'good/00 good\ngood/01 good\nspot/00 spot\nspot/01 spot\n' >train.txt
printf 'good/02 good\ngood/03 good\nspot/02 spot\nspot/03 spot\n' >test.txt

near() { awk "BEGIN { d = $1 - ($2); exit !(d <= $3 && d >= -$3) }" || fail "$4: $1 on the CPU, $2 on the GPU"; }
# both NAME COMMAND...: runs it with each backend; output goes to NAME.cpu and NAME.cuda, what is printed beside it.
both() {
  local name=$1 backend
  shift
  for backend in cpu cuda; do
    succeeds "$@" --backend $backend --threads 1 --out $name.$backend
    cp out.txt $name.$backend.txt
  done
  grep -q '^Cuda (' $name.cuda.txt || fail "$name: --backend cuda computes elsewhere"
}
# numbers FILE: those of a .npy file of float32, one a line.
numbers() { od -An -v -tf4 -w4 -j$((10 + $(od -An -tu2 -j8 -N2 "$1"))) "$1"; }
of_voc=(--arch nano8 --size 32 --weights random --classes 3 --data voc)
of_set=(--arch nano8 --size 40x56 --channels 1 --weights random)

status=0
"$programs/dssl-features" --arch nano8 --size 32 --data voc/JPEGImages --weights random --backend cuda --out first.npy \
  >out.txt 2>err.txt || status=$?
if [[ $status -ne 0 ]] && grep -qE 'no CUDA device|CUDA driver is too old' err.txt; then
  echo "skipped: $(grep -oE 'no CUDA device|the CUDA driver is too old' err.txt)"
  exit 0
fi

features() { "$programs/dssl-features" --arch nano8 --size 32 --data voc/JPEGImages --weights random --blocks 2,-1 --flips "${@:1:4}" --out "$6.npy"; }
both tokens features
for array in class patch; do
  paste <(numbers tokens.cpu.$array.npy) <(numbers tokens.cuda.$array.npy) |
    awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > most) most = d; sum += $1 * $1 } END { exit !(most < 1e-4 && sum > 1) }' ||
    fail "features of the two backends differ"
done

both segmented "$programs/dssl-segment" "${of_voc[@]}" --epochs 1 --batch 4 --overlays 0
near "$(value segmented.cpu/result.json miou)" "$(value segmented.cuda/result.json miou)" 0.01 "mean IoU of a probe"

both retrieved "$programs/dssl-retrieve" "${of_voc[@]}" --clusters 0,4 --overlays 0
near "$(value retrieved.cpu/result.json retrieval miou)" "$(value retrieved.cuda/result.json retrieval miou)" 0.01 \
  "mean IoU of retrieval"
[[ $(value retrieved.cuda/result.json settings backend) == '"cuda"' ]] || fail "the settings do not name the backend"

both classified "$programs/dssl-classify" "${of_set[@]}" --images set/test --train train.txt --test test.txt --k 1,3 \
  --rates 0.1 --epochs 10
cmp classified.cpu/predictions.csv classified.cuda/predictions.csv || fail "classes differ"

both inspected "$programs/dssl-defects" "${of_set[@]}" --normal set/normal --test set/test --coreset 0.3
# same_scores NAME: names and scores of images, to a thousandth.
same_scores() {
  paste -d, <(cut -d, -f1,3 $1.cpu/scores.csv) <(cut -d, -f1,3 $1.cuda/scores.csv) | tail -n +2 |
    awk -F, '{ d = $2 - $4; if ($1 != $3 || d > 1e-3 || d < -1e-3) bad = 1; n += $2 > 0 } END { exit !(n > 3 && !bad) }' ||
    fail "$1: scores of defects differ"
}
same_scores inspected
# A bank is no backend's own.
succeeds "$programs/dssl-defects" --weights random --bank inspected.cpu/bank.safetensors --test set/test --backend cuda --out again
both templates "$programs/dssl-defects" "${of_set[@]}" --scorer template --test set/pairs.txt --images set/pairs \
  --image-file '{}_test' --templates set/pairs --template-file '{}_temp'
same_scores templates
pilot() {
  "$programs/dssl-defect-pilot" "${of_set[@]}" --normal set/normal --defects set/test/spot --masks set/masks/spot \
    --labels 1 --draws 1 --shown 1 --false-alarms 0.4 --tune-steps 10 --crop 24 --crop-overlap 8 --folds 2 "$@"
}
both piloted pilot
first_auroc() { value "$1/result.json" ways | grep -o '"auroc":[0-9.]*' | head -1 | cut -d: -f2; }
near "$(first_auroc piloted.cpu)" "$(first_auroc piloted.cuda)" 0.01 "AUROC of the pilot"

pictures=(voc/JPEGImages/000000.jpg voc/JPEGImages/000001.jpg --arch nano8 --size 32 --weights random)
for kind in attention pca correspondence similarity; do
  both shown "$programs/dssl-show" "${pictures[@]}" --kind $kind $([[ $kind != similarity ]] || echo --point 0.5 0.5)
  # After the line of the backend, what is found in the images and said of it.
  cmp <(tail -n +3 shown.cpu.txt | sed 's/shown\.[a-z]*//') <(tail -n +3 shown.cuda.txt | sed 's/shown\.[a-z]*//') ||
    fail "--kind $kind tells something else"
done

# A run whose monitor looks with the run's own backend and precision.
mkdir watched
cp voc/JPEGImages/*.jpg watched
for backend in cpu cuda; do
  succeeds pretrain "${scenes[@]}" --epochs 1 --threads 1 --backend $backend --monitor watched --monitor-size 16 --out run.$backend
done
succeeds pretrain "${scenes[@]}" --epochs 1 --threads 1 --backend cuda --precision tf32 --monitor watched --monitor-size 16 --out run.tf32

echo "on a GPU: all as it should be"
