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
succeeds again --calibrate set/test/good --false-alarms 0.2 --out rate
[[ $(value rate/result.json calibrated promised_false_alarms) == 0.2 ]] || fail "the rate that was given does not win"
[[ $(value rate/result.json settings false_alarms) == 0.2 ]] || fail "the settings name another rate"
succeeds again --calibrate set/test/good --out banks
[[ $(value banks/result.json calibrated promised_false_alarms) == 0.1 ]] || fail "without one the rate is not the bank's"
succeeds pretrain "${scenes[@]}" --channels 1 --epochs 1 --out other
fails 1 'bank.safetensors: was made with other weights' \
  "$programs/dssl-defects" --weights other/teacher.safetensors --bank run/bank.safetensors "${test[@]}" --out o
fails 1 'is no bank of dssl-defects' \
  "$programs/dssl-defects" --weights random --bank other/teacher.safetensors "${test[@]}" --out o

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
fails 1 'the mask has 3 x 3 pixels' defects "${bank[@]}" --normal set/normal --test set/test --masks wrong --out o
echo 'no picture' >set/test/good/text.png
status=0
defects "${bank[@]}" --normal set/normal "${test[@]}" --out skipped >out.txt 2>err.txt || status=$?
[[ $status -eq 0 ]] || fail "one unreadable image ends the run"
grep -q 'skipped: .*text.png' err.txt || fail "an unreadable image is not named"
[[ $(value skipped/result.json unreadable) == 1 ]] || fail "an unreadable image is not counted"

echo "defects: all as they should be"
