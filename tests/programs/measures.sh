#!/usr/bin/env bash
# dssl-classify, dssl-retrieve, dssl-segment --by tune and dssl-features: what they write, that it does not depend on threads, bad input.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$tools/dssl_make_inspection" set 2 24 24
for half in train test; do
  for i in 00 01 02 03 04 05 06 07 08 09 10 11; do
    [[ $half == train ]] && n=$i || n=$((10#$i + 12))
    printf 'good/%s good\nspot/%s spot\n' "$n" "$n"
  done >$half.txt
done
bare() { "$programs/dssl-classify" --arch nano8 --channels 1 --weights random --images set/test "$@"; }
classify() { bare --size 40x56 --threads 1 "$@"; }

# Classes: votes, linear classifiers with their rate chosen on held-out training images, predictions.
succeeds classify --train train.txt --test test.txt --k 1,5,20,100 --rates 0.01,0.1,1 --epochs 40 --batch 8 --hold-out 0.25 \
  --standardise --token both --out run
[[ $(value run/result.json classes) == '["good","spot"]' ]] || fail "the classes are not the lists' labels"
[[ $(value run/result.json width) == 256 ]] || fail "class token and mean patch are not 2 x 128 numbers"
above "$(value run/result.json knn 5)" 0.9 "accuracy of 5 neighbours"
above "$(value run/result.json linear accuracy)" 0.9 "accuracy of a linear classifier"
[[ $(value run/result.json knn | grep -o : | wc -l) -eq 3 ]] || fail "more neighbours vote than there are images"
[[ $(wc -l <run/predictions.csv) -eq 25 ]] || fail "no line for each prediction"
[[ $(value run/result.json confusion by) == '"linear"' ]] || fail "the confusion is not the linear classifier's"
[[ $(value run/result.json confusion counts | tr -cd '0-9,' | tr , '\n' | awk '{ s += $1 } END { print s }') -eq 24 ]] || fail "the confusion has not 24 images"
succeeds bare --size 40x56 --threads 2 --train train.txt --test test.txt --k 1,5,20,100 --rates 0.01,0.1,1 --epochs 40 --batch 8 \
  --hold-out 0.25 --standardise --token both --out two
cmp run/predictions.csv two/predictions.csv || fail "two threads predict otherwise"

# Predictions are of a way that is fixed beforehand.
succeeds classify --train train.txt --test test.txt --by knn --k 24,100,1,5 --out votes
[[ $(value votes/result.json confusion by) == '"knn 24"' ]] || fail "the confusion is not that of the first k"

# A rate at which training diverges is not chosen, first or last.
succeeds classify --train train.txt --test test.txt --by linear --rates 1e200,0.1,1e300 --epochs 40 --batch 8 --hold-out 0.25 \
  --standardise --token both --out wild
[[ $(value wild/result.json linear rate) == 0.1 ]] || fail "a rate that diverges is chosen"
[[ $(value wild/result.json linear rates | grep -o '"held_out":null' | wc -l) -eq 2 ]] || fail "the rates do not diverge"
above "$(value wild/result.json linear accuracy)" 0.9 "accuracy beside rates that diverge"

# Few labels: as many images of each class as are asked for, drawn by the seed; the whole backbone is trained.
few() {
  bare --size 40x56 --train train.txt --test test.txt --by knn,tune --labels 4 --k 1,5 --tune-steps 60 --tune-batch 4 --tune-rate 2e-3 "$@"
}
succeeds few --threads 1 --out few
[[ $(value few/result.json training_images) == 8 && $(value few/result.json tune training_images) == 8 ]] ||
  fail "not 4 images of each of 2 classes"
[[ $(value few/result.json confusion by) == '"tune"' && $(wc -l <few/predictions.csv) -eq 25 ]] ||
  fail "the predictions are not the trained backbone's"
above "$(value few/result.json tune accuracy)" 0.7 "accuracy of a backbone trained on 8 images"
succeeds few --threads 2 --out few-two
cmp few/predictions.csv few-two/predictions.csv || fail "two threads train otherwise"
fails 2 '--labels' few --labels -1 --out o
fails 2 '--layer-decay' few --layer-decay 2 --out o

# A folder a class, one way, one rate without held-out images.
mkdir folders
cp -r set/test folders/train
warns 1 'the training images and the test images are the same files' \
  classify --train folders/train --test folders/train --by linear --rates 0.1 --hold-out 0 --epochs 5 --out folder
[[ $(value folder/result.json training_images) == 48 && $(value folder/result.json | grep -c knn) -eq 0 ]] ||
  fail "not the images, or more ways than were asked for"

# A class whose folder's name is not UTF-8 is written like others, with what JSON cannot tell replaced.
latin=$'sp\xf6t'
for i in 00 01 02 03 04 05 06 07 08 09 10 11; do
  for half in train test; do
    mkdir -p latin/$half/good "latin/$half/$latin"
    [[ $half == train ]] && n=$i || n=$((10#$i + 12))
    cp set/test/good/$n.* latin/$half/good
    cp set/test/spot/$n.* "latin/$half/$latin"
  done
done
succeeds classify --train latin/train --test latin/test --k 1 --keep-neighbours --rates 0.1 --hold-out 0 --epochs 5 --out latin-out
for file in result.json predictions.csv classifier.safetensors neighbours.safetensors; do
  [[ -s latin-out/$file ]] || fail "no $file where a class has a name that is not UTF-8"
done
[[ $(value latin-out/result.json classes) == $'["good","sp\xef\xbf\xbdt"]' ]] || fail "the name of a class is not replaced where it cannot be told"

fails 2 "--hold-out is 0" classify --train train.txt --test test.txt --by linear --rates 0.1,1 --hold-out 0 --out o
fails 2 "--k is 100; expected at most the number of training images, 24" \
  classify --train train.txt --test test.txt --by knn --k 100 --out o
grep good train.txt >good.txt
fails 1 "all training images are of one class, 'good'" classify --train good.txt --test test.txt --out o
printf 'spot/20 hole\n' >other.txt
fails 1 "is of class 'hole', which no training image has" classify --train train.txt --test other.txt --out o
# A file of two classes, by a link among the images to learn from, twice in a list, or told otherwise for the test.
cp -r folders/train doubtful
ln -s ../good/00.png doubtful/spot/also.png
ln doubtful/spot/01.png doubtful/good/other.png
fails 1 "doubtful/spot/01.png: is of class 'good' and of class 'spot' \\(2 files are of more than one\\); expected one class" \
  classify --train doubtful --test folders/train --by knn --k 1 --out o
printf 'spot/20 spot\nspot/20 spot\nspot/20 good\n' >doubtful.txt
fails 1 "set/test/spot/20.png: is of class 'spot' and of class 'good' \\(1 file is of more than one\\)" \
  classify --train train.txt --test doubtful.txt --by knn --k 1 --out o
sed 's/ spot/ hole/' train.txt >renamed.txt
fails 1 "\\(12 files are of more than one\\)" classify --train renamed.txt --test train.txt --by knn --k 1 --out o
fails 2 '--by' classify --train train.txt --test test.txt --by guessing --out o
fails 1 'nowhere.txt' classify --train nowhere.txt --test test.txt --out o

# Retrieval and clusters.
succeeds "$programs/dssl-scenes" --out voc --train 12 --val 4 --size 32 --classes 3
retrieve() { "$programs/dssl-retrieve" --arch nano8 --weights random --size 32 "$@"; }
succeeds retrieve --data voc --classes 3 --threads 1 --clusters 0,12 --overlays 2 --out dense
above "$(value dense/result.json retrieval miou)" 0.2 "mean IoU of retrieval"
[[ $(value dense/result.json retrieval remembered) == 192 ]] || fail "not all 12 x 16 patches are remembered"
[[ $(value dense/result.json retrieval confusion | tr -cd '0-9,' | tr , '\n' | awk '{ s += $1 } END { print s }') -eq 4096 ]] ||
  fail "not all pixels of 4 scenes are counted"
[[ $(value dense/result.json clusters | grep -o '"matching":"[a-z]*"' | tr '\n' ' ') == '"matching":"hungarian" "matching":"majority" ' ]] ||
  fail "clusters are not matched as they should be"
[[ $(ls dense/overlays | wc -l) -eq 2 ]] || fail "not as many overlays as were asked for"
succeeds retrieve --data voc --classes 3 --threads 2 --clusters 0,12 --overlays 0 --out dense2
[[ $(value dense/result.json clusters) == "$(value dense2/result.json clusters)" ]] || fail "two threads cluster otherwise"
succeeds retrieve --data synthetic --scenes 4 --val-scenes 2 --scene-size 32 --scene-classes 3 --by retrieval --k 5 --out scenes
# Outlines beside areas, of retrieval and not of clusters, which have no prediction of pixels.
above "$(value dense/result.json retrieval boundary_miou)" 0.01 "mean boundary IoU of retrieval"
above "$(value dense/result.json retrieval miou)" "$(value dense/result.json retrieval boundary_miou)" "mean IoU, beside that of outlines"
value dense/result.json retrieval per_class | grep -q '"boundary_iou":0' || fail "classes have no boundary IoU"
! value dense/result.json clusters | grep -q boundary || fail "clusters have a boundary IoU"
# Maps of references in the place of patches.
succeeds retrieve --data voc --classes 3 --threads 1 --clusters 0 --overlays 1 --read references --points 2x --out of-references
grep -q 'retrieval from 768 references' out.txt || fail "not all 12 x 64 references are remembered"
[[ $(value of-references/result.json settings references) == '"2x"' ]] || fail "the settings do not tell of references"
fails 2 '--points is 0:0,0.5:0.5; expected 1x to 64x: a map of the image is a grid; dssl-features takes lists of points' \
  retrieve --data voc --classes 3 --read references --points 0:0,0.5:0.5 --out o
fails 2 '--points is 9x; expected 1x to 8x, a reference a pixel' retrieve --data voc --classes 3 --read references --points 9x --out o
fails 2 '--points is 8x; expected fewer, a smaller --size or --at-once: their tokens take at least' \
  "$programs/dssl-retrieve" --arch nano8 --weights random --data voc --classes 3 --read references --points 8x --size 16384 --out o
fails 2 '--points is 2x; expected --read references with it' retrieve --data voc --classes 3 --points 2x --out o
fails 1 "available: train, val" retrieve --data voc --train tset --classes 3 --out o
fails 2 'classes' retrieve --data voc --out o
fails 1 'clusters|patches' retrieve --data voc --classes 3 --by clusters --clusters 1000 --out o

# Segmentation by a backbone that is trained as a whole, on crops at the images' own resolution: figures as the probe's, the same
# for any number of threads, steps chosen by images that were held out.
segment_by() {
  "$programs/dssl-segment" --arch nano8 --weights random --data voc --classes 3 --tune-batch 4 --look-every 8 --folds 2 --by "$@"
}
tune() { segment_by tune --crop 16 --crop-overlap 8 "$@"; }
succeeds tune --threads 1 --tune-steps 24 --tune-rate 2e-3 --overlays 2 --out tuned
[[ $(value tuned/result.json confusion | tr -cd '0-9,' | tr , '\n' | awk '{ s += $1 } END { print s }') -eq 4096 ]] ||
  fail "not all pixels of 4 scenes of 32 x 32 are counted"
above "$(value tuned/result.json pixel_accuracy)" 0.3 "pixel accuracy of a trained backbone"
[[ $(value tuned/result.json tuning trainings) == 2 && $(value tuned/result.json tuning looks | grep -o '"step"' | wc -l) -eq 3 ]] ||
  fail "12 scenes are not held out in 2 parts, looked at thrice"
steps=$(value tuned/result.json tuning steps)
[[ $(value tuned/result.json tuning steps_run) -eq $((2 * 24 + steps)) ]] || fail "the trainings have other steps"
[[ $(value tuned/result.json settings by) == '"tune"' && $(ls tuned/overlays | wc -l) -eq 2 ]] || fail "settings or overlays are others"
succeeds tune --threads 2 --tune-steps 24 --tune-rate 2e-3 --overlays 0 --out tuned-two
[[ $(value tuned/result.json confusion) == "$(value tuned-two/result.json confusion)" ]] || fail "two threads tune otherwise"
warns 1 '1 training images have a pixel that is not of the first class, of which none can be held out' \
  "$programs/dssl-segment" --by tune --arch nano8 --weights random --data synthetic --scenes 1 --val-scenes 1 --scene-size 32 --crop 16 \
  --crop-overlap 8 --tune-steps 2 --tune-batch 2 --out alone
fails 2 '--size is given; expected none with --by tune' tune --size 32 --out o
fails 2 '--crop is given; expected none with --by linear' \
  "$programs/dssl-segment" --arch nano8 --weights random --data voc --classes 3 --crop 32 --out o
fails 2 '--crop is 20; expected multiples of the patch, 8 pixels' segment_by tune --crop 20 --out o
fails 2 '--crop-overlap is 16; expected 0 to 8 pixels, for crops of 16' segment_by tune --crop 16 --crop-overlap 16 --out o
fails 2 '--by: guessing not in' segment_by guessing --out o

# Overlap of training and test is refused.
head -n 3 test.txt | cat train.txt - >overlapping.txt
fails 1 'is among the training images and the test images \(3 of 24 are\)' \
  classify --train overlapping.txt --test test.txt --by knn --out o

# Features: the same numbers in both formats, several sizes and blocks, unreadable images.
features() { "$programs/dssl-features" --arch nano8 --channels 1 --weights random --data test.txt --images set/test --threads 1 "$@"; }
succeeds features --size 40x56 --tokens class --out f.safetensors
succeeds features --size 40x56 --tokens class --out f.npy
bytes=$((24 * 128 * 4))
cmp <(tail -c $bytes f.npy) <(tail -c $bytes f.safetensors) || fail "the formats hold different features"
head -c 10 f.npy | grep -aq NUMPY || fail "no array file"
[[ $(value f.npy.json names | grep -o / | wc -l) -eq 24 ]] || fail "no name for each row"
succeeds features --size 40x56,16 --blocks=-2,-1 --flips --out several.npy
[[ $(value several.npy.json arrays | grep -o '"shape":[^}]*' | tr '\n' ' ') == \
'"shape":[24,256] "shape":[24,5,7,256] "shape":[24,256] "shape":[24,2,2,256] ' ]] || fail "the arrays have other shapes"
[[ $(stat -c %s several.patch.40x56.npy) -eq $((128 + 24 * 35 * 256 * 4)) ]] || fail "an array of another size"
echo 'no picture' >set/test/spot/23.png
warns 1 'skipped: ' features --size 16 --tokens class --out hole.npy
[[ $(value hole.npy.json unreadable) == '["spot/23"]' ]] || fail "an unreadable image is not named"
[[ $(tail -c 4 hole.npy | od -An -tx1) == ' 00 00 c0 7f' ]] || fail "the row of an unreadable image holds numbers"
# Maps of references: at patch centres, between them, at points alone; the same numbers whoever else is asked for.
warns 1 "skipped: " features --size 16 --tokens patch --read references --points 2x --out grid.npy
[[ $(value grid.npy.json arrays 0 shape) == '[24,4,4,128]' ]] || fail "a map of references has another shape"
[[ $(value grid.npy.json arrays 0 name) == '"reference"' ]] || fail "a map of references has another name"
warns 1 "skipped: " features --size 16 --tokens patch --read references --points=0.75:-0.25,-0.75:-0.75 --out points.npy
[[ $(value points.npy.json arrays 0 shape) == '[24,1,2,128]' ]] || fail "points have another shape"
row() { tail -c +$((129 + 512 * $2)) "$1" | head -c 512; }
cmp <(row grid.npy 0) <(row points.npy 1) || fail "a point has other numbers alone than in a grid"
cmp <(row grid.npy 7) <(row points.npy 0) || fail "a point has other numbers alone than in a grid"
for points in 0x 65x x 2 0.5 0.5:1.5 0:0, ,0:0 nan:0 1:2:3; do
  fails 2 "--points is .*expected 1x to 64x, or points x:y" features --size 16 --read references --points="$points" --out o.npy
done
fails 2 "--points is 2x; expected --read references with it" features --size 16 --points 2x --out o.npy
fails 2 "--out is f.txt" features --out f.txt
fails 2 "--memory is 1e-06" features --size 40x56 --memory 0.000001 --out big.safetensors
fails 2 "--blocks is 9" features --size 16 --blocks 9 --out o.npy
fails 2 "--size is 41" features --size 41 --out o.npy
[[ ! -e o.npy && ! -e big.safetensors ]] || fail "a failure leaves a file"

echo "measures: all as they should be"
