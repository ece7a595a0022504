#!/usr/bin/env bash
# Monitors of dssl-pretrain: figures in the metrics, the best weights kept and taken up again, the run left as it is.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

succeeds "$programs/dssl-scenes" --out voc --train 8 --val 6 --size 32 --classes 3
mkdir -p classes/a classes/b plain
cp voc/JPEGImages/00000[0-3].jpg classes/a
cp voc/JPEGImages/00000[4-7].jpg classes/b
cp voc/JPEGImages/00000[0-3].jpg plain
looks() { grep -o '"step":[0-9]*\|"monitor":{[^}]*}' "$1" | grep -B1 monitor | grep -v '^--'; }
count() { grep -c '"monitor"' "$1"; }

# Every kind of folder, with the figures it can give; training is the same to the bit.
succeeds pretrain "${scenes[@]}" --epochs 5 --out unwatched
! grep -q monitor unwatched/metrics.jsonl || fail "a run without a monitor has figures of one"
succeeds pretrain "${scenes[@]}" --epochs 5 --monitor voc --monitor-classes 3 --monitor-every 2 --keep-best --out watched
cmp watched/teacher.safetensors unwatched/teacher.safetensors || fail "a monitor changes the run"
[[ $(count watched/metrics.jsonl) -eq 3 ]] || fail "5 epochs, every 2: not 3 looks"
[[ $(wc -l <watched/metrics.jsonl) -eq 20 ]] || fail "no line a step with a monitor"
looks watched/metrics.jsonl | grep -q '"retrieval":0\.[0-9]*,"rank":[0-9.]*,"spread":[0-9.e-]*,"best":true' ||
  fail "no figures of a VOC folder"
grep -q 'monitor: voc, 6 images, 8 to look up, 3 classes; figures retrieval rank spread after every 2 epochs' out.txt ||
  fail "the monitor is not named"
grep -q 'retrieval 0\.[0-9]* after epoch' out.txt || fail "no figure on the progress line"
succeeds pretrain "${scenes[@]}" --epochs 2 --monitor classes --out classes-run
looks classes-run/metrics.jsonl | grep -q '"knn":[0-9.]*,"rank"' || fail "no k-NN of a folder of classes"
[[ ! -e classes-run/best.safetensors ]] || fail "best weights without --keep-best"
succeeds pretrain "${scenes[@]}" --epochs 2 --monitor plain --monitor-metric spread --keep-best --out plain-run
! looks plain-run/metrics.jsonl | grep -q knn || fail "k-NN without classes"

# The best that is kept is that of the largest figure, the first of equals.
best_step() {
  grep -ao '"best.step":"[0-9]*"' "$1" | grep -o '[0-9]*'
}
best_of_metrics() {
  grep -o '"step":[0-9]*,\|"retrieval":[0-9.e-]*' "$1" | awk -F'[:,]' '
    $1 ~ /step/ { step = $2 + 1 } $1 ~ /retrieval/ && ($2 > most || most == "") { most = $2; at = step } END { print at }'
}
[[ $(best_step watched/best.safetensors) == "$(best_of_metrics watched/metrics.jsonl)" ]] || fail "not the best is kept"
succeeds segment --data voc --weights watched/best.safetensors --classes 3 --out probe

# Stopped and resumed: the same figures, the same best.
succeeds pretrain "${scenes[@]}" --epochs 5 --monitor voc --monitor-classes 3 --monitor-every 2 --keep-best --max-steps 9 \
  --out parts
[[ $(count parts/metrics.jsonl) -eq 1 ]] || fail "not one look in 9 steps"
succeeds pretrain "${scenes[@]}" --epochs 5 --monitor voc --monitor-classes 3 --monitor-every 2 --keep-best --out parts --resume
[[ $(looks parts/metrics.jsonl) == "$(looks watched/metrics.jsonl)" ]] || fail "a resumed run has other figures"
cmp parts/best.safetensors watched/best.safetensors || fail "a resumed run keeps another best"
fails 1 "holds the best weights by 'retrieval'; this run keeps them by 'rank'" \
  pretrain "${scenes[@]}" --epochs 5 --monitor voc --monitor-classes 3 --keep-best --monitor-metric rank --out parts --resume
cmp parts/best.safetensors watched/best.safetensors || fail "a refused resume changes the best"

# A new run does not take over the best of an earlier one, nor lose it unasked.
rm parts/checkpoint.safetensors
fails 1 'best.safetensors: holds the best weights of an earlier run; --overwrite' pretrain "${scenes[@]}" --epochs 5 --out parts
cmp parts/best.safetensors watched/best.safetensors || fail "a refused run changes the best"
succeeds pretrain "${scenes[@]}" --epochs 1 --overwrite --out parts
[[ ! -e parts/best.safetensors ]] || fail "a new run has the best of an earlier one"

# Bad input.
fails 2 '--keep-best is given; expected --monitor' pretrain "${scenes[@]}" --keep-best --out o
fails 2 '--monitor-metric is knn; expected one that the folder gives: rank spread' \
  pretrain "${scenes[@]}" --monitor plain --monitor-metric knn --out o
fails 2 '--monitor-classes is not given; expected a number of classes' pretrain "${scenes[@]}" --monitor voc --out o
fails 2 '--monitor-size is 30; expected a multiple of the patch, 8' \
  pretrain "${scenes[@]}" --monitor plain --monitor-size 30 --out o
fails 2 '--monitor-every is 0; expected at least 1' pretrain "${scenes[@]}" --monitor plain --monitor-every 0 --out o
fails 2 '--monitor is plain; expected another relation than all-query' \
  pretrain "${scenes[@]}" --relation all-query --monitor plain --out o
fails 1 'nowhere: No such file' pretrain "${scenes[@]}" --monitor nowhere --out o

# What ids mean: masks of black and white, ids that nobody named, and images that are looked up and measured alike.
cp -r voc white
for mask in white/SegmentationClass/*.png; do "$make_image" "$mask" 32 32 1 0 255; done
fails 1 'only the class of id 0 has a labelled pixel, .*\(--monitor-only 0,255; --monitor-void without these\)' \
  pretrain "${scenes[@]}" --monitor white --monitor-classes 2 --out o
succeeds pretrain "${scenes[@]}" --epochs 1 --monitor white --monitor-only 0,255 --out white-run
grep -q 'monitor: white, 6 images, 8 to look up, 2 classes' out.txt || fail "the classes that were named do not count"
succeeds pretrain "${scenes[@]}" --epochs 1 --monitor voc --monitor-classes 3 --monitor-void 2 --out void-run
grep -q '8 to look up, 2 classes' out.txt || fail "an id that is void is a class"
fails 2 '--monitor-void: x: expected mask ids' pretrain "${scenes[@]}" --monitor white --monitor-void x --out o
fails 2 '--monitor-only is 300; expected ids from 0 to 255' \
  pretrain "${scenes[@]}" --monitor white --monitor-only 0,300 --out o
warns 1 'warning: a few of the monitor.s masks: .* of ids that no class claims \(2\)' \
  pretrain "${scenes[@]}" --epochs 1 --monitor voc --monitor-classes 2 --out unclaimed-run
printf 'one\ntwo\nthree\n' >voc/classes.txt
succeeds pretrain "${scenes[@]}" --epochs 1 --monitor voc --out named-run
grep -q '8 to look up, 3 classes' out.txt || fail "classes.txt is not read"
rm voc/classes.txt
splits=white/ImageSets/Segmentation
cp $splits/train.txt $splits/val.txt
warns 1 'are the same files: figures are of what was learned from' \
  pretrain "${scenes[@]}" --epochs 1 --monitor white --monitor-only 0,255 --out same-run
head -n 2 voc/ImageSets/Segmentation/val.txt >>$splits/train.txt
fails 1 'JPEGImages/000000.jpg: is among the monitor.s images to look up .* \(8 of 8 are\)' \
  pretrain "${scenes[@]}" --monitor white --monitor-only 0,255 --out o

# Images that are trained on are no held-out ones, by whatever path: counted in one line. Those that are looked up may be.
trained='among the training images: held-out figures are of images that are trained on'
watch() { pretrain --data "$1" --monitor "$2" --epochs 1 --out shared-run --overwrite "${@:3}"; }
warns 1 "warning: 8 of the monitor.s 8 images are $trained" watch classes classes
warns 1 "warning: 4 of the monitor.s 4 images are $trained" watch classes classes/b
mkdir mixed
cp plain/000000.jpg mixed/own.jpg
ln -s ../classes/a/000001.jpg mixed/soft.jpg
ln classes/b/000004.jpg mixed/hard.jpg
warns 1 "warning: 2 of the monitor.s 3 images are $trained" watch classes mixed
printf 'classes/a/000002\nplain/000003\n' >mixed.txt
warns 1 "warning: 1 of the monitor.s 2 images is $trained" watch classes mixed.txt
warns 1 "warning: 6 of the monitor.s 6 images are $trained" watch voc voc --monitor-classes 3
succeeds watch voc voc --monitor-classes 3 --split train
succeeds watch classes plain

echo 'no picture' >plain/text.jpg
warns 1 'warning: skipped in the monitor: .*text.jpg' \
  pretrain "${scenes[@]}" --epochs 2 --monitor plain --out unreadable

# The report shows the figures.
succeeds "$programs/dssl-report" --pretrain watched=watched --segment watched=probe --out report.html
grep -q 'Monitor: retrieval' report.html || fail "the report does not show the monitor"

echo "monitors: all as they should be"
