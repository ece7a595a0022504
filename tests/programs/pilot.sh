#!/usr/bin/env bash
# dssl-defect-pilot: one page that needs no other file, with figures that can be known; pretraining; bad input.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$tools/dssl_make_inspection" set 40 0 20
frozen() { "$programs/dssl-defect-pilot" --arch nano8 --channels 1 --masks set/masks/spot --smoothing 2 "$@"; }
bare() { frozen --tune-steps 0 "$@"; }
pilot() { bare --size 40x56 --threads 1 --normal set/normal --defects set/test/spot "$@"; }

# Bright spots make an image brighter: that this alone tells them is a warning of every run.
bright='warning: the mean brightness of the image alone tells the test.s defects from its normal images'
warns 1 "$bright" pilot --weights random --labels 1,3 --draws 2 --false-alarms 0.2 --shown 2 --out run
for piece in '</html>' '<polyline' 'data:image/png;base64,' 'What labels buy' 'old camera' 'missed at 1 %'; do
  grep -q "$piece" run/report.html || fail "the report has no $piece"
done
! grep -Eq '(src|href)="(http|/|\.)' run/report.html || fail "the report needs other files"
[[ $(grep -o 'data:image/png' run/report.html | wc -l) -eq 6 ]] || fail "not 2 best, 2 worst and 2 normal cases"
[[ $(value run/result.json images) == \
  '{"held_out":5,"labelled_defects":12,"learned":19,"test_defects":8,"test_normal":16,"unreadable":0}' ]] ||
  fail "the images are split otherwise"
# Ways: normal images alone; labels alone and both for 1, 3 and all 12; local filters, and with labels; pixel differences. Draws: one of all.
labels=$(value run/result.json ways | grep -o '"labels":[0-9]*' | tr -cd '0-9\n' | tr '\n' ' ')
[[ $labels == '0 1 1 3 3 12 12 0 1 3 12 0 ' ]] || fail "the ways are others: $labels"
[[ $(value run/result.json ways | grep -o '"auroc"' | wc -l) -eq 18 ]] || fail "the draws are others"
first=$(value run/result.json ways | grep -o '"auroc":[0-9.]*' | head -1 | cut -d: -f2)
above "$first" 0.99 "AUROC of normal images alone"
above "$(value run/result.json exposures "as taken" "pixel differences" auroc)" 0.9 "AUROC of pixel differences"
above "$(value run/result.json exposures "as taken" "local filters" auroc)" 0.9 "AUROC of local filters"
# Trees beside the filters, for each draw; what they chose is told, and in the first sentence.
[[ $(value run/result.json filters | grep -o '"images":[0-9]*' | tr -cd '0-9\n' | tr '\n' ' ') == '1 1 3 3 12 ' ]] || fail "not every draw is told of"
figure=$(value run/result.json ways | grep -o '"auroc":[0-9.]*[^{]*"labels":12,"way":"local filters, with labels"' | grep -o '[0-9.]*' | head -1)
above "$figure" 0.9 "AUROC of local filters with labels"
grep -q 'Fixed filters without a backbone miss <b>' run/report.html || fail "the first sentence knows nothing of filters"
[[ $(value run/result.json exposures | grep -o '"random weights"' | wc -l) -eq 7 ]] || fail "not every exposure was tried"

# What can be relied on, in words, where it is looked for first: of the bank that finds all 8 by 16 good ones no more than a help,
# and as bright spots make an image brighter, with a reservation.
words='Can be relied on as a help beside an inspector, not in their place[.] Set to stop 5 of 100 good images, it finds 100 of 100 with a defect without a label, '
words+='and [0-9]+ with the masks of 12 images; tested by 16 images without a defect and 8 images with one, it may find [0-9]+ to 100 of 100 with(out| the labels)[.] '
words+="On other images it may find fewer: the mean brightness of the image alone tells this test.s defects[.]"
value run/result.json verdict | grep -Eq "^\"?$words\"?$" || fail "result.json says $(value run/result.json verdict)"
grep -Eq "<p><b>$words</b></p>" run/report.html || fail "the report does not begin with what can be relied on"
tail -n 2 out.txt | head -n 1 | grep -Eq "^$words$" || fail "the program does not end with what can be relied on: $(tail -n 2 out.txt)"

# What scores may follow in place of defects: the area, the same for all, tells nothing.
[[ $(value run/result.json confounders "size of the image (its area in pixels)") == 0.5 ]] || fail "one size tells images apart"
above "$(value run/result.json confounders "mean brightness of the image")" 0.9 "AUROC of brightness"
[[ $(value run/result.json choice) == null ]] || fail "something was chosen that nobody asked for"
above "$(value run/result.json highest_patch_in_outer_two by_chance)" 0.9 "patches in the outer two of 5 x 7"
grep -q 'What scores may follow in place of defects' run/report.html || fail "the report has no confounders"

# Labelled images whose defects lie in the border teach nothing: the study goes on without them, and says so.
mkdir edges
for i in $(seq -w 0 19); do "$tools/dssl_make_image" edges/$i.png 40 56 1 255 0 0 0 0 0 0; done
warns 1 "$bright" "$programs/dssl-defect-pilot" --arch nano8 --channels 1 --masks edges --size 40x56 --tune-steps 0 --threads 1 \
  --normal set/normal --defects set/test/spot --border 2 --weights random --labels 1 --draws 1 --false-alarms 0.2 --shown 0 --out edge
[[ $(grep -c '^random weights: no label was learned from: no patch ' out.txt) -eq 2 ]] || fail "it is not said that nothing was learned"
nothing=$(value edge/result.json nothing_learned | grep -o '"draw":0,"labels":[0-9]*,"way":"random weights","why":"no patch ' | tr -cd '0-9\n' | tr '\n' ' ')
[[ $nothing == '01 012 ' && $(value run/result.json nothing_learned) == '[]' ]] || fail "result.json does not tell what nothing was learned from: $nothing"
grep -q 'Nothing could be learned from some labels, which count above as if there were none: random weights, 1 label, draw 1: no patch ' edge/report.html ||
  fail "the report does not tell what nothing was learned from"
grep -q 'Nothing could be learned' run/report.html && fail "the report tells of labels that nothing was learned from where there are none"
[[ $(value edge/result.json ways 1 draws 0 auroc) == 0.5 && $(value edge/result.json ways 2 draws 0 auroc) == "$(value edge/result.json ways 0 draws 0 auroc)" ]] ||
  fail "a head without labels tells images apart"

# Settings chosen by pasted defects: of 72, the best first, in the report, by normal images to learn from alone. Test images
# of other content change nothing of it; what was chosen is what the study is made with.
chosen() {
  bare --size 40x56 --threads 1 --defects set/test/spot --weights random --labels 1 --draws 1 --false-alarms 0.2 --shown 1 --choose \
    --choose-images 20 "$@"
}
warns 1 "$bright" chosen --normal set/normal --out chosen
grep -q 'How the settings were chosen' chosen/report.html || fail "the report does not say what was chosen"
grep -q 'pasted defects on 3 normal images, of 108 settings: ' out.txt || fail "the choice is not said"
[[ $(value chosen/result.json choice tried | grep -o '"found"' | wc -l) -eq 108 ]] || fail "not 108 settings were tried"
for key in border standardise_features standardise_images top tiles free_of_size; do
  [[ $(value chosen/result.json choice tried 0 "$key") == "$(value chosen/result.json look "$key")" ]] || fail "$key is not as chosen"
done
cp -r set painted
for i in 25 30 35; do cp set/test/spot/00.png painted/normal/$i.png; done
chosen --normal painted/normal --out painted-run >out.txt 2>err.txt || fail "other test images end the run"
[[ $(value chosen/result.json choice) == "$(value painted-run/result.json choice)" ]] || fail "test images take part in the choice"

# Beside the frozen path the whole backbone is trained, by crops: two ways more for each number of labels. The first sentence
# names the way that did best on labelled images that were held out.
tuned_by() {
  frozen --defects set/test/spot --weights random --draws 1 --false-alarms 0.2 --shown 0 --crop-overlap 8 \
    --tune-batch 4 --tune-rate 2e-3 --tune-steps 30 --look-every 15 --folds 2 "$@"
}
tuned() { tuned_by --normal set/normal --labels 1 --size 40x56 --crop 24 "$@"; }
warns 1 "$bright" tuned --threads 1 --out tuned
[[ $(value tuned/result.json ways | grep -o '"labels":[0-9]*' | tr -cd '0-9\n' | tr '\n' ' ') == '0 1 1 1 1 12 12 12 12 0 1 12 0 ' ]] || fail "the tuned ways are not there"
[[ $(value tuned/result.json tuned trainings) == 4 ]] || fail "not 1 training of one label and 2 + 1 of all 12"
[[ $(value tuned/result.json held_out_labelled | grep -o '"auroc"' | wc -l) -eq 4 ]] || fail "not 4 ways are compared on held-out labelled images"
best=$(value tuned/result.json held_out_labelled 0 way | tr -d '"')
grep -q "($best, the best on labelled images that were held out)" tuned/report.html || fail "the first sentence is not of the best way, $best"
figure=$(value tuned/result.json ways | grep -o '"auroc":[0-9.]*[^{]*"labels":12,"way":"random weights, tuned on labels"' | grep -o '[0-9.]*' | head -1)
above "$figure" 0.9 "AUROC of a backbone trained on 12 bright spots"
grep -q 'Training the backbone on labels' tuned/report.html || fail "the report does not say what was trained"
warns 1 "$bright" tuned --threads 2 --out tuned-two
[[ $(value tuned/result.json ways) == "$(value tuned-two/result.json ways)" ]] || fail "two threads tune otherwise"
# Which labelled images were drawn is told, and what the tuned ways took. Test images of other content change nothing of the
# choice among the ways.
[[ $(value tuned/result.json drawn | grep -o '"labels":[0-9]*' | tr -cd '0-9\n' | tr '\n' ' ') == '1 12 ' &&
  $(value tuned/result.json drawn 1 images | grep -o 'spot/[0-9]*' | sort -u | wc -l) -eq 12 ]] || fail "the drawn images are not told"
drawn=$(value tuned/result.json drawn 1 images | grep -o 'spot/[0-9]*')
[[ $drawn == "$(sort <<<"$drawn")" ]] || fail "drawn images are not in the list's order, so that folds mix pieces"
[[ $(value tuned/result.json tuned draws | grep -o '"processor_seconds":[0-9.]*' | wc -l) -eq 2 ]] || fail "what tuning took is not told"
tuned_by --normal painted/normal --labels 100 --size 40x56 --crop 24 --threads 1 --out tuned-painted >out.txt 2>err.txt || fail "other test images end the tuned run"
[[ $(value tuned/result.json held_out_labelled) == "$(value tuned-painted/result.json held_out_labelled)" ]] || fail "test images take part in the choice of a way"
[[ $(value tuned/result.json ways 0) != "$(value tuned-painted/result.json ways 0)" ]] || fail "the painted test is not another"
# At half the scale images have fewer patches, in the tuned path alone.
fails 1 'has 3 x 4 patches; a border of 2 leaves none of them' tuned_by --normal set/normal --size 80x112 --crop 16 --crop-scale 0.5 --border 2 --threads 1 --out o
fails 2 '--scale is 0.5; expected none without --tiles or --choose' pilot --weights random --scale 0.5 --out o
fails 2 '--overlap is 8; expected none without --tiles or --choose' pilot --weights random --overlap 8 --out o
# The border is left out of the tuned path's windows too: at their own resolution images have 5 x 7 patches.
fails 1 'has 5 x 7 patches; a border of 3 leaves none of them' tuned_by --normal set/normal --labels 1 --size 80x112 --crop 24 --border 3 --threads 1 --out o
fails 2 '--read is references; expected patches with --tune-steps above 0' tuned --read references --threads 1 --out o
fails 2 '--crop is 20; expected multiples of the patch, 8 pixels' tuned_by --normal set/normal --labels 1 --size 40x56 --crop 20 --out o

# A border that leaves nothing of an image at the tuned path's scale is not chosen, and the report says why.
warns 1 "$bright" tuned_by --normal set/normal --labels 100 --size 80x112 --crop 16 --crop-scale 0.5 --choose \
  --choose-images 10 --threads 1 --out apart
[[ $(value apart/result.json choice tried | grep -o '"border":[0-9]*' | sort -u) == '"border":0' ]] || fail "a border that ends the run is among the choices"
[[ $(value apart/result.json choice left_out) == *'border 2, with labels, at --crop-scale: '*'has 3 x 4 patches; a border of 2 leaves none of them'* ]] ||
  fail "it is not told why a border was left out"
grep -q 'Left out, as they cannot be for these images.*' apart/report.html || fail "the report does not say what was left out"
[[ $(value chosen/result.json choice left_out) == '[]' ]] || fail "a border is left out that leaves patches of every image"

# A foreground: of 5 x 7 patches the left four columns, in every way. Two of these 20 are not in the outer two rows or columns.
"$make_image" part.png 40 56 1 255 0
warns 1 "$bright" pilot --weights random --labels 3 --draws 1 --false-alarms 0.2 --shown 1 --foreground part.png --out parted
awk -v s="$(value parted/result.json highest_patch_in_outer_two by_chance)" 'BEGIN { exit !(s > 0.8999 && s < 0.9001) }' || fail "patches off the foreground count"
[[ $(value parted/result.json look foreground_masks) == true && $(value parted/result.json settings foreground) == '"part.png"' ]] || fail "the foreground is not told"
grep -q 'foreground by masks' parted/report.html || fail "the report does not tell of the foreground"
tuned --threads 1 --foreground part.png --out parted-tuned >out.txt 2>err.txt || fail "the tuned path has no foreground"
[[ $(value parted-tuned/result.json ways) != "$(value tuned/result.json ways)" ]] || fail "the tuned run looks at all of the images"
fails 2 '--fit is pad; expected stretch with a foreground and --tune-steps above 0' tuned --threads 1 --foreground part.png --fit pad --out o

# The number of threads changes no figure.
warns 1 "$bright" bare --size 40x56 --threads 2 --normal set/normal --defects set/test/spot --weights random --labels 1,3 --draws 2 \
  --false-alarms 0.2 --shown 2 --out two
[[ $(value run/result.json ways) == "$(value two/result.json ways)" ]] || fail "two threads give other figures"

# Pretraining on what there is, and sets of their own for the test. Half of the normal images have the name of a
# mask, and are normal all the same: images with a spot counted among them would be found no better than by half.
mkdir own
cp -r set/normal own/normal
cp -r set/test/spot own/spot
warns 1 "$bright" pilot --pretrain 1 --labels 1 --draws 1 --false-alarms 0.2 --shown 0 --test-normal own/normal --test-defects own/spot --out trained
[[ -s trained/pretraining/teacher.safetensors ]] || fail "nothing was pretrained"
[[ $(value trained/result.json images held_out) == 8 ]] || fail "not the last fifth is held out"
[[ $(wc -l <trained/pretraining.txt) -eq 52 && $(grep -c '/set/normal/' trained/pretraining.txt) -eq 32 ]] ||
  fail "not the 32 normal images of the bank and 20 defects are trained on"
! grep -Eq '/set/normal/3[2-9]|/own/' trained/pretraining.txt || fail "held-out or test images are trained on"
[[ $(value trained/result.json ways | grep -o '"pretrained' | wc -l) -eq 5 ]] || fail "the pretrained backbone has no curve"
[[ $(value trained/result.json images test_normal) == 40 ]] || fail "the test set is another"
above "$(value trained/result.json exposures "as taken" "random weights" auroc)" 0.95 "AUROC where names coincide"

fails 2 "--weights is not given" pilot --out o
fails 2 "--weights is random" pilot --weights random --pretrain 2 --out o
fails 2 "--test-normal is given alone" pilot --weights random --test-normal set/normal --out o
fails 2 "--false-alarms is 1" pilot --weights random --false-alarms 1 --out o
fails 2 '--masks' "$programs/dssl-defect-pilot" --weights random --normal set/normal --defects set/test/spot --out o
fails 2 '--border is 3; expected 0 to 2, as images have 5 x 7 patches' pilot --weights random --border 3 --out o
fails 2 '--overlap is 40; expected 0 to 32 pixels' pilot --weights random --tiles --overlap 40 --out o
fails 1 'nowhere' pilot --weights random --test-normal nowhere --test-defects set/test/spot --out o
fails 1 'normal/00.png: is among the normal images to learn from and the normal images of the test \(32 of 40 are\)' \
  pilot --weights random --test-normal set/normal --test-defects own/spot --out o
mkdir linked
for i in 00 01 02 03; do ln set/test/spot/$i.png linked/$i.png; done
fails 1 'linked/00.png: is among the images with defects to learn from and the images with defects of the test \(4 of 4 are\)' \
  pilot --weights random --test-normal own/normal --test-defects linked --out o
rm -r linked
# What can be known before pretraining is said before it.
fails 2 "--coreset is 0" pilot --pretrain 1 --coreset 0 --out o
fails 2 "--blocks is 9" pilot --pretrain 1 --blocks 9 --out o
fails 2 "--size is 41" bare --size 41 --threads 1 --normal set/normal --defects set/test/spot --pretrain 1 --out o
rm set/masks/spot/03.png
fails 1 '1 of 12 images with defects have no mask' pilot --pretrain 1 --out o
[[ ! -e o/pretraining.txt ]] || fail "pretraining begins before what can be known is checked"
fails 1 '1 of 12 images with defects have no mask' pilot --weights random --out o
[[ ! -e o/report.html ]] || fail "a failure leaves a report"

echo "pilot: all as it should be"
