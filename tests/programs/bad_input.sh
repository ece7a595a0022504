#!/usr/bin/env bash
# Bad input: each is one clear line on stderr and a status that is not 0, and nothing good is lost.
page=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../docs/data.md")
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$programs/dssl-scenes" --out voc --train 40 --val 4 --size 32 --classes 3 >out.txt
images=voc/JPEGImages

# Single unreadable images are named, passed over and counted.
mkdir some
cp $images/00000{0..9}.jpg $images/00001{0..9}.jpg some
head -c 300 $images/000020.jpg >some/truncated.jpg
printf '\x89PNG\r\n\x1a\nnothing of a picture' >some/broken.png
echo 'I am no picture.' >some/text.jpg
: >some/empty.png
warns 5 'warning: ' pretrain --data some --epochs 1 --out skipped
for name in truncated.jpg broken.png text.jpg empty.png; do
  [[ $(grep -c "$name" err.txt) -eq 1 ]] || fail "$name is not named once"
done
grep -q '[0-9] times an unreadable image was passed over' err.txt || fail "unreadable images are not counted"

# Too many of them end the run.
mkdir many
cp $images/00000{0..9}.jpg many
for i in $(seq 30); do echo 'no picture' >many/text$i.jpg; done
status=0
pretrain --data many --epochs 4 --out too-many >out.txt 2>err.txt || status=$?
[[ $status -eq 1 ]] || fail "status $status for a folder of unreadable images"
tail -n 1 err.txt | grep -q 'images cannot be read; expected at most 10 %' || fail "too many unreadable images"
status=0
pretrain --data some --epochs 1 --max-unreadable 0 --out none >out.txt 2>err.txt || status=$?
[[ $status -eq 1 ]] || fail "status $status where no unreadable image is borne"

# Folders and lists that hold nothing, or are not there.
mkdir nothing
fails 1 'nothing: the folder holds no images' pretrain --data nothing --out o
# The page on data names the endings that were looked for, and no others; these three are not of every build.
endings() { { cat; echo .tif .tiff .webp; } | grep -o '\.[a-z]\+' | sort -u; }
cmp <(sed 's/.*(\(.*\)).*/\1/' err.txt | endings) <(grep '^An `ImageFolder` takes files by their endings' "$page" | grep -o '`\.[a-z]*`' | endings) ||
  fail "docs/data.md names other endings than a folder is searched for"
fails 1 'nowhere: No such file' pretrain --data nowhere --out o
mkdir others
cp $images/00000{0..3}.jpg others
mv others/000003.jpg others/d.jfif
echo GIF >others/a.gif
echo II >others/b.tga
echo II >others/c.TGA
succeeds pretrain --data others --epochs 1 --out others-out
grep -q 'others, 4 images (left aside, as they are not read: 1 .gif, 2 .tga);' out.txt || fail "what is left aside is not said"
rm others/*.j*
fails 1 'others: the folder holds no images .*; of kinds that cannot be read: 1 .gif, 2 .tga' pretrain --data others --out o
# Lists as editors and shells write them, by one rule for all programs.
(cd some && ls 0*.jpg >names.txt)
{ printf '\xef\xbb\xbf'; sed 's/$/ 7\r/' some/names.txt; echo '# all'; } >some/bom.lst
iconv -f utf8 -t utf16 some/names.txt >some/utf16.txt
for list in bom.lst utf16.txt; do
  succeeds pretrain --data some/$list --epochs 1 --out "list-$list"
  grep -q ' 20 images;' out.txt || fail "$list does not list 20 images"
done
echo '~/a.jpg' >list.txt
fails 1 "list.txt: none of its 1 line names a file; the first is '~/a.jpg'" pretrain --data list.txt --out o
fails 1 'is no list: line 1 holds a byte 0' pretrain --data some/000000.jpg --out o
echo '# no lines' >list.txt
fails 1 'list.txt: the list names no images' pretrain --data list.txt --out o
fails 1 "cannot read the split 'tset'; available: train, val" pretrain --data voc --split tset --out o
fails 2 '--split is train; expected' pretrain --data some --split train --out o
fails 1 'has 2 images, but an update takes .* 2 \* 2; use a smaller batch' \
  pretrain --data synthetic --synthetic-size 32 --synthetic-count 2 --accumulate 2 --out small

# Images of one pixel, and of ten thousand a side.
mkdir sizes
"$make_image" sizes/one.png 1 1 3
"$make_image" sizes/line.png 1 10000 3
"$make_image" sizes/large.png 10000 10000 1
cp $images/000000.jpg sizes
succeeds pretrain --data sizes --epochs 1 --out sizes-out

# An image that is too large is passed over like one that cannot be read.
warns 2 'large.png: has 10000 x 10000 pixels; expected at most 1000000|an unreadable image was passed over' \
  pretrain --data sizes --epochs 1 --largest-pixels 1000000 --out limited
# By default one above 2^27 pixels; 2^27 themselves are read, to where these end.
# png_of FILE HEIGHT WIDTH DEPTH COLOUR BYTES: a PNG that names this size and kind, and has so many bytes of nothing for pixels.
png_of() {
  bytes_of() { printf %08x "$1" | sed 's/../\\x&/g'; }
  local header crc
  header="IHDR$(bytes_of $3)$(bytes_of $2)\\x$(printf %02x $4)\\x$(printf %02x $5)\\0\\0\\0"
  crc=$(printf "$header" | gzip -c | tail -c 8 | od -An -N 4 -t x1 | awk '{ for (i = 4; i; --i) printf "\\x" $i }')
  { printf "\x89PNG\r\n\x1a\n\0\0\0\x0d$header$crc$(bytes_of $6)IDAT"; head -c $6 /dev/zero; } >$1
}
mkdir named
cp $images/00000{0..3}.jpg named
png_of named/above.png 8192 16385 8 0 140000
png_of named/at.png 8192 16384 8 0 140000
warns 3 'above.png: has 8192 x 16385 pixels; expected at most 134217728 |at.png: damaged PNG|[0-9]+ times an unreadable' \
  pretrain --data named --epochs 1 --max-unreadable 0.5 --out named-out

# So is one that asks for more memory than there is (1.7 GB where 1.6 are left), and the others are trained on. Not under
# sanitizers, which take all addresses for themselves.
if ! grep -q '__[at]san_init' "$programs/dssl-pretrain"; then
  mkdir vast
  cp $images/00000{0..3}.jpg vast
  png_of vast/vast.png 17000 17000 16 2 1700000
  limited() { (ulimit -v 1600000; pretrain --threads 1 --largest-pixels 300000000 --largest-bytes 2000000000 "$@"); }
  warns 2 'vast/vast.png: does not fit into memory|[0-9]+ times an unreadable image was passed over' \
    limited --data vast --epochs 1 --max-unreadable 0.5 --out vast-out
  [[ $(wc -l <vast-out/metrics.jsonl) -eq 2 ]] || fail "a run goes on otherwise after an image that memory did not hold"
fi

# Batches and points that nothing could hold are refused before anything is laid out.
fails 1 'has 8 images, but an update takes' "$programs/dssl-pretrain" "${scenes[@]}" --arch nano8 --batch 100000000 --out o
fails 2 'fewer images or points: the views would have .* tokens' pretrain "${scenes[@]}" --points 1000000000 --out o

# Masks that do not fit.
cp -r voc mismatch
"$make_image" mismatch/SegmentationClass/000001.png 31 32 1
fails 1 'SegmentationClass/000001.png: the mask has 31 x 32 pixels, its image .* has 32 x 32' \
  segment --data mismatch --weights random --classes 3 --out o
cp -r voc torn
head -c 60 voc/SegmentationClass/000041.png >torn/SegmentationClass/000041.png
warns 1 'skipped: .*SegmentationClass/000041.png' segment --data torn --weights random --classes 3 --out torn-out
grep -q '1 of 4 masks could not be read' out.txt || fail "an evaluation over fewer images does not say so"
[[ $(value torn-out/result.json unreadable) == 1 && $(value torn-out/result.json unreadable_masks) == 1 ]] || fail "an unreadable mask is not counted"
fails 2 '--size is 63; expected' "$programs/dssl-segment" --arch nano8 --data voc --weights random --classes 3 --size 63 --out o
fails 1 'no class has a labelled pixel, and 100.0 % of pixels void \(0, 1, 2\)' \
  segment --data voc --weights random --classes 3 --only 7 --out o
# Masks of black and white: what to type is said, and does.
cp -r voc white
for mask in white/SegmentationClass/*.png; do "$make_image" "$mask" 32 32 1 0 255; done
mkdir white-out
echo half >white-out/classifier.safetensors.tmp-7  # of a run that was killed
for program in segment dssl-retrieve; do
  [[ $program == segment ]] || program="$programs/$program --arch nano8 --size 32 --threads 1"
  fails 1 'only the class of id 0 has a labelled pixel, and .* void \(255\); .* \(--only 0,255; --void without these\)' \
    $program --weights random --data white --classes 2 --out o
  succeeds $program --weights random --data white --only 0,255 --out white-out
done
[[ ! -e white-out/classifier.safetensors.tmp-7 ]] || fail "half a classifier of a killed run stays"
fails 2 '--void' segment --data voc --weights random --classes 3 --void nothing --out o
# Ids that no class claims are said; a split that is also the evaluation's is said, one that overlaps is refused.
warns 1 'of pixels of ids that no class claims \(2\): neither learned nor scored' \
  segment --data voc --weights random --classes 2 --out unclaimed
above "$(value unclaimed/result.json labels evaluation unclaimed_share)" 0.001 "share of ids that no class claims"
warns 1 'the training images \(val\) and the images of the evaluation \(val\) are the same files' \
  segment --data voc --weights random --classes 3 --train val --out same
cp -r voc overlapping
echo 000000 >>overlapping/ImageSets/Segmentation/val.txt
fails 1 'JPEGImages/000000.jpg: is among the training images \(train\) and the images of the evaluation \(val\) \(1 of 5 are\)' \
  segment --data overlapping --weights random --classes 3 --out o
echo 'a file' >plain
fails 1 'plain' segment --data voc --weights random --classes 3 --out plain/out

# Options that make no sense, by the name that was typed.
fails 2 '--batch is 0; expected at least 1' "$programs/dssl-pretrain" "${scenes[@]}" --batch 0 --out o
fails 2 '--epochs is -1; expected at least 1' pretrain "${scenes[@]}" --epochs -1 --out o
fails 2 '--alpha is 1.5; expected 0 to 1' pretrain "${scenes[@]}" --alpha 1.5 --out o
fails 2 '--points is 0; expected at least 1' pretrain "${scenes[@]}" --points 0 --out o
fails 2 '--views-global or --views-local is 20 x 20; expected multiples of the patch' \
  "$programs/dssl-pretrain" "${scenes[@]}" --arch nano8 --batch 2 --views-global 20 --out o
fails 2 '--locals is -5; expected 0 to 32766' "$programs/dssl-pretrain" "${scenes[@]}" --locals -5 --out o
fails 2 "--arch is huge99; expected nano8, tiny8, tiny16 or small16" "$programs/dssl-pretrain" "${scenes[@]}" --arch huge99 --out o
fails 2 '--recipe is moco; expected densedino' pretrain "${scenes[@]}" --recipe moco --out o
fails 2 '--relation is sideways; expected open' pretrain "${scenes[@]}" --relation sideways --out o
fails 2 '--lr' pretrain "${scenes[@]}" --lr much --out o
fails 2 '--seed is -1; expected 0 or more' pretrain "${scenes[@]}" --seed -1 --out o
# Numbers are read by one rule: decimal, within 64 bits, finite, and quoted in short.
for number in inf -inf nan 1e999; do
  fails 2 "--lr is $number; expected a finite number" pretrain "${scenes[@]}" --lr $number --out o
  fails 2 "--minutes is $number; expected a finite number" pretrain "${scenes[@]}" --minutes $number --out o
done
fails 2 '--seed is 18446744073709551616; expected a whole number from 0 to 18446744073709551615' \
  pretrain "${scenes[@]}" --seed 18446744073709551616 --out o
fails 2 '--max-steps is 9223372036854775808; expected a whole number from -9223372036854775808 to 9223372036854775807' \
  pretrain "${scenes[@]}" --max-steps 9223372036854775808 --out o
for number in 0x10 1e3 1.5 ten; do fails 2 "--epochs is $number; expected a whole number" pretrain "${scenes[@]}" --epochs $number --out o; done
many_digits=$(printf '3%.0s' {1..400})
for option in --synthetic-count --seed --lr --points --recipe --views-on --split; do
  status=0
  pretrain "${scenes[@]}" $option $many_digits --out o >out.txt 2>err.txt || status=$?
  [[ $status -eq 2 && $(wc -l <err.txt) -eq 1 && $(wc -c <err.txt) -lt 300 ]] || fail "a message about $option $many_digits is not one short line"
  grep -Eq -- "3{40}\.\.\. \(400 characters\)" err.txt || fail "$option does not shorten what it quotes"
done
succeeds pretrain "${scenes[@]}" --epochs 1 --seed 010 --max-steps 01 --threads +1 --out decimal
[[ $(value decimal/options.json options seed) == 10 && $(wc -l <decimal/metrics.jsonl) -eq 1 ]] || fail "010 is not ten, or 01 not one"
# What a variable of the shell that is not set leaves: no number, and no option that was not given.
fails 2 "argument [0-9]+, after '--lr', is empty" pretrain "${scenes[@]}" --epochs 1 --lr "" --out empty-value
fails 2 "argument [0-9]+, after '--monitor', is empty" pretrain "${scenes[@]}" --epochs 1 --monitor "" --out empty-value
[[ ! -e empty-value ]] || fail "something was written for an empty value"

# More epochs than can be counted; a resumed run that would replace another one.
fails 2 "'epochs'|--epochs" pretrain "${scenes[@]}" --epochs 9223372036854775807 --max-steps 1 --out endless
succeeds pretrain "${scenes[@]}" --epochs 1 --seed 1 --out first-run
succeeds pretrain "${scenes[@]}" --epochs 1 --seed 2 --max-steps 3 --out second-run
cp first-run/teacher.safetensors first-teacher
fails 1 "is the checkpoint of another run than second-run/checkpoint.safetensors" \
  pretrain "${scenes[@]}" --epochs 1 --seed 2 --resume second-run/checkpoint.safetensors --out first-run
cmp first-run/teacher.safetensors first-teacher || fail "a run was replaced by another one's resume"

warns 1 '--relation has no effect with --recipe dino' \
  pretrain "${scenes[@]}" --epochs 1 --recipe dino --relation open --out no-effect
fails 2 '--nonsense' pretrain "${scenes[@]}" --nonsense --out o
fails 2 '--data' pretrain --out o
fails 2 '--threads' pretrain "${scenes[@]}" --threads -2 --out o
fails 2 '--threads: Value 99999999999 not in range 0 to 4096' pretrain "${scenes[@]}" --threads 99999999999 --out o
fails 2 '--backend is vulkan; expected cpu' pretrain "${scenes[@]}" --backend vulkan --out o
fails 2 '--precision is tf32; expected f32, bf16 or auto on the CPU' pretrain "${scenes[@]}" --precision tf32 --out o
fails 2 '--precision is f16; expected f32, bf16, auto or tf32' pretrain "${scenes[@]}" --precision f16 --out o
fails 2 '--views-on is device; expected host: this backend renders no views' \
  pretrain "${scenes[@]}" --views-on device --out o

# Output that cannot be written, said before any training.
echo 'a file' >file
fails 1 'file/out' pretrain "${scenes[@]}" --out file/out
fails 1 'file: ' pretrain "${scenes[@]}" --out file
! grep -q images/s out.txt || fail "training began though the output cannot be written"
full() { pretrain "${scenes[@]}" --epochs 1 --out full >/dev/full; }
[[ ! -w /dev/full ]] || fails 1 'standard output: cannot be written' full

# What a killed run left half written is removed, and nothing else.
mkdir left
for name in checkpoint.safetensors.tmp-1 teacher.safetensors.tmp-77-1 notes.tmp-1; do echo half >left/$name; done
succeeds pretrain "${scenes[@]}" --epochs 1 --out left
[[ $(ls -A left | tr '\n' ' ') == 'checkpoint.safetensors metrics.jsonl notes.tmp-1 options.json teacher.safetensors ' ]] ||
  fail "what a killed run left is not removed, or more than that: $(ls -A left)"

# A run that is there already is not begun anew, nor does a damaged or foreign checkpoint cost it anything.
succeeds pretrain "${scenes[@]}" --epochs 2 --max-steps 5 --out run
cp -r run before
unchanged() { diff -r run before >/dev/null || fail "$1 changed the files of the run"; }
fails 1 'checkpoint.safetensors: is the checkpoint of an earlier run; --resume' pretrain "${scenes[@]}" --epochs 2 --out run
unchanged 'a second run'
head -c 20000 run/checkpoint.safetensors >cut.safetensors
fails 1 'cut.safetensors' pretrain "${scenes[@]}" --epochs 2 --out run --resume cut.safetensors
unchanged 'a truncated checkpoint'
cp run/checkpoint.safetensors bent.safetensors
size=$(stat -c %s bent.safetensors)
printf 'xxxx' | dd of=bent.safetensors bs=1 seek=$((size - 5000)) conv=notrunc status=none
fails 1 'bent.safetensors: is damaged' pretrain "${scenes[@]}" --epochs 2 --out run --overwrite --resume bent.safetensors
unchanged 'a damaged checkpoint'
fails 1 'was made with another recipe' pretrain "${scenes[@]}" --epochs 2 --recipe dino --out run --resume
unchanged 'another recipe'
fails 1 "option 'epochs' 2; this run has 3" pretrain "${scenes[@]}" --epochs 3 --out run --resume
unchanged 'another option'
fails 1 'was begun on 8 images, but the data now has 12' \
  pretrain --data synthetic --synthetic-size 32 --synthetic-count 12 --epochs 2 --out run --resume
cmp run/checkpoint.safetensors before/checkpoint.safetensors || fail "other data changed the checkpoint"
# As many images, but others: by name, by size; what is meant is said.
mkdir set
cp $images/00000{0..7}.jpg set
succeeds pretrain --data set --epochs 2 --max-steps 5 --out of-set
cp of-set/checkpoint.safetensors of-set-before
mv set/000003.jpg set/000009.jpg
fails 1 'was begun on 8 images of other names, or in another order, than those of the data now, the first set/000000.jpg; expected' \
  pretrain --data set --epochs 2 --out of-set --resume
mv set/000009.jpg set/000003.jpg
cp set/000003.jpg kept.jpg
cat $images/000010.jpg kept.jpg >set/000003.jpg
fails 1 'was begun on 8 images of other sizes' pretrain --data set --epochs 2 --out of-set --resume
cmp of-set/checkpoint.safetensors of-set-before || fail "other images changed the checkpoint"
fails 2 '--other-images' pretrain --data set --epochs 2 --out of-set --other-images
cp -r of-set of-others
succeeds pretrain --data set --epochs 2 --out of-others --resume --other-images
mv kept.jpg set/000003.jpg
mv set moved-set
succeeds pretrain --data moved-set --epochs 2 --out of-set --resume
fails 1 'nowhere.safetensors' pretrain "${scenes[@]}" --epochs 2 --out run --resume nowhere.safetensors
unchanged 'a missing checkpoint'

# A run that is thrown far off replaces nothing good, whether its numbers are still finite or not.
succeeds pretrain "${scenes[@]}" --epochs 1 --out far
cp -r far far-before
for wild in '--lr 1e30' '--lr 1e41 --optimizer sgd --clip 0'; do
  fails 1 'the weights after step [0-9]+ are of no use|loss is|gradient of .* is not finite' \
    pretrain "${scenes[@]}" --epochs 4 --warmup-epochs 0 --stochastic-depth 0 $wild --overwrite --out far
  cmp far/checkpoint.safetensors far-before/checkpoint.safetensors || fail "$wild: a good checkpoint was replaced"
  cmp far/teacher.safetensors far-before/teacher.safetensors || fail "$wild: a good teacher was replaced"
done

# Weights that do not fit.
fails 1 'checkpoint|teacher|blocks|does not fit' \
  "$programs/dssl-segment" --arch tiny8 --data voc --weights run/teacher.safetensors --classes 3 --out o
fails 1 'cut.safetensors' segment --data voc --weights cut.safetensors --classes 3 --out o

# Weights that are no numbers, of whole numbers, or of zeros through which nothing is seen: by the tensor's name, in every
# program that reads a backbone.
teacher=run/teacher.safetensors
header_bytes=$(od -An -t u8 -N 8 $teacher | tr -d ' ')
place_of() {  # first byte and bytes of a tensor in the file
  head -c $((8 + header_bytes)) $teacher | tail -c +9 |
    sed -E "s/.*\"${1//./\\.}\":\{[^}]*\"data_offsets\":\[([0-9]+),([0-9]+)\].*/\1 \2/" |
    awk -v base=$((8 + header_bytes)) '{ print base + $1, $2 - $1 }'
}
cp $teacher nan.safetensors
read -r at size <<<"$(place_of blocks.0.mlp.fc1.weight)"
printf '\x00\x00\xc0\x7f' | dd of=nan.safetensors bs=1 seek=$((at + 8)) conv=notrunc status=none
cp $teacher infinite.safetensors
printf '\x00\x00\x80\xff' | dd of=infinite.safetensors bs=1 seek=$at conv=notrunc status=none
cp $teacher zero.safetensors
read -r at size <<<"$(place_of patch_embed.proj.weight)"
dd if=/dev/zero of=zero.safetensors bs=1 seek=$at count=$size conv=notrunc status=none
LC_ALL=C sed '1s/"dtype":"F32"/"dtype":"I32"/' $teacher >whole.safetensors
LC_ALL=C sed '1s/"dtype":"F32"/"dtype":"F8_E4M3"/' $teacher >unknown.safetensors
reads_weights() {  # reads_weights WORDS WEIGHTS
  fails 1 "$1" segment --data voc --weights $2 --classes 3 --out o
  fails 1 "$1" "$programs/dssl-retrieve" --arch nano8 --size 32 --data voc --weights $2 --classes 3 --out o
  fails 1 "$1" "$programs/dssl-features" --arch nano8 --size 32 --data some --weights $2 --out o.npy
  fails 1 "$1" "$programs/dssl-classify" --arch nano8 --size 32 --train classes/train --test classes/test --k 1 --weights $2 --out o
}
for i in 0 1 2 3; do
  [[ $i -lt 2 ]] && part=train || part=test
  mkdir -p classes/$part/{a,b}
  cp $images/00000$i.jpg classes/$part/a
  cp $images/00001$i.jpg classes/$part/b
done
reads_weights "nan.safetensors: tensor 'blocks.0.mlp.fc1.weight' has the element nan at 2; expected finite numbers" nan.safetensors
reads_weights "infinite.safetensors: tensor 'blocks.0.mlp.fc1.weight' has the element -inf at 0" infinite.safetensors
reads_weights "zero.safetensors: tensor 'patch_embed.proj.weight' is 0 everywhere; expected" zero.safetensors
reads_weights "whole.safetensors: tensor '[a-z_.]+' holds I32; expected F64, F32, F16 or BF16" whole.safetensors

# Reports of what is not there.
fails 1 'nothing/options.json' "$programs/dssl-report" --pretrain a=nothing --segment a=nothing
fails 2 "NAME=FOLDER" "$programs/dssl-report" --pretrain nothing --segment a=nothing
# Values nested so deep that going down them overflows the stack, in a field that is shown, and in a line of metrics.
mkdir -p deep
levels() { printf "%${1}s" '' | tr ' ' "$2"; }
run_options() {
  printf '{"options":{},"arch":"[[","recipe":%s%s,"backend":"c","compiler":"g","version":"1"}' \
    "$(levels "$1" '[')" "$(levels "$1" ']')" >deep/options.json
}
printf '{"step":0,"images":1,"loss":1,"seconds":1}\n' >deep/metrics.jsonl
printf '{"miou":0.5,"pixel_accuracy":1,"per_class":[],"settings":{}}' >deep/result.json
deep_report() { "$programs/dssl-report" --pretrain a=deep --segment a=deep --out deep.html; }
run_options 100000
fails 1 'deep/options.json: is nested deeper than 64 levels' deep_report
run_options 63
! { deep_report 2>&1 || true; } | grep -q 'nested' || fail "64 levels are too deep for dssl-report"
run_options 64
fails 1 'deep/options.json: is nested deeper than 64 levels' deep_report
run_options 1
printf '{"step":0,"images":%s%s}\n' "$(levels 100000 '[')" "$(levels 100000 ']')" >>deep/metrics.jsonl
fails 1 'deep/metrics.jsonl: line 2 is nested deeper than 64 levels' deep_report
# So in a classifier's settings.
export_head() {  # CLASSES, as JSON: exports the backbone with a linear layer whose settings name them
  local header="{\"__metadata__\":{\"settings\":\"{\\\"token\\\":\\\"class\\\",\\\"blocks\\\":[],\\\"norm\\\":true,\\\"flips\\\":false,\\\"classes\\\":${1//\"/\\\"}}\"},"
  header+='"weight":{"dtype":"F32","shape":[2,128],"data_offsets":[0,1024]}}'
  local shift
  {
    for shift in 0 8 16 24 32 40 48 56; do printf "\\x$(printf %02x $((${#header} >> shift & 255)))"; done
    printf %s "$header"
    head -c 1024 /dev/zero
  } >head.safetensors
  "$programs/dssl-export" $teacher head.onnx --head head.safetensors
}
fails 1 'head.safetensors: has settings whose JSON is nested deeper than 64 levels' export_head "[$(levels 100000 '[')$(levels 100000 ']')]"
fails 1 'head.safetensors: has settings that do not say its classes; expected those of a classifier' export_head '[0,1]'
fails 1 'head.safetensors: has settings that do not say its token, blocks, norm and flips; expected those of a classifier' export_head '['
succeeds export_head '["a","b"]'

echo "bad input: all as it should be"
