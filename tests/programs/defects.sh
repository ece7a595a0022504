#!/usr/bin/env bash
# dssl-defects: banks, templates and differences, what they write, a bank used again, and bad input.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$tools/dssl_make_inspection" set 30 12 8
bare() { "$programs/dssl-defects" --arch nano8 --channels 1 "$@"; }
defects() { bare --size 40x56 --threads 1 "$@"; }
bank=(--weights random --coreset 0.3 --smoothing 2)
test=(--test set/test --masks set/masks)

# Normal images alone: a bank, a threshold, figures, scores, maps.
succeeds defects "${bank[@]}" --normal set/normal --hold-out 0.34 --false-alarms 0.1 "${test[@]}" --maps --out run
above "$(value run/result.json images auroc)" 0.99 "AUROC of images"
above "$(value run/result.json pixels auroc)" 0.9 "AUROC of pixels"
above "$(value run/result.json aupro_30)" 0.7 "AUPRO"
[[ $(value run/result.json images positives) == 8.0 && $(value run/result.json images negatives) == 12.0 ]] ||
  fail "the images are not 8 with and 12 without defects"
[[ $(value run/result.json regions) == 8 ]] || fail "no 8 regions"
# All of them are found, each of one size class.
[[ $(value run/result.json regions_found found) == 1.0 && $(value run/result.json regions_found normal_images) == 12 ]] ||
  fail "not all regions are found"
[[ $(value run/result.json regions_found by_area | grep -o '"regions":[0-9]*' | awk -F: '{ n += $2 } END { print n + 0 }') -eq 8 ]] ||
  fail "the classes of size do not hold all regions"
above "$(value run/result.json regions_found half_found_from)" 1 "the smallest area from which on half are found"
grep -Eq 'found at 5 % false alarms: .*100.0 % of [0-9]+ regions .*; at least half from [0-9]+ pixels on' out.txt || fail "found regions are not told"
[[ $(value run/result.json calibrated normal_images) == 10 ]] || fail "no 10 images to calibrate with"
[[ $(value run/result.json calibrated missed) == 0.0 ]] || fail "a bright spot is missed"
[[ $(wc -l <run/scores.jsonl) -eq 20 && $(wc -l <run/scores.csv) -eq 21 ]] || fail "no line for each image"
[[ $(grep -c '"alarm":true,"truth":"defect"' run/scores.jsonl) -eq 8 ]] || fail "no alarm for each defect"
head -1 run/scores.csv | grep -q '^name,label,score,alarm,truth,map,map_white$' || fail "the table has no heading"
[[ $(ls run/maps | wc -l) -eq 20 ]] || fail "no map for each image"
[[ $(head -c 26 run/maps/spot_00.png | tail -c 10 | od -An -tx1) == ' 00 00 00 38 00 00 00 28 10 00' ]] ||
  fail "a map is no grey PNG of 16 bits at the input's size"

# The bank alone gives the same scores, without the normal images; other weights are refused.
succeeds "$programs/dssl-defects" --weights random --bank run/bank.safetensors "${test[@]}" --threads 1 --out again
cmp <(cut -d, -f1-5 run/scores.csv) <(cut -d, -f1-5 again/scores.csv) || fail "a bank from a file gives other scores"
[[ ! -e again/bank.safetensors && ! -e again/maps ]] || fail "files were written that nobody asked for"
# The threshold of a bank holds for its own rate of false alarms; another takes normal images.
again() { "$programs/dssl-defects" --weights random --bank run/bank.safetensors "${test[@]}" --threads 1 "$@"; }
fails 2 "--false-alarms is 0.2; expected 0.1, for which the threshold of run/bank.safetensors" again --false-alarms 0.2 --out o
succeeds again --false-alarms 0.1 --out same
[[ $(value same/result.json calibrated) == "$(value again/result.json calibrated)" ]] || fail "the bank's own rate gives another threshold"
# Normal images that neither the bank nor the test holds.
"$tools/dssl_make_inspection" more 30 24 1
mkdir later
cp more/test/good/{12..23}.png later
succeeds again --calibrate later --false-alarms 0.2 --out rate
[[ $(value rate/result.json calibrated promised_false_alarms) == 0.2 ]] || fail "the rate that was given does not win"
[[ $(value rate/result.json settings false_alarms) == 0.2 ]] || fail "the settings name another rate"
succeeds again --calibrate later --out banks
[[ $(value banks/result.json calibrated promised_false_alarms) == 0.1 ]] || fail "without one the rate is not the bank's"
succeeds pretrain "${scenes[@]}" --channels 1 --epochs 1 --out other
fails 1 'bank.safetensors: was made with other weights' \
  "$programs/dssl-defects" --weights other/teacher.safetensors --bank run/bank.safetensors "${test[@]}" --out o
# What was typed beside a bank: the same as it was made with, another, or for the making of banks alone.
succeeds again --size 40x56 --seed 0 --channels 1 --out typed
cmp <(cut -d, -f1-5 again/scores.csv) <(cut -d, -f1-5 typed/scores.csv) || fail "the bank's own options give other scores"
fails 2 '^dssl-defects: --arch is tiny16; expected nano8, with which run/bank.safetensors was made' again --arch tiny16 --out o
fails 2 '--size is 64; expected 40x56, with which' again --size 64 --out o
fails 2 '--blocks is 0,1; expected the last alone, with which' again --blocks 0,1 --out o
fails 2 '--flips is given; expected not given, with which' again --flips --out o
fails 2 '--smoothing is 0.5; expected 2, with which' again --smoothing 0.5 --out o
warns 1 'warning: --pool, --coreset without effect: run/bank.safetensors is made already' again --coreset 0.5 --pool 10 --out typed
fails 1 'is no bank of dssl-defects' \
  "$programs/dssl-defects" --weights random --bank other/teacher.safetensors "${test[@]}" --out o

# Windows at the images' own resolution, a border, standardising, the mean of the largest distances: kept in the bank, which
# scores alone as it did when it was made; none of it may be said otherwise beside it.
look=(--tiles --overlap 8 --border 1 --standardise-images --top 3)
succeeds bare "${bank[@]}" --size 24 --threads 1 "${look[@]}" --normal set/normal --hold-out 0.34 --false-alarms 0.1 "${test[@]}" --out look
grep -Eq 'windows over 20 images' out.txt || fail "windows are not counted"
above "$(value look/result.json images auroc)" 0.95 "AUROC by windows"
[[ $(value look/result.json settings border) == 1 && $(value look/result.json settings tiles) == true ]] || fail "settings are not told"
succeeds "$programs/dssl-defects" --weights random --bank look/bank.safetensors "${test[@]}" --threads 1 --out look-again
cmp <(cut -d, -f1-5 look/scores.csv) <(cut -d, -f1-5 look-again/scores.csv) || fail "a bank from a file forgets how it was made"
looked() { "$programs/dssl-defects" --weights random --bank look/bank.safetensors "${test[@]}" --threads 1 --out o "$@"; }
fails 2 '--border is 2; expected 1, with which look/bank.safetensors was made' looked --border 2
fails 2 '--top is 1; expected 3, with which' looked --top 1
fails 2 '--standardise-features is given; expected not given, with which' looked --standardise-features
fails 2 '--overlap is 16; expected 8, with which' looked --overlap 16
fails 2 '--flatten is 5; expected 0, with which' looked --flatten 5
# References on a grid in the place of patches: cells of half a patch, kept in the bank, and refused where they differ.
succeeds pretrain "${scenes[@]}" --channels 1 --epochs 1 --recipe densedino-local --out local
succeeds pretrain "${scenes[@]}" --channels 1 --epochs 1 --recipe dino --out dino
references=(--weights local/teacher.safetensors --coreset 0.3 --smoothing 2 --read references --points 2x)
succeeds bare "${references[@]}" --size 24 --threads 1 "${look[@]}" --normal set/normal --hold-out 0.34 --false-alarms 0.1 "${test[@]}" --out references
above "$(value references/result.json images auroc)" 0.9 "AUROC of references"
[[ $(value references/result.json settings references) == '"2x"' ]] || fail "the settings do not tell of references"
grep -aq '"references\\":2' references/bank.safetensors || fail "the bank does not tell of references"
of_references() { "$programs/dssl-defects" --weights local/teacher.safetensors --bank references/bank.safetensors "${test[@]}" --threads 1 "$@"; }
succeeds of_references --out references-again
cmp <(cut -d, -f1-5 references/scores.csv) <(cut -d, -f1-5 references-again/scores.csv) || fail "a bank of references gives other scores"
succeeds of_references --read references --points 2x --out references-again
fails 2 '--read is patches; expected references, with which references/bank.safetensors was made' of_references --read patches --out o
fails 2 '--points is 4x; expected 2x, with which references/bank.safetensors was made' of_references --points 4x --out o
fails 2 '--read is references; expected patches, with which run/bank.safetensors was made' again --read references --out o
fails 2 '--points is 3x; expected Nx of which the patch, 8 pixels, is a multiple' \
  defects --weights local/teacher.safetensors --read references --points 3x --normal set/normal --out o
fails 2 '--points is 0:0; expected 1x to 64x: a map of the image is a grid' \
  defects "${bank[@]}" --read references --points 0:0 --normal set/normal --out o
fails 2 '--read is references; expected patches, as with --scorer filters no backbone' \
  bare --scorer filters --read references --normal set/normal --out o
fails 1 'was trained without reference tokens; expected weights of recipe densedino' \
  defects --weights dino/teacher.safetensors --read references --normal set/normal --out o
fails 1 'was made with --read references, of which a model knows nothing' \
  "$programs/dssl-export" local/teacher.safetensors o.onnx --bank references/bank.safetensors
succeeds defects "${bank[@]}" --flatten 12 --normal set/normal "${test[@]}" --out flat
above "$(value flat/result.json images auroc)" 0.9 "AUROC of flattened images"
succeeds "$programs/dssl-defects" --weights random --bank flat/bank.safetensors "${test[@]}" --threads 1 --out flat-again
cmp <(cut -d, -f1-5 flat/scores.csv) <(cut -d, -f1-5 flat-again/scores.csv) || fail "a bank forgets that images were flattened"
fails 2 '--border is 3; expected 0 to 2, as images have 5 x 7 patches' defects "${bank[@]}" --border 3 --normal set/normal --out o
fails 1 'has 5 x 7 patches; a border of 3 leaves none' defects "${bank[@]}" --tiles --overlap 8 --border 3 --normal set/normal --out o
fails 2 '--overlap is 40; expected 0 to 32 pixels' defects "${bank[@]}" --tiles --overlap 40 --normal set/normal --out o
fails 2 '--scale is given; expected none without --tiles' defects "${bank[@]}" --scale 2 --normal set/normal --out o
fails 2 '--scorer is difference; expected bank, beside --border' \
  "$programs/dssl-defects" --scorer difference --border 1 --channels 1 --size 40x56 --normal set/normal --test set/test --out o

# A foreground: the left half of every image, with half of the middle patches. Of the right half nothing is in any figure; the
# bank knows that there were masks, and takes them for the images that it scores.
"$make_image" part.png 40 56 1 255 0
succeeds defects "${bank[@]}" --foreground part.png --normal set/normal --hold-out 0.34 --false-alarms 0.1 "${test[@]}" --out parted
pixels=$(awk -v p="$(value parted/result.json pixels positives)" -v n="$(value parted/result.json pixels negatives)" 'BEGIN { print p + n }')
[[ $pixels -eq $((20 * 40 * 28)) ]] || fail "$pixels pixels of 20 half images are in the figures"
[[ $(value parted/result.json bank rows) == 120 ]] || fail "not 0.3 of 20 patches of each of 20 images are learned"
of_parts() { "$programs/dssl-defects" --weights random --bank parted/bank.safetensors "${test[@]}" --threads 1 "$@"; }
succeeds of_parts --foreground part.png --out parted-again
cmp <(cut -d, -f1-5 parted/scores.csv) <(cut -d, -f1-5 parted-again/scores.csv) || fail "a bank from a file forgets its foreground"
fails 2 "--foreground is not given; expected masks of the images' foreground, with which parted/bank.safetensors was made" of_parts --out o
fails 2 '--foreground is part.png; expected none, without which run/bank.safetensors was made' again --foreground part.png --out o
# One for each image: that one is missing is said and counted, and is never all of the image.
mkdir -p parts/good parts/spot
for i in $(seq -w 0 11); do cp part.png parts/good/$i.png; done
for i in 0 1 2 3 4 5 6; do cp part.png parts/spot/0${i}_mask.png; done
warns 3 'spot/07.png.*has no foreground mask in parts|1 of 20 images have no foreground mask in parts, the first .*spot/07.png, and are left out|1 images were not scored' \
  of_parts --foreground parts --out parted-each
[[ $(value parted-each/result.json scored) == 19 && $(value parted-each/result.json unreadable) == 1 &&
  $(value parted-each/result.json unreadable_masks) == 1 ]] || fail "an image without a mask of its foreground is not counted"
cmp <(grep -v spot/07 parted/scores.csv | cut -d, -f1-5) <(cut -d, -f1-5 parted-each/scores.csv) || fail "masks of their own give other scores"
mkdir others
cp part.png others/x.png
fails 1 'none of 20 images has a foreground mask in others' of_parts --foreground others --out o
"$make_image" one.png 3 3 1 255
fails 1 'one.png: the mask has 3 x 3 pixels, its image ' of_parts --foreground one.png --out o
# By brightness: all is brighter than 20; kept in the bank.
succeeds defects "${bank[@]}" --foreground-above 20 --normal set/normal --hold-out 0.34 --false-alarms 0.1 "${test[@]}" --out bright
cmp <(cut -d, -f1-5 run/scores.csv) <(cut -d, -f1-5 bright/scores.csv) || fail "a foreground that is all of each image changes scores"
fails 2 '--foreground-above is 30; expected 20, with which bright/bank.safetensors was made' \
  "$programs/dssl-defects" --weights random --bank bright/bank.safetensors "${test[@]}" --threads 1 --foreground-above 30 --out o
fails 2 '--foreground-above is 90; expected a value below' defects "${bank[@]}" --foreground-above 90 --foreground-below 80 --normal set/normal --out o
fails 2 '--scorer is difference; expected bank, beside --border, --foreground' \
  "$programs/dssl-defects" --scorer difference --foreground part.png --channels 1 --size 40x56 --normal set/normal --test set/test --out o
succeeds bare --scorer filters --foreground part.png --normal set/normal --hold-out 0.34 --false-alarms 0.1 "${test[@]}" --threads 1 --out parted-filters
[[ $(value parted-filters/result.json settings foreground_masks) == true ]] || fail "filters do not tell of a foreground"
succeeds "$programs/dssl-defects" --scorer filters --bank parted-filters/bank.safetensors --foreground part.png "${test[@]}" --threads 1 --out parted-filters-again
cmp <(cut -d, -f1-5 parted-filters/scores.csv) <(cut -d, -f1-5 parted-filters-again/scores.csv) || fail "filters forget their foreground"

# Fewer normal images than a threshold takes: figures without one. Labels in place of masks. A list.
printf 'good/00\ngood/01 good\nspot/03 spot\nspot/04\n' >list.txt
succeeds defects "${bank[@]}" --normal set/normal --false-alarms 0.01 --test list.txt --images set/test --good good,list --out few
grep -q 'no threshold: at least 99 normal images' out.txt || fail "too few normal images are not named"
[[ $(value few/result.json calibrated) == null && $(value few/result.json pixels) == null ]] ||
  fail "figures without what they are made from"
[[ $(value few/result.json images positives) == 1.0 ]] || fail "labels do not say what is normal"
succeeds defects "${bank[@]}" --normal set/normal --test set/test/spot --good none --out unknown
[[ $(value unknown/result.json images auroc) == null ]] || fail "figures without truth"
[[ $(grep -c truth unknown/scores.jsonl) -eq 0 ]] || fail "truth that nobody told"

# Templates, by features and by pixels; plain differences to the mean image.
pairs=(--test set/pairs.txt --images set/pairs --image-file '{}_test' --templates set/pairs --template-file '{}_temp' --boxes set/boxes)
succeeds defects --scorer template --weights random "${pairs[@]}" --smoothing 1 --out template
above "$(value template/result.json pixels auroc)" 0.9 "AUROC of pixels by templates"
succeeds "$programs/dssl-defects" --scorer difference --channels 1 --size 40x56 "${pairs[@]}" --out plain
above "$(value plain/result.json pixels auroc)" 0.95 "AUROC of pixels by differences to templates"
succeeds "$programs/dssl-defects" --scorer difference --channels 1 --size 40x56 --normal set/normal "${test[@]}" --out mean
above "$(value mean/result.json images auroc)" 0.95 "AUROC of images by differences to the mean"
[[ ! -e mean/bank.safetensors ]] || fail "a bank of nothing"

# Fixed filters at the images' own size; scores free of size, by the images that the threshold is taken from.
filters() { "$programs/dssl-defects" --scorer filters --channels 1 --threads "${threads:-1}" --smoothing 1 --normal set/normal "$@"; }
succeeds filters --hold-out 0.34 --false-alarms 0.1 "${test[@]}" --out filters
above "$(value filters/result.json images auroc)" 0.95 "AUROC of images by filters"
above "$(value filters/result.json pixels auroc)" 0.8 "AUROC of pixels by filters"
[[ $(value filters/result.json size_trend) == null && $(value filters/result.json labelled) == null ]] || fail "filters tell what they have not"
succeeds "$programs/dssl-defects" --scorer filters --bank filters/bank.safetensors "${test[@]}" --threads 2 --out filters-again
cmp <(cut -d, -f1-5 filters/scores.csv) <(cut -d, -f1-5 filters-again/scores.csv) || fail "filters from a file give other scores"
[[ $(value filters/result.json calibrated threshold) == "$(value filters-again/result.json calibrated threshold)" ]] || fail "filters from a file forget the threshold"
fails 1 "bank.safetensors: is no bank of fixed filters" "$programs/dssl-defects" --scorer filters --bank run/bank.safetensors "${test[@]}" --out o
fails 2 "--arch is nano8; expected auto, with which filters/bank.safetensors was made, or nothing" "$programs/dssl-defects" --weights random --arch nano8 --channels 1 --bank filters/bank.safetensors "${test[@]}" --out o
fails 2 '--top is 2; expected 1, with which filters/bank.safetensors' "$programs/dssl-defects" --scorer filters --bank filters/bank.safetensors --top 2 "${test[@]}" --out o
# Labelled images beside them, of which none is scored: more than one, and one alone.
mkdir -p marked/spot marked/good rest/good rest/spot
cp set/test/spot/0{0..3}.png marked/spot
cp set/test/good/*.png rest/good
cp set/test/spot/0{4..7}.png rest/spot
labelled() { filters --hold-out 0.34 --false-alarms 0.1 --defects marked --masks set/masks --trees 20 --test rest "$@"; }
succeeds labelled --out labelled
grep -q 'learned from 4 labelled images (' out.txt || fail "labels are not said"
[[ $(value labelled/result.json labelled images) == 4 && $(value labelled/result.json labelled folds) == 4 ]] || fail "the choice is not told"
above "$(value labelled/result.json pixels auroc)" 0.9 "AUROC of pixels by filters with labels"
threads=2 succeeds labelled --out labelled-two
cmp <(cut -d, -f1-5 labelled/scores.csv) <(cut -d, -f1-5 labelled-two/scores.csv) || fail "two threads learn labels otherwise"
succeeds "$programs/dssl-defects" --scorer filters --bank labelled/bank.safetensors --test rest --masks set/masks --out labelled-again
cmp <(cut -d, -f1-5 labelled/scores.csv) <(cut -d, -f1-5 labelled-again/scores.csv) || fail "labels from a file give other scores"
rm marked/spot/0{1..3}.png
succeeds labelled --out one
[[ $(value one/result.json labelled folds) == 0 && $(value one/result.json labelled share) == 0.75 ]] || fail "one image was held out"
fails 2 '--trees is given; expected none without --defects' filters --trees 5 "${test[@]}" --out o
fails 2 '--defects is marked; expected none, unless the scorer is filters' defects "${bank[@]}" --normal set/normal --defects marked "${test[@]}" --out o
fails 2 '--defects is marked; expected none beside a bank' "$programs/dssl-defects" --scorer filters --bank filters/bank.safetensors --defects marked "${test[@]}" --out o
fails 2 '--masks is not given; expected masks beside --defects' filters --defects marked --test set/test --out o
mkdir -p linkedmarks/spot
ln set/test/spot/00.png linkedmarks/spot
fails 1 'spot/00.png: is among the labelled images .* and the images to score' filters --defects linkedmarks "${test[@]}" --out o
cp set/normal/00.png marked/good/extra.png
fails 1 'good/extra.png: has no mask; expected one for each of --defects' labelled --out o
succeeds filters --hold-out 0.34 --false-alarms 0.1 --free-of-size "${test[@]}" --out free
grep -q 'scores of normal images rise by 0 where the patches are twice as many' out.txt || fail "images of one size have a trend"
[[ $(value free/result.json size_trend slope) == 0.0 ]] || fail "the trend is not told"
fails 2 '--scorer is filters; expected bank, beside --standardise' filters --tiles "${test[@]}" --out o
fails 2 '--free-of-size is given; expected --calibrate or --hold-out' filters --hold-out 0 --free-of-size "${test[@]}" --out o
fails 2 '--free-of-size is given; expected not given, with which look/bank.safetensors' looked --free-of-size

# The number of threads changes no score.
succeeds bare "${bank[@]}" --size 40x56 --threads 2 --normal set/normal --hold-out 0.34 --false-alarms 0.1 "${test[@]}" --out two
cmp <(cut -d, -f1-5 run/scores.csv) <(cut -d, -f1-5 two/scores.csv) || fail "two threads give other scores"

# Bad input.
fails 2 '--out' defects --weights random --normal set/normal
fails 2 "--weights is not given" defects --normal set/normal --test set/test --out o
fails 2 "--normal is not given" defects --weights random --test set/test --out o
fails 2 "--normal is given beside a bank" defects --weights random --normal set/normal --bank run/bank.safetensors --test set/test --out o
fails 2 "--templates is not given" defects --weights random --scorer template --test set/test --out o
fails 2 "--boxes is .*masks or boxes" defects "${bank[@]}" --normal set/normal "${test[@]}" --boxes set/boxes --out o
fails 2 "--false-alarms is 2" defects "${bank[@]}" --normal set/normal --false-alarms 2 --out o
fails 2 "--size is 41" bare "${bank[@]}" --size 41 --normal set/normal --out o
fails 2 "--coreset is 0" defects --weights random --coreset 0 --normal set/normal --out o
fails 1 'nowhere' defects "${bank[@]}" --normal nowhere --out o
fails 1 'nowhere' defects "${bank[@]}" --normal set/normal --test set/test --masks nowhere --out o
fails 1 'are too few for a threshold of 5 %' defects "${bank[@]}" --normal set/normal --hold-out 0.2 --out o
fails 1 'is listed twice' defects "${bank[@]}" --normal set/normal --test set/test set/test --out o
# Images whose names differ by a slash alone would share a map.
mkdir -p slash/a
cp set/test/spot/00.png slash/a/b.png
cp set/test/good/00.png slash/a_b.png
fails 1 'its map, maps/a_b.png, would be another image' defects "${bank[@]}" --normal set/normal --test slash --maps --out o
succeeds defects "${bank[@]}" --normal set/normal --test slash --out slashes
mkdir short
"$make_image" short/00.png 3 3 1
mkdir -p wrong/spot
cp short/00.png wrong/spot
fails 1 'the mask has 3 x 3 pixels' \
  defects "${bank[@]}" --normal set/normal --test set/test --masks wrong --good none --out o

# Sets that must have no image in common.
fails 1 'set/normal/00.png: is among the normal images to learn from \(--normal\) and the normal images to calibrate with' \
  defects "${bank[@]}" --normal set/normal --calibrate set/normal --test set/test --out o
fails 1 'good/00.png: is among the normal images to calibrate with and the images to score' \
  again --calibrate set/test/good --out o
mkdir linked
ln -s ../set/normal/07.png linked/a.png
fails 1 'linked/a.png: is among the normal images to learn from' defects "${bank[@]}" --normal set/normal --test linked --out o

# Masks under other names and endings are found; those that are missing are an error where labels tell of a defect.
figures() { value "$1/result.json" pixels; }
succeeds defects "${bank[@]}" --normal set/normal "${test[@]}" --out plain-masks
mkdir -p odd/spot
for i in 00 01 02 03; do cp set/masks/spot/$i.png odd/spot/${i}_GT.PNG; done
for i in 04 05 06; do mkdir odd/spot/$i; cp set/masks/spot/$i.png odd/spot/$i/000.png; done
cp set/masks/spot/07.png odd/spot/07-mask.png
succeeds defects "${bank[@]}" --normal set/normal --test set/test --masks odd --out odd-masks
grep -q '8 of 20 images have a mask, 12 have none and count as normal' out.txt || fail "who has a mask is not said"
[[ $(figures odd-masks) == "$(figures plain-masks)" ]] || fail "other names of masks give other figures"
(cd set && find test -name '*.png' | sort >list.txt)
succeeds defects "${bank[@]}" --normal set/normal --test set/list.txt --masks set/masks --out listed
[[ $(figures listed) == "$(figures plain-masks)" ]] || fail "a list from further up finds other masks"
rm odd/spot/03_GT.PNG
fails 1 '1 of 8 images whose label tells of a defect have no mask in odd, the first set/test/spot/03.png' \
  defects "${bank[@]}" --normal set/normal --test set/test --masks odd --out o
warns 1 '1 images whose label tells of a defect have no mask and count as normal' \
  defects "${bank[@]}" --normal set/normal --test set/test --masks odd --missing-is-normal --out borne
mkdir empty-masks
fails 1 '8 of 8 images whose label tells of a defect have no mask' \
  defects "${bank[@]}" --normal set/normal --test set/test --masks empty-masks --out o

# A mask that cannot be read is said to be that, and counted apart; pictures that cannot be read are counted.
cp -r set/masks torn-masks
echo 'no picture' >torn-masks/spot/02.png
cp -r set/test with-others
echo 'GIF' >with-others/good/50.gif
warns 2 'skipped: .*torn-masks/spot/02.png: not a PNG|1 images were not scored, as their masks cannot be read' \
  defects "${bank[@]}" --normal set/normal --test with-others --masks torn-masks --out torn
grep -q 'left aside, as they are not read: 1 .gif' out.txt || fail "a picture that is left aside is not said"
[[ $(value torn/result.json unreadable_masks) == 1 && $(value torn/result.json scored) == 19 ]] || fail "an unreadable mask is not counted"
# Where no defect is left to judge by that is no success.
for mask in torn-masks/spot/*.png; do echo 'no picture' >$mask; done
status=0
defects "${bank[@]}" --normal set/normal --test set/test --masks torn-masks --out torn >out.txt 2>err.txt || status=$?
[[ $status -eq 1 && ! -e torn/result.json ]] || fail "status $status where no mask can be read"
grep -q 'none of the test images with a defect is left: 8 masks cannot be read' err.txt || fail "masks that cannot be read are not named"
echo 'no picture' >set/test/good/text.png
status=0
defects "${bank[@]}" --normal set/normal "${test[@]}" --out skipped >out.txt 2>err.txt || status=$?
[[ $status -eq 0 ]] || fail "one unreadable image ends the run"
grep -q 'skipped: .*text.png' err.txt || fail "an unreadable image is not named"
[[ $(value skipped/result.json unreadable) == 1 ]] || fail "an unreadable image is not counted"

echo "defects: all as they should be"
