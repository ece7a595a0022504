#!/usr/bin/env bash
# dssl-show: every kind of picture, of images of any channels, with weights of a run; and what it says of bad input.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

size=32
show() { "$programs/dssl-show" --threads 1 --arch nano8 --size $size "$@"; }
# is_png FILE WIDTH HEIGHT
is_png() {
  [[ $(head -c 8 "$1" | od -An -tx1 | tr -d ' \n') == 89504e470d0a1a0a ]] || fail "$1 is no PNG"
  local size
  size=$(od -An -tu1 -j16 -N8 "$1" | awk '{print (($1*256+$2)*256+$3)*256+$4, (($5*256+$6)*256+$7)*256+$8}')
  [[ $size == "$2 $3" ]] || fail "$1 has $size pixels, not $2 $3"
}

succeeds "$programs/dssl-scenes" --out voc --train 6 --val 2 --size 32 --classes 3
images=(voc/JPEGImages/000000.jpg voc/JPEGImages/000001.jpg)

# Sizes: 32 pixels drawn twice as large, a gap of 4 around each, 8 rows for captions.
succeeds show "${images[@]}" --kind attention --weights random --out attention.png
is_png attention.png $((4 + 6 * 68)) $((4 + 2 * (8 + 68)))
succeeds show "${images[@]}" --kind attention --weights random --point 0.2 0.7 --block 0 --out point.png
succeeds show "${images[@]}" --kind attention --weights random --point 0.2 0.7 --query patch --out patch.png
! cmp -s attention.png point.png || fail "a reference token attends as the class token does"
succeeds show voc/JPEGImages --count 3 --kind pca --weights random --out pca.png
is_png pca.png $((4 + 4 * 68)) $((4 + 2 * (8 + 68)))
grep -Eq 'components: [0-9.]+ % [0-9.]+ % [0-9.]+ % of the variance of 48 patches' out.txt || fail "no shares of variance"
succeeds show voc/JPEGImages --count 3 --kind pca --weights random --foreground 0.4 --enlarge bilinear --out front.png
succeeds show "${images[@]}" --kind similarity --weights random --point 0.5 0.5 --out similarity.png
succeeds show "${images[@]}" --kind similarity --weights random --point 0.5 0.5 --query reference --out reference.png
! cmp -s similarity.png reference.png || fail "a reference token is taken for a patch"
succeeds show "${images[@]}" --kind correspondence --weights random --out pair.png
grep -Eq '16 patches, [0-9]+ mutual matches' out.txt || fail "matches are not counted"
succeeds show "${images[0]}" --kind correspondence --weights random --out views-of-one.png
grep -q 'within 1.5 patches of where they belong' out.txt || fail "matches of views are not judged"
# An image and itself: every patch is its own match.
succeeds show "${images[0]}" "${images[0]}" --kind correspondence --weights random --matches 0 --out itself.png
grep -q '16 patches, 16 mutual matches, 16 shown' out.txt || fail "patches of an image are not found in itself"
succeeds show synthetic --count 2 --kind views --locals 3 --local-scale 0.05 0.3 --out views.png
is_png views.png $((4 + 6 * 68)) $((4 + 2 * (8 + 68)))
# The points of other samplers, by maps of weights too.
succeeds show "${images[@]}" --kind views --points 4 --out random.png
for sampler in grid salient weighted; do
  weights=()
  [[ $sampler != weighted ]] || weights=(--point-weights voc/SegmentationClass)
  succeeds show "${images[@]}" --kind views --points 4 --sampler $sampler "${weights[@]}" --out $sampler.png
  ! cmp -s random.png $sampler.png || fail "--sampler $sampler draws random points"
done
grep -q '2 of 2 images have a weight map; 6 weight maps belong to no image' out.txt || fail "maps of weights are not counted"
fails 2 '--sampler is random:1001; expected at most 1000 points' show "${images[@]}" --kind views --sampler random:1001 --out o.png
fails 2 '--sampler is random.attention; expected points that no teacher draws' show "${images[@]}" --kind views --sampler random+attention --out o.png
fails 2 '--sampler is even; expected none with --kind pca, but with views' show "${images[@]}" --kind pca --weights random --sampler even
succeeds show "${images[@]}" --kind views --points 4 --rotate 40 --perspective 0.3 --out turned.png
! cmp -s random.png turned.png || fail "--rotate and --perspective draw upright views"
# Crops by pixels are those of the shares that so many pixels are of the image.
"$make_image" large.png 64 96 3
succeeds show large.png --kind views --points 4 --global-zoom 1 1 --local-zoom 1 2 --out by-pixels.png
succeeds show large.png --kind views --points 4 --global-scale 0.16666666666666666 0.16666666666666666 \
  --local-scale 0.041666666666666664 0.16666666666666666 --out by-shares.png
cmp by-pixels.png by-shares.png || fail "crops by pixels are not those of their shares of the image"
succeeds show large.png --kind views --points 4 --global-zoom 2 2 --local-zoom 1 2 --out nearer.png
! cmp -s by-pixels.png nearer.png || fail "--global-zoom changes nothing"
for said in global-scale local-scale global-zoom local-zoom; do
  fails 2 "--$said is 0.5 1; expected none with --kind pca, but with views and correspondence" show "${images[@]}" --kind pca --weights random --$said 0.5 1
done
fails 2 '--rotate is 40; expected 0 with --kind pca, but with views' show "${images[@]}" --kind pca --weights random --rotate 40
fails 2 '--rotate: Value 181 not in range' show "${images[@]}" --kind views --rotate 181 --out o.png
# What a camera does to views.
for views in "--views mobile" "--parts shot_noise=0.2" "--vertical-flip 1" "--quarter-turns 1"; do
  succeeds show "${images[@]}" --kind views --points 4 $views --out changed.png
  ! cmp -s random.png changed.png || fail "$views changes nothing"
done
succeeds show "${images[@]}" --kind views --points 4 --views mobile --parts \
  exposure=0,gamma=0,white_balance=0,grey_world=0,vignetting=0,shot_noise=0,read_noise=0,defocus=0,motion_blur=0,jpeg=0 --out without.png
cmp random.png without.png || fail "parts of strength 0 change views"
for said in "views mobile" "parts jpeg=20" "vertical-flip 1" "quarter-turns 0.5"; do
  fails 2 "--${said/ / is }; expected none with --kind pca, but with views" show "${images[@]}" --kind pca --weights random --$said
done
fails 2 '--views is new_camera; expected old_camera, line_scan, mobile, industrial' show "${images[@]}" --kind views --views new_camera --out o.png
fails 2 '--parts is jpeg=1@2; expected jpeg with a probability' show "${images[@]}" --kind views --parts jpeg=1@2 --out o.png
# Through a lens, where the build reads calibrations.
calibration 32 32 -0.4 >camera.yml
fails 2 '--camera is camera.yml; expected none with --kind pca, but with views' show "${images[@]}" --kind pca --weights random --camera camera.yml
if reads_calibrations; then
  succeeds show "${images[@]}" --kind views --points 4 --camera camera.yml --out bent.png
  ! cmp -s random.png bent.png || fail "--camera corrects nothing"
  calibration 32 48 -0.4 >other.yml
  fails 1 'has 32 x 32 pixels; expected the camera.s 32 x 48' show "${images[@]}" --kind views --camera other.yml --out o.png
  fails 1 "--camera.*camera.yml|camera.yml.*--camera" show "${images[@]}" --kind views --camera camera.yml --out camera.yml
fi
# Pairs of two cameras: the second view is of the second's picture, and points are on the same things.
mkdir -p of-second
cp "${images[1]}" "of-second/$(basename "${images[0]}")"
cp "${images[0]}" "of-second/$(basename "${images[1]}")"
succeeds show "${images[@]}" --kind views --points 4 --second of-second --out pairs.png
! cmp -s random.png pairs.png || fail "--second shows nothing of the second camera"
succeeds show "${images[0]}" --kind views --points 4 --second of-second --out pair.png
fails 2 '--second is of-second; expected none with --kind pca, but with views' show "${images[@]}" --kind pca --weights random --second of-second
if reads_calibrations; then  # through a lens, and a map that leads a quarter of the picture away
  calibration 32 32 -0.4 >second.yml
  homography '1., 0., 8., 0., 1., 0., 0., 0., 1.' >between.yml
  succeeds show "${images[@]}" --kind views --points 4 --second of-second --second-camera second.yml --out second-bent.png
  ! cmp -s pairs.png second-bent.png || fail "--second-camera corrects nothing"
  succeeds show "${images[@]}" --kind views --points 4 --second of-second --between between.yml --out between.png
  ! cmp -s pairs.png between.png || fail "--between leads to the same place"
  is_png between.png $((4 + 6 * 68 + 36)) $((4 + 2 * (8 + 68)))  # the second camera's picture too
  fails 1 "has 32 x 32 pixels; expected its camera.s 32 x 48" show "${images[@]}" --kind views --second of-second --second-camera other.yml --out o.png
fi
fails 2 '--between requires --second' show "${images[@]}" --kind views --between between.yml
rm "of-second/$(basename "${images[1]}")"
fails 1 "1 of 2 images have no second camera's image of their name" show "${images[@]}" --kind views --second of-second --out o.png
succeeds show "${images[@]}" --kind overlay --zoom 1 --masks voc/SegmentationClass/00000{0,1}.png --out masks.png
is_png masks.png $((4 + 2 * 36)) $((4 + 2 * (8 + 36)))
succeeds show "${images[@]}" --kind overlay --heat "${images[@]}" --out heat.png
# The same arguments draw the same picture.
succeeds show "${images[@]}" --kind attention --weights random --out again.png
cmp attention.png again.png || fail "the same sheet is drawn in two ways"

# An image of a folder that cannot be read is passed over and counted; one that was named, or all of them, is an error.
mkdir -p partly none
cp voc/JPEGImages/00000[0-3].jpg partly
head -c 100 partly/000000.jpg >partly/000001.jpg
warns 1 'dssl-show: warning: 1 of 4 images of folders cannot be read and are not shown, the first .*partly/000001.jpg: ' \
  show partly --kind pca --weights random --out partly.png
is_png partly.png $((4 + 4 * 68)) $((4 + 2 * (8 + 68)))
fails 1 'partly/000001.jpg' show partly/000001.jpg voc/JPEGImages --kind pca --weights random --out no.png
cp partly/000001.jpg none/a.jpg
cp partly/000001.jpg none/b.jpg
fails 1 'none of 2 images can be read, the first .*none/a.jpg' show none --kind pca --weights random --out no.png

# Weights of a run; another number of channels; images that are not square.
succeeds pretrain "${scenes[@]}" --epochs 1 --out run
succeeds show "${images[@]}" --kind attention --weights run/teacher.safetensors --point 0.5 0.5 --out run.png
grep -q 'weights run/teacher.safetensors' out.txt || fail "the weights are not named"
succeeds pretrain "${scenes[@]}" --epochs 1 --recipe dino --out dino
succeeds show "${images[@]}" --kind pca --weights dino/teacher.safetensors --out dino.png
fails 1 'trained without reference tokens' \
  show "${images[@]}" --kind similarity --query reference --point 0 1 --weights dino/teacher.safetensors --out no.png
fails 1 'trained without reference tokens' \
  show "${images[@]}" --kind similarity --query reference --point 0 1 --weights dino/checkpoint.safetensors --out no.png
succeeds pretrain "${scenes[@]}" --epochs 1 --relation open --out open
fails 1 'trained with relation open' \
  show "${images[@]}" --kind attention --point 0 1 --weights open/teacher.safetensors --out no.png
succeeds show "${images[@]}" --kind attention --weights open/teacher.safetensors --out open.png
succeeds pretrain "${scenes[@]}" --epochs 1 --recipe densedino-local --out local
succeeds show "${images[@]}" --kind similarity --query reference --point 0 1 --weights local/teacher.safetensors --out local.png
succeeds show "${images[@]}" --kind similarity --query reference --point 0 1 --weights local/checkpoint.safetensors --out same.png
cmp local.png same.png || fail "a checkpoint's references are shown otherwise than the weights'"
# Maps of references.
succeeds show "${images[@]}" --kind pca --weights local/teacher.safetensors --read references --reference-points 4x --out grid.png
grep -q 'of the variance of 512 references' out.txt || fail "there are not 16 references a patch"
succeeds show "${images[@]}" --kind similarity --query reference --point 0 1 --weights local/teacher.safetensors --read references --out at-centres.png
! cmp -s at-centres.png local.png || fail "a map of references is one of patches"
succeeds show "${images[@]}" --kind similarity --query reference --point 0 1 --weights local/teacher.safetensors --read references \
  --reference-points 2x --out asked.png
succeeds show "${images[0]}" "${images[0]}" --kind correspondence --weights local/teacher.safetensors --read references --reference-points 2x \
  --matches 0 --out itself.png
grep -q '64 references, 64 mutual matches, 64 shown' out.txt || fail "references of an image are not found in itself"
fails 2 '--read is references; expected patches with --kind attention' show "${images[@]}" --kind attention --weights random --read references --out no.png
fails 2 '--reference-points is 2x; expected --read references with it' show "${images[@]}" --kind pca --weights random --reference-points 2x --out no.png
fails 2 '--reference-points is 0:0; expected 1x to 64x' \
  show "${images[@]}" --kind pca --weights random --read references --reference-points 0:0 --out no.png
fails 1 'trained without reference tokens' show "${images[@]}" --kind pca --weights dino/teacher.safetensors --read references --out no.png
"$make_image" one.png 40 50 1
"$make_image" four.png 64 40 4
size=32x48 succeeds show one.png four.png --channels 1 --kind attention --weights random --out grey.png
is_png grey.png $((4 + 6 * 100)) $((4 + 2 * (8 + 68)))
succeeds show one.png four.png --channels 1 --kind views --out grey-views.png

# The example of two pictures: in a picture and itself, each of 12 x 12 patches is its own nearest.
succeeds "$programs/dssl-nearest-two" run/teacher.safetensors "${images[0]}" "${images[0]}"
[[ $(wc -l <out.txt) -eq 144 ]] || fail "not a line a patch"
awk '$2 != $6 || $4 != $8 { exit 1 }' <(sed 's/[:,]//g' out.txt) || fail "a patch is not its own nearest"
fails 1 'nowhere.png: ' "$programs/dssl-nearest-two" run/teacher.safetensors "${images[0]}" nowhere.png

# Bad input: one line each, and no picture.
fails 2 "--point is not given; expected X Y for --kind similarity" \
  show "${images[@]}" --kind similarity --weights random --out no.png
fails 2 "--point is 1.5; expected shares" show "${images[@]}" --kind similarity --weights random --point 1.5 0 --out no.png
fails 2 "--weights is not given" show "${images[@]}" --kind pca --out no.png
fails 2 "--query is class; expected none for --kind pca" \
  show "${images[@]}" --kind pca --weights random --query class --out no.png
fails 2 'kind' show "${images[@]}" --kind beauty --weights random --out no.png
size=31x fails 2 "--size is 31x; expected a number" show "${images[@]}" --kind pca --weights random --out no.png
size=33 fails 2 'multiple of the patch' show "${images[@]}" --kind pca --weights random --out no.png
fails 2 "--block is 6; expected -6 to 5" show "${images[@]}" --kind attention --weights random --block 6 --out no.png
fails 2 "'images' is 3; expected one image" \
  show voc/JPEGImages --count 3 --kind correspondence --weights random --out no.png
fails 1 'nowhere.jpg: ' show nowhere.jpg --kind pca --weights random --out no.png
fails 1 'nowhere.safetensors' show "${images[@]}" --kind pca --weights nowhere.safetensors --out no.png
# Masks and heat maps are an image's by their names, whatever the order and the number of files.
fails 1 '1 of 2 images have no mask of their name among 1, the first 000001' \
  show "${images[@]}" --kind overlay --masks voc/SegmentationClass/000000.png --out no.png
mkdir some
cp voc/SegmentationClass/00000{1,2,3,4,5,6}.png some
fails 1 '1 of 3 images have no mask of their name among 6, the first 000000' \
  show voc/JPEGImages --count 3 --kind overlay --masks some --out no.png
succeeds show voc/JPEGImages --count 3 --kind overlay --masks some voc/SegmentationClass/00000{0,7}.png --out folders.png
succeeds show voc/JPEGImages --count 3 --kind overlay --masks voc/SegmentationClass --out all.png
cmp folders.png all.png || fail "where masks lie changes which image they belong to"
succeeds show "${images[@]}" --kind overlay --masks voc/SegmentationClass/00000{1,0}.png --out turned.png
succeeds show "${images[@]}" --kind overlay --masks voc/SegmentationClass/00000{0,1}.png --out straight.png
cmp turned.png straight.png || fail "the order of masks changes which image they belong to"
# img1, img10, img2 sort otherwise than their masks.
mkdir odd odd-masks
for pair in 1:0 10:1 2:2; do
  cp "voc/JPEGImages/00000${pair#*:}.jpg" "odd/img${pair%:*}.jpg"
  cp "voc/SegmentationClass/00000${pair#*:}.png" "odd-masks/img${pair%:*}_mask.png"
done
succeeds show odd --count 3 --kind overlay --masks odd-masks --out odd.png
succeeds show odd --count 3 --kind overlay --masks odd-masks/img{1,10,2}_mask.png --out named.png
cmp odd.png named.png || fail "masks of folders are paired by order"
# Names that do not fit leave the order of single files, which is said.
cp voc/SegmentationClass/000000.png x.png
cp voc/SegmentationClass/000001.png y.png
succeeds show "${images[@]}" --kind overlay --masks x.png y.png --out order.png
grep -q 'no mask is named after its image: paired in their order' out.txt || fail "pairing by order is not said"
fails 1 'has 40 x 50 pixels, its image 32 x 32' show "${images[0]}" --kind overlay --heat one.png --out no.png
fails 2 "one of --masks and --heat" show "${images[@]}" --kind overlay --out no.png
[[ ! -e no.png ]] || fail "a picture was written in spite of an error"
fails 1 'nowhere/' show "${images[@]}" --kind views --out nowhere/o.png

echo "dssl-show: all as it should be"
