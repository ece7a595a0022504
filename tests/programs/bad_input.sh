#!/usr/bin/env bash
# Bad input: each is one clear line on stderr and a status that is not 0, and nothing good is lost.
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

# Folders and lists that hold nothing, or are not there.
mkdir nothing
fails 1 'nothing: the folder holds no images' pretrain --data nothing --out o
fails 1 'nowhere: No such file' pretrain --data nowhere --out o
echo '# no lines' >list.txt
fails 1 'list.txt: the list names no images' pretrain --data list.txt --out o
fails 1 "cannot read the split 'tset'; available: train, val" pretrain --data voc --split tset --out o
fails 2 '--split is train; expected' pretrain --data some --split train --out o
fails 1 'has 2 images, but an update takes .* 4; use a smaller batch' \
  pretrain --data synthetic --synthetic-size 32 --synthetic-count 2 --accumulate 2 --out small

# Images of one pixel, and of ten thousand a side.
mkdir sizes
"$make_image" sizes/one.png 1 1 3
"$make_image" sizes/line.png 1 10000 3
"$make_image" sizes/large.png 10000 10000 1
cp $images/000000.jpg sizes
succeeds pretrain --data sizes --epochs 1 --out sizes-out

# Masks that do not fit.
cp -r voc mismatch
"$make_image" mismatch/SegmentationClass/000001.png 31 32 1
fails 1 'SegmentationClass/000001.png: the mask has 31 x 32 pixels, its image .* has 32 x 32' \
  segment --data mismatch --weights random --classes 3 --out o

# Options that make no sense, by the name that was typed.
fails 2 '--batch is 0; expected at least 1' "$programs/dssl-pretrain" "${scenes[@]}" --batch 0 --out o
fails 2 '--epochs is -1; expected at least 1' pretrain "${scenes[@]}" --epochs -1 --out o
fails 2 '--alpha is 1.5; expected 0 to 1' pretrain "${scenes[@]}" --alpha 1.5 --out o
fails 2 '--points is 0; expected at least 1' pretrain "${scenes[@]}" --points 0 --out o
fails 2 '--views-global or --views-local is 20 x 20; expected multiples of the patch' \
  "$programs/dssl-pretrain" "${scenes[@]}" --arch nano8 --views-global 20 --out o
fails 2 '--locals is -5; expected 0 to 32766' "$programs/dssl-pretrain" "${scenes[@]}" --locals -5 --out o
fails 2 "--arch is huge99; expected one of nano8" "$programs/dssl-pretrain" "${scenes[@]}" --arch huge99 --out o
fails 2 '--recipe is moco; expected densedino' pretrain "${scenes[@]}" --recipe moco --out o
fails 2 '--relation is sideways; expected open' pretrain "${scenes[@]}" --relation sideways --out o
fails 2 '--lr' pretrain "${scenes[@]}" --lr much --out o
fails 2 '--nonsense' pretrain "${scenes[@]}" --nonsense --out o
fails 2 '--data' pretrain --out o
fails 2 '--threads' pretrain "${scenes[@]}" --threads -2 --out o
fails 2 '--backend is vulkan; expected cpu' pretrain "${scenes[@]}" --backend vulkan --out o
fails 2 '--precision is tf32; expected f32 or bf16 on the CPU' pretrain "${scenes[@]}" --precision tf32 --out o
fails 2 '--precision is f16; expected f32, bf16 or tf32' pretrain "${scenes[@]}" --precision f16 --out o
fails 2 '--views-on is device; expected host: this backend renders no views' \
  pretrain "${scenes[@]}" --views-on device --out o
if [[ ! -e /dev/nvidia0 ]]; then
  status=0
  pretrain "${scenes[@]}" --backend cuda --out o >out.txt 2>err.txt || status=$?
  [[ $status -ne 0 && $(wc -l <err.txt) -eq 1 ]] || fail "status $status for a GPU that is not there"
  grep -qE 'was built without CUDA|no CUDA device|CUDA driver is too old' err.txt || fail "a GPU that is not there: $(cat err.txt)"
fi

# Output that cannot be written, said before any training.
echo 'a file' >file
fails 1 'file/out' pretrain "${scenes[@]}" --out file/out
fails 1 'file: ' pretrain "${scenes[@]}" --out file
! grep -q images/s out.txt || fail "training began though the output cannot be written"
full() { pretrain "${scenes[@]}" --epochs 1 --out full >/dev/full; }
[[ ! -w /dev/full ]] || fails 1 'standard output: cannot be written' full

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
fails 1 'bent.safetensors: is damaged' pretrain "${scenes[@]}" --epochs 2 --out run --resume bent.safetensors
unchanged 'a damaged checkpoint'
fails 1 'was made with another recipe' pretrain "${scenes[@]}" --epochs 2 --recipe dino --out run --resume
unchanged 'another recipe'
fails 1 "option 'epochs' 2; this run has 3" pretrain "${scenes[@]}" --epochs 3 --out run --resume
unchanged 'another option'
fails 1 'was begun on 8 images, but the data now has 12' \
  pretrain --data synthetic --synthetic-size 32 --synthetic-count 12 --epochs 2 --out run --resume
cmp run/checkpoint.safetensors before/checkpoint.safetensors || fail "other data changed the checkpoint"
fails 1 'nowhere.safetensors' pretrain "${scenes[@]}" --epochs 2 --out run --resume nowhere.safetensors
unchanged 'a missing checkpoint'

# Weights that do not fit.
fails 1 'checkpoint|teacher|blocks|does not fit' \
  "$programs/dssl-segment" --arch tiny8 --data voc --weights run/teacher.safetensors --classes 3 --out o
fails 1 'cut.safetensors' segment --data voc --weights cut.safetensors --classes 3 --out o

# Reports of what is not there.
fails 1 'nothing/options.json' "$programs/dssl-report" --pretrain a=nothing --segment a=nothing
fails 2 "NAME=FOLDER" "$programs/dssl-report" --pretrain nothing --segment a=nothing

echo "bad input: all as it should be"
