#!/usr/bin/env bash
# dssl-pretrain: what it writes, resuming to the same bits, stopping on request; then dssl-segment and dssl-report.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# A whole run, for every recipe.
for recipe in densedino densedino-local dino feature-map; do
  succeeds pretrain "${scenes[@]}" --recipe $recipe --epochs 2 --out "whole-$recipe"
  [[ $(wc -l <"whole-$recipe/metrics.jsonl") -eq 8 ]] || fail "$recipe: metrics.jsonl has no line a step"
  for file in checkpoint.safetensors teacher.safetensors options.json; do
    [[ -s whole-$recipe/$file ]] || fail "$recipe: no $file"
  done
done

# How local references are stands at the last step of an epoch, for recipes that have them; looking changes no bit.
[[ $(grep -c '"locality":{"references_local":' whole-densedino/metrics.jsonl) -eq 2 ]] || fail "no look at references an epoch"
grep -q '"locality":{"references_local":.*"attention":\[' whole-densedino-local/metrics.jsonl || fail "no look at references"
grep -q locality whole-dino/metrics.jsonl whole-feature-map/metrics.jsonl && fail "a look at references that are not there"
succeeds pretrain "${scenes[@]}" --epochs 2 --locality-every -1 --out unlooked
grep -q locality unlooked/metrics.jsonl && fail "a look at references that was not asked for"
cmp unlooked/checkpoint.safetensors whole-densedino/checkpoint.safetensors || fail "a look at references changes the run"
grep -aq '"content":"attached"' whole-densedino-local/teacher.safetensors || fail "weights do not tell their references' content"
grep -q 'content attached' whole-densedino-local/options.json || fail "options.json does not tell the references' content"
fails 1 'content attached' pretrain "${scenes[@]}" --epochs 2 --out whole-densedino-local --resume --recipe densedino
warns 1 'has no effect with --recipe densedino-local' \
  pretrain "${scenes[@]}" --epochs 1 --recipe densedino-local --relation open --out no-relation
succeeds pretrain "${scenes[@]}" --epochs 1 --position-start 0.5 --out sincos
grep -q 'positions begin as sines and cosines of root mean square 0.5' out.txt || fail "what positions begin as is not told"
fails 2 "--position-start is -1; expected 0" pretrain "${scenes[@]}" --epochs 1 --position-start -1 --out o
fails 2 "--position-start is 0.5; expected 0 with --init" \
  pretrain "${scenes[@]}" --epochs 1 --position-start 0.5 --init sincos/teacher.safetensors --out o
warns 1 'reference tokens are blind after epoch' pretrain "${scenes[@]}" --epochs 25 --out blind

# Every other recipe, to the same bits when stopped in the middle of an epoch and resumed: queues and running
# statistics are in the checkpoint. The report takes any of them.
pair() { "$programs/dssl-pretrain" --arch nano8 --batch 2 --views-global 16 "${scenes[@]}" --projector-hidden 24 --projector-out 16 "$@"; }
runs=()
for recipe in byol simsiam simclr densesimclr densedino-contrast moco-v2 moco-v3 barlow-twins vicreg densecl pixpro swav ibot dinov2; do
  case $recipe in
    moco-v2 | densecl) own=(--queue 6) ;;
    swav) own=(--prototypes 16 --views-local 8 --locals 1 --queue 5 --queue-first-epoch 0) ;;
    ibot | dinov2) own=(--prototypes 16 --views-local 8 --locals 1 --masked-weight 0.5) ;;
    densedino-contrast) own=(--prototypes 16 --views-local 8 --locals 1 --sampler grid --points 4 --temperature 0.3) ;;
    *) own=() ;;
  esac
  succeeds pair --recipe $recipe "${own[@]}" --epochs 2 --out "pair-$recipe"
  [[ $(wc -l <"pair-$recipe/metrics.jsonl") -eq 8 ]] || fail "$recipe: metrics.jsonl has no line a step"
  succeeds pair --recipe $recipe "${own[@]}" --epochs 2 --max-steps 3 --out "pair-$recipe-parts"
  succeeds pair --recipe $recipe "${own[@]}" --epochs 2 --out "pair-$recipe-parts" --resume
  cmp "pair-$recipe-parts/checkpoint.safetensors" "pair-$recipe/checkpoint.safetensors" || fail "$recipe: the resumed run differs"
  runs+=("$recipe=pair-$recipe")
done
grep -q '"image-sinkhorn":{"loss":.*"nt-xent":{"loss":.*"point-nt-xent":{"loss":' pair-densedino-contrast/metrics.jsonl || fail "metrics have not all three terms"
grep -q '"loss.point-nt-xent.temperature": *0.3' pair-densedino-contrast/options.json || fail "--temperature does not reach the contrast of points"
grep -q '"queue-contrast":{"loss":' pair-moco-v2/metrics.jsonl || fail "metrics do not list the term by its name"
grep -q '"loss.queue-contrast.keys": *6' pair-moco-v2/options.json || fail "options.json has no number of the queue"
grep -q '"swapped-assignment":{"loss":[^}]*"teacher_entropy":[^}]*"mean_entropy":[^}]*"divergence":' pair-swav/metrics.jsonl ||
  fail "metrics have no entropies of SwAV's assignments"
grep -q '"loss.swapped-assignment.queue": *5' pair-swav/options.json || fail "options.json has no number of SwAV's queue"
grep -q '"loss.masked-ibot.weight": *0.5' pair-ibot/options.json || fail "options.json has not the masked level's weight"
unfilled() { pair --recipe swav --prototypes 16 --views-local 8 --locals 1 "$@" --out unfilled; }
fails 2 '--queue is 4; expected at most the 0 rows that come from epoch 15 .--queue-first-epoch. on before the last update, or it is never used' \
  unfilled --queue 4 --epochs 1
fails 2 '--queue is 1000; expected at most the .* rows that come from epoch 0 ' unfilled --queue 1000 --queue-first-epoch 0 --epochs 1
fails 2 '--queue' unfilled --queue 9223372036854775807 --queue-first-epoch 0
fails 2 '--masked-weight is -0.5; expected 0 or more, or -1 as published' pair --recipe ibot --masked-weight -0.5 --out unfilled
warns 1 '--alpha has no effect with --recipe densesimclr' pair --recipe densesimclr --alpha 0.3 --epochs 1 --out no-alpha
warns 2 'has no effect with --recipe moco-v2' pair --recipe moco-v2 --queue 6 --epsilon 0.02 --queue-first-epoch 0 --epochs 1 --out no-epsilon
grep -q 'masks: blocks in 0.5 of the views' pair-dinov2/options.json || fail "options.json does not tell the masks"
fails 2 "--masked-high is 1" pair --recipe ibot --epochs 1 --masked-high 1 --out no-masks
warns 1 'has no effect with --recipe swav' pair --recipe swav --prototypes 16 --views-local 8 --locals 1 --epochs 1 --masked-high 0.3 --out no-masks
warns 3 'has no effect with --recipe vicreg' pair --recipe vicreg --epochs 1 --points 3 --momentum 0.9 --queue 5 --out no-effect
fails 2 "term 'info-nce' compares the images of a batch" \
  "$programs/dssl-pretrain" --arch nano8 --batch 1 --views-global 16 "${scenes[@]}" --recipe moco-v3 --epochs 1 --out one-image

# The objective of one's own trains.
succeeds "$programs/dssl-own-objective"
[[ $(grep -c '^alignment [0-9.]*, koleo -\?[0-9.]*$' out.txt) -eq 12 ]] || fail "dssl-own-objective does not tell its terms"

# Points by other samplers: the default's name changes no bit; one that looks at the images has the same bits for any number of
# threads and when it is resumed, and another is another run.
succeeds pretrain "${scenes[@]}" --epochs 2 --sampler random --points 2 --out sampled
cmp sampled/checkpoint.safetensors whole-densedino/checkpoint.safetensors || fail "the default's own name changes the run"
salient=(--epochs 2 --sampler grid:4+salient:3)
succeeds pretrain "${scenes[@]}" "${salient[@]}" --threads 3 --out salient
grep -q '"sampler": *"grid:4+salient:3"' salient/options.json || fail "options.json does not tell the sampler"
grep -q 'points: mixed (grid 4, salient 3) 7' out.txt || fail "the recipe does not tell the points"
succeeds pretrain "${scenes[@]}" "${salient[@]}" --threads 1 --max-steps 3 --out salient-parts
fails 1 'mixed .grid 4, salient 3. 7; .*expected: .*points: even 7' \
  pretrain "${scenes[@]}" --epochs 2 --sampler even --points 7 --out salient-parts --resume
succeeds pretrain "${scenes[@]}" "${salient[@]}" --threads 1 --out salient-parts --resume
cmp salient-parts/checkpoint.safetensors salient/checkpoint.safetensors || fail "a resumed run with salient points differs"
# And points that the teacher chooses in the step.
chosen=(--epochs 2 --sampler attention:2+disagreement:1+random:1)
succeeds pretrain "${scenes[@]}" "${chosen[@]}" --threads 3 --out chosen
grep -q 'points: mixed (attention (temperature 1, uniform 0.25) 2, disagreement (temperature 1, uniform 0.25) 1, random 1) 4' out.txt ||
  fail "the recipe does not tell which points the teacher chooses"
succeeds pretrain "${scenes[@]}" "${chosen[@]}" --threads 1 --max-steps 3 --out chosen-parts
succeeds pretrain "${scenes[@]}" "${chosen[@]}" --threads 1 --out chosen-parts --resume
cmp chosen-parts/checkpoint.safetensors chosen/checkpoint.safetensors || fail "a resumed run with points that the teacher chooses differs"
succeeds pretrain "${scenes[@]}" --epochs 1 --recipe feature-map --sampler attention --out chosen-map
fails 2 '--sampler is attention; expected points that need no teacher: with such views' \
  pretrain "${scenes[@]}" --epochs 1 --sampler attention --rotate 30 --out unfit
# Views that are turned and seen at an angle: the same bits for any number of threads and when resumed; others are another run.
turned=(--epochs 2 --rotate 30 --perspective 0.2)
succeeds pretrain "${scenes[@]}" "${turned[@]}" --threads 3 --out turned
grep -q '"valid_points":' turned/metrics.jsonl || fail "metrics.jsonl does not tell how many points are valid"
grep -q '"views.rotation": *30' turned/options.json || fail "options.json does not tell how far views are turned"
! cmp -s turned/teacher.safetensors sampled/teacher.safetensors || fail "--rotate changes nothing"
succeeds pretrain "${scenes[@]}" "${turned[@]}" --threads 1 --max-steps 3 --out turned-parts
succeeds pair --recipe densesimclr --sampler grid --points 4 --epochs 1 --rotate 60 --global-scale 0.3 1 --out turned-contrast  # no point is drawn again
grep -q '"valid_points":0' turned-contrast/metrics.jsonl || fail "all points of turned views are valid, and a contrast has none to leave out"
fails 1 "option 'views.rotation' 30; this run has 20" \
  pretrain "${scenes[@]}" --epochs 2 --rotate 20 --perspective 0.2 --out turned-parts --resume
succeeds pretrain "${scenes[@]}" "${turned[@]}" --threads 1 --out turned-parts --resume
cmp turned-parts/checkpoint.safetensors turned/checkpoint.safetensors || fail "a resumed run of turned views differs"
fails 2 '--rotate is 181; expected 0 to 180 degrees' pretrain "${scenes[@]}" --rotate 181 --out unfit
fails 2 '--perspective is 0.6; expected a share in .0, 0.5.' pretrain "${scenes[@]}" --perspective 0.6 --out unfit
# What is asked of views is told by the options that make them so.
no_boxes='is turned or seen at an angle; expected boxes of the image: the term .pixel-consistency. asks where patches lie by them'
fails 2 "the kind of views \(--rotate\) $no_boxes" pair --recipe pixpro --rotate 10 --out unfit
fails 2 "the kind of views \(--perspective, --views, --quarter-turns\) $no_boxes" \
  pair --recipe pixpro --perspective 0.1 --views industrial --quarter-turns 0.5 --out unfit
fails 2 '--masked-views or --masked-high is of no patch; expected' pair --recipe ibot --prototypes 16 --masked-views 0 --out unfit
# What a camera does to views: the same bits for any number of threads and when resumed; nothing said changes nothing.
aged=(--epochs 2 --views old_camera --parts jpeg=0,defocus=1@0.5)
succeeds pretrain "${scenes[@]}" "${aged[@]}" --threads 3 --out aged
grep -q '"views.parts": *"exposure=1@0.5,.*hot_pixels=0.001@0.5,defocus=1@0.5,quantise=3@0.3"' aged/options.json ||
  fail "options.json does not tell the parts"
grep -q '"views.grey": *0.5' aged/options.json || fail "--views old_camera does not set how many views are grey"
! cmp -s aged/teacher.safetensors sampled/teacher.safetensors || fail "--views changes nothing"
succeeds pretrain "${scenes[@]}" "${aged[@]}" --threads 1 --max-steps 3 --out aged-parts
fails 1 "option 'views.parts' exposure=1@0.5.*; this run has exposure=1@0.5" \
  pretrain "${scenes[@]}" --epochs 2 --views old_camera --out aged-parts --resume
succeeds pretrain "${scenes[@]}" "${aged[@]}" --threads 1 --out aged-parts --resume
cmp aged-parts/checkpoint.safetensors aged/checkpoint.safetensors || fail "a resumed run of aged views differs"
succeeds pretrain "${scenes[@]}" --epochs 1 --views industrial --quarter-turns 0.5 --out industrial
grep -q '"views.hue": *0[.,]' industrial/options.json || fail "--views industrial keeps the hue"
grep -q '"views.vertical_flip": *0.5' industrial/options.json || fail "--views industrial does not turn views upside down"
grep -q '"views.quarter_turns": *0.5' industrial/options.json || fail "--quarter-turns is not in the place of the preset's"
fails 2 '--views is new_camera; expected old_camera, line_scan, mobile, industrial' \
  pretrain "${scenes[@]}" --views new_camera --out unfit
fails 2 '--parts is jpg=4; expected NAME=STRENGTH' pretrain "${scenes[@]}" --parts jpg=4 --out unfit
fails 2 '--parts is jpeg=120; expected jpeg from 0 to 99' pretrain "${scenes[@]}" --parts jpeg=120 --out unfit
fails 2 '--vertical-flip is 2; expected a probability' pretrain "${scenes[@]}" --vertical-flip 2 --out unfit
# Views that are corrected for a lens, where the build reads calibrations: resumed with the same camera alone.
if reads_calibrations; then
  calibration 32 32 -0.4 >camera.yml
  calibration 32 32 -0.3 >other.yml
  succeeds pretrain "${scenes[@]}" --epochs 2 --camera camera.yml --threads 3 --out lens
  grep -q '"views.camera": *"32 32 40 40 15.5 15.5 -0.4 0 0 0 0 0 0 0"' lens/options.json || fail "options.json does not tell the camera"
  ! cmp -s lens/teacher.safetensors sampled/teacher.safetensors || fail "--camera changes nothing"
  succeeds pretrain "${scenes[@]}" --epochs 2 --camera camera.yml --threads 1 --max-steps 3 --out lens-parts
  fails 1 "option 'views.camera' 32 32 40 40 15.5 15.5 -0.4 0 0 0 0 0 0 0; this run has 32 32 40 40 15.5 15.5 -0.3" \
    pretrain "${scenes[@]}" --epochs 2 --camera other.yml --out lens-parts --resume
  succeeds pretrain "${scenes[@]}" --epochs 2 --camera camera.yml --threads 1 --out lens-parts --resume
  cmp lens-parts/checkpoint.safetensors lens/checkpoint.safetensors || fail "a resumed run of corrected views differs"
  calibration 32 48 -0.4 >other.yml
  fails 1 'has 32 x 32 pixels; expected the camera.s 32 x 48' pretrain "${scenes[@]}" --epochs 1 --camera other.yml --out unfit
  calibration 32 32 -3 >other.yml
  fails 2 '--camera is of a lens whose distortion folds back at column' pretrain "${scenes[@]}" --camera other.yml --out unfit
  fails 1 'nowhere.yml: cannot open to read' pretrain "${scenes[@]}" --camera nowhere.yml --out unfit
fi
# By maps of weights: a bright half, and two images without one.
mkdir -p photos maps
for i in 1 2 3 4 5 6; do
  "$make_image" photos/$i.png 32 32 3
  [[ $i -gt 4 ]] || "$make_image" maps/$i.png 16 16 1 255 0
done
weighted=(--data photos --epochs 1 --sampler weighted --point-weights maps)
succeeds pretrain "${weighted[@]}" --out weighted
grep -q 'weight maps: maps, 4 of 6 images have a weight map, 2 have none, the first 5' out.txt || fail "images without a map are not told"
"$make_image" maps/4.png 16 32 1 255 0
fails 1 'maps/4.png: is a weight map of 16 x 32 pixels; expected those of its image, 32 x 32' pretrain "${weighted[@]}" --out unfit
rm maps/4.png
fails 1 'points: weighted .maps [0-9a-f]*-[0-9a-f]*. 2; .*expected: .*points: weighted .maps ' pretrain "${weighted[@]}" --out weighted --resume
# Crops by pixels, however large the image.
succeeds pretrain --data photos --epochs 1 --global-zoom 1 1 --local-zoom 0.5 2 --out by-pixels
grep -q '"views.global_zoom.low": *1' by-pixels/options.json || fail "options.json does not tell crops by pixels"
fails 2 '--global-zoom is 0.0; expected 0.001 to 1000, or both ends 0|--global-zoom is 0; expected 0.001 to 1000' pretrain --data photos --epochs 1 --global-zoom 0 1 --out none
fails 2 'global-zoom excludes|--global-scale' pretrain --data photos --epochs 1 --global-zoom 1 1 --global-scale 0.1 0.2 --out none
fails 1 "option 'views.global_zoom.high' 1; this run has 2" pretrain --data photos --epochs 1 --global-zoom 1 2 --local-zoom 0.5 2 --out by-pixels --resume

# Numbers for a small budget, but those that are said; told as they would be typed, and gone on from.
small() { "$programs/dssl-pretrain" --preset small --data photos --threads 1 "$@"; }
succeeds small --max-steps 2 --out small
grep -q 'preset: --recipe densesimclr --arch nano8 --epochs 1800 .*--batch 2 --accumulate 1 --lr 0.004 --warmup-epochs 180 --views-global 32 ' out.txt ||
  fail "the numbers of a small budget are not told: $(grep preset: out.txt)"
succeeds small --max-steps 1 --out small --resume
typed=($(sed -n 's/^.*preset: //p' out.txt))
succeeds "$programs/dssl-pretrain" --data photos --threads 1 "${typed[@]}" --max-steps 3 --out as-typed
cmp small/checkpoint.safetensors as-typed/checkpoint.safetensors || fail "a preset is not the options that it tells"
succeeds small --recipe densedino-local --arch nano8 --prototypes 32 --projector-hidden 16 --projector-out 16 --epochs 2 --views-global 16 --out small-levels
grep -q 'preset: --recipe densedino-local .*--teacher-temp 0.02 ' out.txt || fail "levels have no temperature of a small budget"
grep -Eq 'preset: .*--warmup-epochs 0 .*--views-local 8 ' out.txt || fail "numbers that hang on others are not by those that are said"
grep -Eq 'preset: .*--(prototypes|epochs|views-global|projector-hidden)' out.txt && fail "a preset takes the place of what is said"
grep -q 'prototypes 32' out.txt || fail "a preset takes the place of what is said"
succeeds small --init small/teacher.safetensors --epochs 1 --global-zoom 1 1 --out small-begun
grep -Eq 'preset: .*--arch auto ' out.txt || fail "a preset does not take the sizes of weights"
grep -Eq 'preset: .*--(lr|warmup-epochs|global-scale)' out.txt && fail "a preset has rates that are for drawn weights, or both kinds of crops"
fails 2 '--preset: large not in' small --preset large --out none
warns 1 '--preset small has no learning rate for sgd: --lr is 0.0005, as without a preset' small --optimizer sgd --max-steps 1 --out small-sgd
grep -q '"optimiser.learning_rate": *0.0005' small-sgd/options.json || fail "another optimiser than AdamW has its rate"
succeeds small --optimizer sgd --lr 0.05 --max-steps 1 --out small-sgd-rate
# What was chosen where a run began stays, however long it becomes and on images of other sizes.
cp -r small small-longer
cp -r small small-elsewhere
for epochs in 3000 4000; do
  succeeds small --max-steps 1 --out small-longer --resume --extend-to $epochs
  grep -q 'preset: .*--warmup-epochs 180 ' out.txt || fail "an extended run has another warm-up: $(grep preset: out.txt)"
done
succeeds small --max-steps 1 --out small-longer --resume
grep -q 'preset: .*--epochs 4000 .*--warmup-epochs 180 ' out.txt || fail "an extended run is not gone on from: $(grep preset: out.txt)"
mkdir larger
for i in 1 2 3 4 5 6; do "$make_image" larger/$i.png 160 160 3; done
elsewhere() { "$programs/dssl-pretrain" --preset small --data larger --threads 1 --out small-elsewhere --resume --other-images "$@"; }
succeeds elsewhere --max-steps 1
grep -q 'preset: .*--views-global 32 --global-scale 0.25 1 ' out.txt || fail "a run on other images has other views: $(grep preset: out.txt)"
"$make_image" larger/7.png 160 160 3
fails 1 'the run was begun on 6 images, but the data now has 7' elsewhere
fails 1 'nowhere.safetensors: cannot open' small --out small-elsewhere --resume nowhere.safetensors

# Two cameras: pairs by their names, the second's pictures of another size; the same bits when resumed, and another map is another run.
mkdir -p second
for i in 1 2 3 4 5 7; do "$make_image" second/$i.png 24 48 3 200 20 90 40; done
pairs=(--data photos --second second --epochs 3)
succeeds pretrain "${pairs[@]}" --threads 3 --out pairs
grep -q 'cameras: 5 pairs of images with second; 1 images of photos and 1 of second are without the other' out.txt || fail "pairs are not counted"
grep -q '"views.pair": *"32 32 24 48 1 0 0 0 1 0 0 0 1"' pairs/options.json || fail "options.json does not tell the cameras"
grep -q '"valid_points":' pairs/metrics.jsonl || fail "metrics.jsonl does not tell how many points of pairs are valid"
succeeds small --second second --max-steps 1 --out small-pairs
grep -q 'preset: .*--epochs 2160 ' out.txt || fail "a preset does not count pairs: $(grep preset: out.txt)"
fails 2 '--second is second; expected none with --split, or with generated scenes' \
  "$programs/dssl-pretrain" --preset small --data synthetic --second second --out none
succeeds pretrain --data photos --epochs 3 --out unpaired
# References of SimCLR's contrast at points can be read, too.
succeeds "$programs/dssl-features" --data photos --arch nano8 --size 16 --weights pair-densesimclr/teacher.safetensors --read references --out references.npy
! cmp -s pairs/teacher.safetensors unpaired/teacher.safetensors || fail "--second changes nothing"
succeeds pretrain "${pairs[@]}" --threads 1 --max-steps 3 --out pairs-parts
succeeds pretrain "${pairs[@]}" --threads 1 --out pairs-parts --resume
cmp pairs-parts/checkpoint.safetensors pairs/checkpoint.safetensors || fail "a resumed run of pairs differs"
cp -r second elsewhere
succeeds pretrain --data photos --second elsewhere --epochs 3 --out pairs-parts --resume
"$make_image" elsewhere/4.png 24 48 3 9 8 7 6 5 4 3 2 1
fails 1 'the run was begun on 5 images of other sizes' pretrain --data photos --second elsewhere --epochs 3 --out pairs-parts --resume
# Of folders in VOC layout masks are no images, with two cameras either; what is left aside of both is counted.
mkdir -p voc-first/JPEGImages voc-first/SegmentationClass
cp photos/* voc-first/JPEGImages
cp photos/* voc-first/SegmentationClass
cp -r second voc-second
mkdir voc-second/SegmentationClass voc-second/JPEGImages
mv voc-second/*.png voc-second/JPEGImages
cp voc-second/JPEGImages/* voc-second/SegmentationClass
echo GIF >voc-first/JPEGImages/1.gif
echo GIF >voc-second/JPEGImages/2.gif
succeeds pretrain --data voc-first --second voc-second --epochs 1 --out voc-pairs
grep -q 'cameras: 5 pairs of images with voc-second; 1 images of voc-first and 1 of voc-second' out.txt || fail "masks are taken for images of a second camera"
grep -q 'left aside, as they are not read: 2 .gif' out.txt || fail "what is left aside of two cameras is not counted"
fails 2 '--point-weights is photos; expected none with --second' \
  pretrain "${pairs[@]}" --sampler weighted --point-weights photos --out weighted-pairs
if reads_calibrations; then
  homography '1.5, 0., 0., 0., 0.75, 0., 0., 0., 1.' >between.yml
  calibration 24 48 -0.2 >second.yml
  calibration 32 32 -0.4 >camera.yml
  succeeds pretrain "${pairs[@]}" --camera camera.yml --second-camera second.yml --between between.yml --out pairs-bent
  # A contrast of points by a lens, and by pairs through lenses and a map: the same bits when resumed.
  contrast() {
    "$programs/dssl-pretrain" --arch nano8 --batch 2 --views-global 16 --projector-hidden 24 --projector-out 16 --recipe densesimclr \
      --epochs 3 --points 4 --data photos --camera camera.yml "$@"
  }
  of_both=(--second second --second-camera second.yml --between between.yml)
  succeeds contrast --out contrast-lens
  succeeds contrast "${of_both[@]}" --out contrast-pairs
  ! cmp -s contrast-lens/teacher.safetensors contrast-pairs/teacher.safetensors || fail "--second changes nothing of a contrast of points"
  grep -q '"valid_points":' contrast-pairs/metrics.jsonl || fail "metrics.jsonl does not tell how many points of a contrast are valid"
  succeeds contrast "${of_both[@]}" --max-steps 2 --out contrast-parts
  succeeds contrast "${of_both[@]}" --out contrast-parts --resume
  cmp contrast-parts/checkpoint.safetensors contrast-pairs/checkpoint.safetensors || fail "a resumed contrast of pairs differs"
  homography '1., 0., 5000., 0., 1., 0., 0., 0., 1.' >far.yml
  fails 2 "--between is one that leads past the second's pictures; expected a map" pretrain "${pairs[@]}" --between far.yml --out far
  grep -q '"views.pair": *"32 32 24 48 1.5 0 0 0 0.75 0 0 0 1 24 48 40 40 23.5 11.5 -0.2 0 0 0 0 0 0 0"' pairs-bent/options.json ||
    fail "options.json does not tell the map"
  fails 1 "option 'views.pair' 32 32 24 48 1 0 0 0 1 0 0 0 1; this run has 32 32 24 48 1.5 0 0 0 0.75 0 0 0 1" \
    pretrain "${pairs[@]}" --between between.yml --out pairs-parts --resume
  fails 1 'second/1.png: has 24 x 48 pixels; expected its camera.s 32 x 32' pretrain "${pairs[@]}" --second-camera camera.yml --out misfit
  calibration 24 48 -3 >folding.yml
  fails 2 '--second-camera is of a lens whose distortion folds back at column' pretrain "${pairs[@]}" --second-camera folding.yml --out unfit
  homography '1., 0., 0., 0., 1., 0., 0.1, 0., 1.' >between.yml
  fails 2 '--between is with its horizon near the pictures' pretrain "${pairs[@]}" --between between.yml --out unfit
fi
"$make_image" second/2.png 24 40 3
warns 2 'second/2.png: has 24 x 40 pixels; expected its camera.s 24 x 48|[0-9]+ times an unreadable' pretrain "${pairs[@]}" --out pairs-but-one
# The first of all: a camera's file says what is passed over.
mv second/1.png kept.png
cp second/2.png second/1.png
if reads_calibrations; then
  warns 3 'second/[12].png: has 24 x 40 pixels; expected its camera.s 24 x 48|[0-9]+ times an unreadable' pretrain "${pairs[@]}" --second-camera second.yml --out pairs-but-two
fi
mv kept.png second/1.png
mkdir -p others
"$make_image" others/x.png 24 48 3
fails 1 'no image of the first camera has the name of one of the second' pretrain --data photos --second others --out unfit
fails 2 '--second is second; expected none with --split, or with generated scenes' pretrain "${scenes[@]}" --second second --out unfit
fails 2 '--between requires --second' pretrain --data photos --between between.yml --out unfit
fails 1 'none of 3 weight maps belongs to one of 8 images by its name' \
  pretrain "${scenes[@]}" --epochs 1 --sampler weighted --point-weights maps --out unfit
fails 2 '--point-weights is empty; expected a folder with --sampler weighted' pretrain "${scenes[@]}" --epochs 1 --sampler weighted --out unfit
fails 2 '--point-weights is maps; expected none with --sampler even' pretrain "${scenes[@]}" --epochs 1 --sampler even --point-weights maps --out unfit
fails 2 '--points is 5; expected a square number with --sampler grid, as 4 or 9' pretrain "${scenes[@]}" --sampler grid --points 5 --out unfit
for sampler in none random+ even:0 even:x; do
  fails 2 '--sampler is .*; expected random, grid, jittered, even, salient, weighted, attention or disagreement, or several' pretrain "${scenes[@]}" --sampler $sampler --out unfit
done
fails 2 '--sampler is even; expected none with --recipe dino, which compares no points' pretrain "${scenes[@]}" --recipe dino --sampler even --out unfit

# The other relations and optimisers run too.
succeeds pretrain "${scenes[@]}" --relation all_query --optimizer lars --accumulate 2 --epochs 1 --out relation
[[ $(wc -l <relation/metrics.jsonl) -eq 2 ]] || fail "accumulation does not make half the steps"

# Stopped in the middle of an epoch and resumed: the same bits, and no step twice in the metrics.
succeeds pretrain "${scenes[@]}" --epochs 2 --max-steps 3 --out parts
grep -q 'stopped after step 3' out.txt || fail "a budget that ends a run is not named"
[[ $(wc -l <parts/metrics.jsonl) -eq 3 ]] || fail "no 3 lines after 3 steps"
echo '{"step":3,"cut":"off' >>parts/metrics.jsonl
succeeds pretrain "${scenes[@]}" --epochs 2 --out parts --resume
[[ $(wc -l <parts/metrics.jsonl) -eq 8 ]] || fail "no 8 lines after the resume"
cmp parts/teacher.safetensors whole-densedino/teacher.safetensors || fail "the resumed teacher differs"
losses() { grep -o '"step":[0-9]*\|"loss":[^,}]*' "$1"; }
[[ $(losses parts/metrics.jsonl) == "$(losses whole-densedino/metrics.jsonl)" ]] || fail "the resumed losses differ"

# A finished run is extended, and in words; without --resume, and to fewer epochs, it is not.
cp -r whole-densedino longer
succeeds pretrain "${scenes[@]}" --out longer --resume --extend-to 3
grep -q "extended to 3 epochs: from here learning rate" out.txt || fail "what an extension does is not said"
[[ $(wc -l <longer/metrics.jsonl) -eq 12 ]] || fail "no 12 lines after the extension"
fails 1 "expected at most those it is extended to, 2" pretrain "${scenes[@]}" --out longer --resume --extend-to 2
fails 2 "requires --resume" pretrain "${scenes[@]}" --out longer --extend-to 4

# The number of threads changes no bit.
for threads in 1 3; do
  succeeds pretrain "${scenes[@]}" --epochs 2 --threads $threads --out threads-$threads
  cmp threads-$threads/teacher.safetensors whole-densedino/teacher.safetensors ||
    fail "$threads threads give another teacher"
done

# Ctrl-C: a checkpoint, one line, status 130; the run goes on from there.
"$programs/dssl-pretrain" "${tiny[@]}" "${scenes[@]}" --epochs 100000 --out stopped >out.txt 2>err.txt &
process=$!
for _ in $(seq 200); do
  [[ $(cat stopped/metrics.jsonl 2>/dev/null | wc -l) -ge 2 ]] && break
  sleep 0.05
done
kill -TERM $process
status=0
wait $process || status=$?
[[ $status -eq 130 && $(wc -l <err.txt) -eq 1 ]] || fail "status $status after a termination request"
grep -q 'interrupted after step' err.txt || fail "the interruption is not named"
steps=$(wc -l <stopped/metrics.jsonl)
succeeds pretrain "${scenes[@]}" --epochs 100000 --max-steps 2 --out stopped --resume
[[ $(wc -l <stopped/metrics.jsonl) -eq $((steps + 2)) ]] || fail "the stopped run does not go on where it stopped"

# The end of a terminal and USR1 likewise; a second run into the folder is refused while the first lives, not after.
for signal in HUP USR1; do
  "$programs/dssl-pretrain" "${tiny[@]}" "${scenes[@]}" --epochs 100000 --out "ended-$signal" >out.txt 2>err.txt &
  process=$!
  for _ in $(seq 200); do
    [[ $(cat ended-$signal/metrics.jsonl 2>/dev/null | wc -l) -ge 2 ]] && break
    sleep 0.05
  done
  status=0
  pretrain "${scenes[@]}" --epochs 1 --overwrite --out ended-$signal >second.txt 2>&1 || status=$?
  [[ $status -eq 1 ]] || fail "status $status of a second run into a folder that is in use"
  grep -q "ended-$signal: is in use by another run (process $process)" second.txt || fail "a folder in use is not named"
  kill -$signal $process
  status=0
  wait $process || status=$?
  [[ $status -eq 130 ]] || fail "status $status after $signal"
  [[ -s ended-$signal/checkpoint.safetensors ]] || fail "no checkpoint after $signal"
done
"$programs/dssl-pretrain" "${tiny[@]}" "${scenes[@]}" --epochs 100000 --out killed >out.txt 2>err.txt &
process=$!
for _ in $(seq 200); do
  [[ $(cat killed/metrics.jsonl 2>/dev/null | wc -l) -ge 2 ]] && break
  sleep 0.05
done
kill -KILL $process
wait $process 2>/dev/null || true
[[ -e killed/.lock ]] || fail "a killed run leaves no lock to be an obstacle"
succeeds pretrain "${scenes[@]}" --epochs 1 --overwrite --out killed

# Nobody reads the progress any more: the run goes on to its end.
pretrain "${scenes[@]}" --epochs 30 --out unread 2>err.txt | head -n 1 >out.txt
[[ $(wc -l <unread/metrics.jsonl) -eq 120 && -s unread/teacher.safetensors ]] || fail "a run ends as nobody reads its progress"

# Nor when it is ended with nobody reading, as Ctrl-C ends a pipe's other side first: the checkpoint is written all the same.
"$programs/dssl-pretrain" "${tiny[@]}" "${scenes[@]}" --epochs 100000 --out piped > >(head -n 1 >out.txt) 2>err.txt &
process=$!
for _ in $(seq 400); do
  [[ -s out.txt && $(cat piped/metrics.jsonl 2>/dev/null | wc -l) -ge 40 ]] && break
  sleep 0.05
done
kill -TERM $process
status=0
wait $process || status=$?
[[ $status -eq 130 && -s piped/checkpoint.safetensors ]] || fail "status $status of a run that is ended while nobody reads"

# A limit on files ends a run with one line that names the file.
small() { (ulimit -f 4; pretrain "$@"); }
fails 1 'limited/.*: cannot write: File too large' small "${scenes[@]}" --epochs 100 --out limited
# Nor where a checkpoint fits and the metrics, grown by blanks, reach it: the checkpoint is of the steps that were made.
succeeds pretrain "${scenes[@]}" --epochs 2 --max-steps 3 --out grown
blocks=$(($(stat -c %s grown/checkpoint.safetensors) / 1024 + 64))
blanks=$((blocks * 1024 - $(stat -c %s grown/metrics.jsonl) - 300))
{ head -c $blanks /dev/zero | tr '\0' ' '; cat grown/metrics.jsonl; } >blanks
mv blanks grown/metrics.jsonl
grown() { (ulimit -f $blocks; pretrain "${scenes[@]}" --epochs 2 --out grown --resume); }
fails 1 'grown/metrics.jsonl: cannot write: File too large; a checkpoint of 4 steps was written' grown
succeeds pretrain "${scenes[@]}" --epochs 2 --out grown --resume
grep -q 'going on after step 4 of 8' out.txt || fail "the checkpoint of a run that a limit ended is another"
cmp grown/checkpoint.safetensors whole-densedino/checkpoint.safetensors || fail "a run that a limit ended goes on to other bits"
[[ $(losses grown/metrics.jsonl) == "$(losses <(grep -v '"step":3,' whole-densedino/metrics.jsonl))" ]] || fail "more is lost of the metrics than the line that did not fit"

# Tiles of large images are samples: the same bits when resumed, and other tiles are another run.
mkdir plates
for i in 1 2; do "$make_image" plates/$i.png 40 100 3 200 20 90 40; done  # 2 x 4 tiles each
"$make_image" plates/small.png 32 20 3 10 200
tiled=(--data plates --epochs 2 --tile 32)
succeeds pretrain "${tiled[@]}" --tile-overlap 8 --out tiled
grep -q 'data: plates, 17 tiles of 32 x 32 pixels (8 or more common to neighbours) of 3 images; 2 epochs of 8 steps' out.txt || fail "tiles are not told"
grep -q '"tile": *32' tiled/options.json && grep -q '"tile_overlap": *8' tiled/options.json || fail "options.json does not tell the tiles"
[[ $(value tiled/options.json images) -eq 3 && $(value tiled/options.json tiles) -eq 17 ]] || fail "options.json does not tell how many images and tiles"
succeeds pretrain "${tiled[@]}" --tile-overlap 8 --max-steps 11 --out tiled-parts
succeeds pretrain "${tiled[@]}" --tile-overlap 8 --out tiled-parts --resume
cmp tiled-parts/checkpoint.safetensors tiled/checkpoint.safetensors || fail "the resumed run of tiles differs"
succeeds pretrain "${tiled[@]}" --tile-overlap 8 --max-steps 11 --out tiled-others
fails 1 'the run was begun on 17 images of other names' pretrain --data plates --epochs 2 --tile 33 --tile-overlap 9 --out tiled-others --resume  # as many
fails 1 'images' pretrain "${tiled[@]}" --tile-overlap 16 --out tiled-others --resume
fails 1 'images' pretrain --data plates --epochs 2 --out tiled-others --resume
# Images no larger than a tile are the run that they are without.
succeeds pretrain --data photos --epochs 1 --out untiled
succeeds pretrain --data photos --epochs 1 --tile 32 --out one-tile-each
cmp one-tile-each/checkpoint.safetensors untiled/checkpoint.safetensors || fail "tiles as large as the images change the run"
# A damaged image is passed over for others, said once however many tiles it has, and one of the ten that are borne.
mkdir damaged
cp plates/1.png plates/small.png damaged
"$make_image" damaged/2.png 100 1000 3
truncate -s -20 damaged/2.png
warns 2 'skipped damaged/2.png: damaged PNG.*; its 10 samples are passed over$|20 times a tile of an unreadable image' \
  pretrain --data damaged --epochs 2 --tile 100 --out tiled-damaged
status=0
pretrain --data damaged --epochs 1 --tile 100 --max-unreadable 0 --out tiled-none >out.txt 2>err.txt || status=$?
[[ $status -eq 1 ]] && tail -n 1 err.txt | grep -q 'of [0-9]* samples cannot be read; expected at most 0 %' || fail "a tile of a damaged image is borne where none is"
# Pages of TIFF files and their tiles; a damaged page, and a file whose chain of pages is cut.
mkdir scans
if "$make_image" scans/a.tif 40 100 3 200 20 90 40 2>err.txt; then
  begins=$(stat -c %s scans/a.tif)
  "$make_image" scans/a.tif 40 100 3 10 160 70 220
  printf '\xff%.0s' {1..40} | dd of=scans/a.tif bs=1 seek=$((begins + 16)) conv=notrunc 2>dd.txt
  "$make_image" scans/a.tif 32 20 3 10 200
  for i in 1 2 3; do "$make_image" scans/b.tif 40 100 3 $i 20 90 40; done
  truncate -s -60 scans/b.tif
  cp plates/1.png scans/c.png
  "$make_image" page.tif 40 100 3 60 20 90 40 && mv page.tif scans/d.png
  read_pages='b.tif: is a TIFF whose directories are damaged after page 2; what follows cannot be known$'
  warns 3 "$read_pages|skipped scans/a.tif, page 2: damaged .*TIFF.*; its 8 samples are passed over\$|[0-9]+ times a tile of an unreadable image" \
    pretrain --data scans --epochs 1 --tile 32 --tile-overlap 8 --out scanned
  grep -q 'data: scans, 49 tiles of 32 x 32 pixels (8 or more common to neighbours) of 7 images (left aside, as they are not read: 1 TIFF files from a damaged directory on);' out.txt ||
    fail "tiles of pages are not told"
  warns 3 "$read_pages|skipped scans/a.tif, page 2: damaged .*TIFF|[0-9]+ times an unreadable image" pretrain --data scans --epochs 3 --out scanned-whole
  warns 2 "$read_pages|skipped: scans/a.tif, page 2: damaged .*TIFF" \
    "$programs/dssl-features" --weights random --arch nano8 --size 32 --threads 1 --data scans --out scans.npy
else
  grep -q 'this build is without libtiff$' err.txt || fail "no TIFF can be made"
  echo "pretrain: skipped: pages of TIFF files, as this build is without libtiff"
fi
fails 2 '--tile is 32; expected none with --second, which is of whole images' pretrain "${pairs[@]}" --tile 32 --out unfit
fails 2 '--tile is 32; expected none with --camera, which is of whole images' pretrain "${tiled[@]}" --camera no.yml --out unfit
fails 2 '--tile is 32; expected none with --point-weights, which is of whole images' \
  pretrain "${tiled[@]}" --sampler weighted --point-weights maps --out unfit
fails 2 '--tile-overlap is 32; expected 0 to 31, less than a tile' pretrain "${tiled[@]}" --tile-overlap 32 --out unfit
fails 2 '--tile-overlap is 4; expected 0 without tiles' pretrain --data plates --tile 0 --tile-overlap 4 --out unfit
fails 2 '--tile-overlap requires --tile' pretrain --data plates --tile-overlap 4 --out unfit
mkdir folder-of-images && cp plates/*.png folder-of-images && cp plates/1.png folder-of-images/metrics.jsonl && ln folder-of-images/metrics.jsonl folder-of-images/4.png
fails 1 'folder-of-images/metrics.jsonl: is read too, as folder-of-images/4.png by --data' pretrain --data folder-of-images --epochs 1 --tile 32 --out folder-of-images

# From a VOC folder to a report.
succeeds "$programs/dssl-scenes" --out voc --train 8 --val 4 --size 32 --classes 3
succeeds pretrain --data voc --split train --recipe dino --epochs 1 --out dino
succeeds pretrain --data voc --split train --epochs 1 --out dense
grep -q '8 images' out.txt || fail "the split is not what was read"
succeeds segment --data voc --weights random --classes 3 --out p-random
succeeds "$programs/dssl-report" --title pairs --pretrain "${runs[@]}" --segment random=p-random --out pairs.html
grep -q "Term &#39;nt-xent&#39;: loss\|Term 'nt-xent': loss" pairs.html || fail "the report has no chart of a term"
succeeds segment --data voc --weights dense/teacher.safetensors --classes 3 --out p-dense
succeeds "$programs/dssl-report" --pretrain dino=dino dense=dense --segment random=p-random dense=p-dense \
  --data voc --out report.html
for piece in '</html>' '<polyline' '<circle' 'data:image/png;base64,'; do
  grep -q "$piece" report.html || fail "the report has no $piece"
done
! grep -Eq '(src|href)="(http|/|\.)' report.html || fail "the report needs other files"
# The points that it draws are the run's: 9 + 2 of each of 2 pairs of views, in the scene and both views. Without their maps it says so.
succeeds pretrain --data voc --split train --epochs 1 --sampler grid:9+weighted --point-weights voc/SegmentationClass --out points
of_points() { "$programs/dssl-report" --pretrain points=points --segment random=p-random --data voc --scenes 1 --out points.html; }
succeeds of_points
[[ $(grep -o '<circle' points.html | wc -l) -eq 66 ]] || fail "the report does not draw the run's points"
mv voc/SegmentationClass voc/masks
succeeds of_points
grep -q 'They cannot be drawn: voc/SegmentationClass: ' points.html || fail "the report does not say that maps of weights are gone"
mv voc/masks voc/SegmentationClass
# It draws what a camera does to the run's views.
succeeds pretrain --data voc --split train --epochs 1 --views industrial --parts jpeg=95 --out plant
of_plant() { "$programs/dssl-report" --pretrain plant=plant --segment random=p-random --data voc --scenes 1 --out plant.html; }
succeeds of_plant
mv plant.html compressed.html
sed -i 's/jpeg=95/jpeg=0/' plant/options.json
succeeds of_plant
! cmp -s plant.html compressed.html || fail "the report does not draw what the camera does"
sed -i 's/jpeg=0/jpg=0/' plant/options.json
fails 1 "plant/options.json: option 'parts' is jpg=0; expected NAME=STRENGTH" of_plant
# Of pairs there are no views in one folder, and of a camera's run only where images have its size.
succeeds "$programs/dssl-report" --pretrain pairs=pairs --segment random=p-random --data voc --out points.html
grep -q 'They cannot be drawn: pairs sees pairs of images of two cameras' points.html || fail "the report draws views of pairs as those of one image"
succeeds "$programs/dssl-report" --pretrain tiled=tiled --segment random=p-random --data voc --out points.html
grep -q 'They cannot be drawn: tiled sees tiles of images' points.html || fail "the report draws views of tiles as those of whole images"
if reads_calibrations; then
  of_lens() { "$programs/dssl-report" --pretrain lens=lens --segment random=p-random --data "$1" --scenes 2 --out points.html; }
  drawn() { grep -o 'the scene and its views' points.html | wc -l; }
  cp -r voc mixed
  other_size() { "$make_image" mixed/JPEGImages/$1.jpg 24 32 3; }
  other_size "$(head -n 1 voc/ImageSets/Segmentation/train.txt)"
  succeeds of_lens mixed
  [[ $(drawn) -eq 2 ]] || fail "an image of another size is not passed over by the report"
  while read -r name; do other_size "$name"; done <voc/ImageSets/Segmentation/train.txt
  succeeds of_lens mixed
  grep -q 'They cannot be drawn: mixed has no image of the size of the camera of lens' points.html || fail "the report does not say that no image is the camera's"
fi

# A VOC folder without a split gives its images and never its masks.
succeeds pretrain --data voc --epochs 1 --out all
grep -q '12 images' out.txt || fail "a VOC folder does not give all its images"

# The embedding example.
succeeds "$programs/dssl-minimal"
[[ -s teacher.safetensors ]] || fail "the minimal example leaves no teacher"

echo "programs: all as they should be"
