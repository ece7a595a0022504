#!/usr/bin/env bash
# Outputs that are inputs under whatever name, pictures that would get among those that are read, and what is no regular
# file, to read or to write: one line before any work, and every file stays as it is.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$programs/dssl-scenes" --out voc --train 4 --val 2 --size 32 --classes 3 >out.txt
"$tools/dssl_make_inspection" set 8 4 4
# Whatever waits for ever has an end here.
program() { timeout 60 "$programs/$1" "${@:2}"; }
nano8() { program "$1" --arch nano8 --threads 1 "${@:2}"; }
sums() { find . -type f ! -name out.txt ! -name err.txt -exec md5sum {} + | sort; }
# refused WORDS COMMAND...: status 1, one line with these words, and no file is another, gone or new.
refused() {
  local before
  before=$(sums)
  fails 1 "$@"
  [[ $(sums) == "$before" ]] || fail "files changed: $(diff <(echo "$before") <(sums))"
}

# dssl-show: one picture, by its own name and by others; masks and weights.
cp voc/JPEGImages/000000.jpg picture.png
cp voc/SegmentationClass/000000.png mask.png
echo weights >weights.safetensors
ln picture.png hard.png
ln -s "$PWD/picture.png" soft.png
show() { nano8 dssl-show --size 32 "$@"; }
refused ' picture.png: is read too, by images; expected another file to write' show picture.png --kind views --out picture.png
for name in hard.png soft.png ./picture.png voc/../picture.png; do
  refused " $name: is read too, as picture.png by images; expected another" show picture.png --kind views --out $name
done
refused 'mask.png: is read too, by --masks' show picture.png --kind overlay --masks mask.png --out mask.png
refused 'mask.png: is read too, by --heat' show picture.png --kind overlay --heat mask.png --out mask.png
refused 'weights.safetensors: is read too, by --weights' \
  show picture.png --kind pca --weights weights.safetensors --out weights.safetensors
refused 'out.txt: is where the standard output goes' show picture.png --kind views --out out.txt
refused 'err.txt: is where the standard error output goes' show picture.png --kind views --out err.txt

# dssl-features: what is derived from --out is an output too.
features() { nano8 dssl-features --size 16 "$@"; }
printf 'picture.png\nvoc/JPEGImages/000001.jpg\n' | tee list.npy >list.npy.json
cp weights.safetensors w.class.npy
ln picture.png p.patch.npy
refused 'list.npy.json: is read too, by --data' features --data list.npy.json --weights random --out list.npy
refused 'list.npy: is read too, by --data' features --data list.npy --weights random --tokens class --out list.npy
refused 'p.patch.npy: is read too, as .*picture.png by --data' features --data list.npy --weights random --out p.npy
refused 'w.class.npy: is read too, by --weights' features --data voc/JPEGImages --weights w.class.npy --out w.npy
refused 'weights.safetensors: is read too, by --weights' \
  features --data voc/JPEGImages --weights weights.safetensors --out weights.safetensors

# dssl-report: what runs and measurements left, here with no more in it than is looked at.
mkdir run seg
echo '{"options":{},"arch":"a","recipe":"r","backend":"b","compiler":"c","version":"v"}' >run/options.json
echo '{"step":0,"images":1,"loss":1,"seconds":1}' >run/metrics.jsonl
echo '{"miou":1,"pixel_accuracy":1,"per_class":[],"settings":{}}' >seg/result.json
report() { program dssl-report --pretrain a=run --segment a=seg "$@"; }
for file in run/options.json run/metrics.jsonl; do refused "$file: is read too, by --pretrain" report --out $file; done
refused 'seg/result.json: is read too, by --segment' report --out seg/result.json
refused 'train.txt: is read too, by --split' report --data voc --out voc/ImageSets/Segmentation/train.txt
refused '000000.jpg: is read too, by --data' report --data voc --out voc/JPEGImages/000000.jpg

# Programs whose --out is a folder.
mkdir -p links/overlays
ln voc/ImageSets/Segmentation/train.txt links/result.json
for name in dssl-segment dssl-retrieve; do
  refused 'links/result.json: is read too, as voc/.*/train.txt by --train' \
    nano8 $name --data voc --weights random --classes 3 --size 32 --out links
done
rm links/result.json
ln voc/SegmentationClass/000004.png links/overlays/
refused 'links/overlays/000004.png: is read too, as voc/SegmentationClass/000004.png by --val' \
  nano8 dssl-segment --data voc --weights random --classes 3 --size 32 --overlays 2 --out links
mkdir lists
printf 'good/00 good\nspot/00 spot\n' >lists/predictions.csv
printf 'good/02 good\nspot/02 spot\n' >lists/scores.csv
classify() { nano8 dssl-classify --channels 1 --images set/test --size 16 --weights random --by knn --k 1 "$@"; }
refused 'lists/predictions.csv: is read too, by --train' \
  classify --train lists/predictions.csv --test lists/scores.csv --out lists
defects() { nano8 dssl-defects --channels 1 --size 16 --weights random --normal set/normal "$@"; }
refused 'lists/scores.csv: is read too, by --test' defects --test lists/scores.csv --images set/test --out lists
mkdir -p lists
echo spot/00 >lists/pretraining.txt
echo spot/01 >lists/others.txt
refused 'lists/pretraining.txt: is read too, by --defects' "$programs/dssl-defect-pilot" --arch nano8 --channels 1 \
  --weights random --normal set/normal --defects lists/pretraining.txt --images set/test --masks set/masks \
  --test-normal set/test/good --test-defects lists/others.txt --out lists
# A bank is read before it is written anew; here it is only read.
succeeds defects --test set/test --masks set/masks --maps --out found
bank() { nano8 dssl-defects --weights random --bank found/bank.safetensors --test set/test "$@"; }
succeeds bank --out found
ln found/bank.safetensors lists/result.json
refused 'lists/result.json: is read too, as found/bank.safetensors by --bank' bank --out lists

# dssl-pretrain: what its monitor reads, and the list of a split.
pretrain_into() { program dssl-pretrain "${tiny[@]}" --epochs 1 "$@"; }
mkdir watched
echo ../picture.png >watched/metrics.jsonl
refused 'watched/metrics.jsonl: is read too, by --monitor; expected another file to write' \
  pretrain_into "${scenes[@]}" --monitor watched/metrics.jsonl --out watched
rm watched/metrics.jsonl
outputs_of_pretrain=(options.json metrics.jsonl checkpoint.safetensors teacher.safetensors best.safetensors)
inputs_of_monitor=(JPEGImages/000000.jpg JPEGImages/000005.jpg SegmentationClass/000004.png
  ImageSets/Segmentation/train.txt ImageSets/Segmentation/val.txt)
for i in 0 1 2 3 4; do
  ln -s "../voc/${inputs_of_monitor[$i]}" "watched/${outputs_of_pretrain[$i]}"
  refused "watched/${outputs_of_pretrain[$i]}: is read too, as voc/${inputs_of_monitor[$i]} by --monitor" \
    pretrain_into "${scenes[@]}" --monitor voc --monitor-classes 3 --keep-best --overwrite --out watched
  rm "watched/${outputs_of_pretrain[$i]}"
done
ln set/test/good/00.png watched/teacher.safetensors
refused 'watched/teacher.safetensors: is read too, as set/test/good/00.png by --monitor' \
  pretrain_into "${scenes[@]}" --monitor set/test --overwrite --out watched
rm watched/teacher.safetensors
ln voc/ImageSets/Segmentation/train.txt watched/metrics.jsonl
refused 'watched/metrics.jsonl: is read too, as voc/.*/train.txt by --split' \
  pretrain_into --data voc --split train --overwrite --out watched

# Pictures are not written where pictures are read; hidden folders are not read, and other files are no pictures.
refused 'set/test/sheet.png: would be one of the pictures of set/test, which images reads; expected a place outside' \
  show set/test --channels 1 --kind views --out set/test/sheet.png
refused 'set/test/out/maps/good_00.png: would be one of the pictures of set/test, which --test reads' \
  defects --test set/test --masks set/masks --maps --out set/test/out
refused 'set/masks/maps/good_00.png: would be one of the pictures of set/masks, which --masks reads' \
  defects --test set/test --masks set/masks --maps --out set/masks
succeeds show set/test --channels 1 --kind views --out set/test/good/../../sheet.png
mkdir set/test/.hidden
succeeds show set/test --channels 1 --kind views --out set/test/.hidden/sheet.png
succeeds features --channels 1 --data set/test --weights random --tokens class --out set/test/features.npy

# dssl-scenes: a folder is its own, or empty, or stays as it is; what an earlier call had more of goes.
scenes_into() { program dssl-scenes --size 32 --classes 3 "$@"; }
mkdir -p own/JPEGImages empty
cp picture.png own/JPEGImages/000000.jpg
for more in '' --overwrite; do
  refused 'own: holds files that dssl-scenes did not write; expected a new or an empty folder' scenes_into --out own $more
done
refused 'voc: holds scenes already; --overwrite replaces them' scenes_into --out voc
succeeds scenes_into --out empty --train 3 --val 2 --defects
echo mine >empty/JPEGImages/mine.jpg
succeeds scenes_into --out empty --train 2 --val 0 --overwrite
[[ $(cd empty && find . -type f | sort | tr '\n' ' ') == './ImageSets/Segmentation/train.txt ./JPEGImages/000000.jpg '\
'./JPEGImages/000001.jpg ./JPEGImages/mine.jpg ./SegmentationClass/000000.png ./SegmentationClass/000001.png ./scenes.json ' ]] ||
  fail "a smaller call leaves more than its own, or less than another's: $(find empty -type f)"
[[ $(value empty/scenes.json scenes) == 2 ]] || fail "the record tells of other scenes"
# What calls that were killed left half written goes, whatever another half-written file is; and two calls at once do not mix.
half=(empty/scenes.json.tmp-1 empty/JPEGImages/000001.jpg.tmp-1 empty/SegmentationClass/000000.png.tmp-1-2 empty/ImageSets/Segmentation/train.txt.tmp-1)
others=(empty/JPEGImages/mine.jpg.tmp-1 empty/JPEGImages/000009.jpg.tmp-1 empty/JPEGImages/000001.jpg.tmp-x)
touch "${half[@]}" "${others[@]}"
succeeds scenes_into --out empty --train 2 --val 0 --overwrite
[[ -z $(ls "${half[@]}" 2>/dev/null) && $(ls "${others[@]}" | wc -l) == 3 ]] || fail "half-written scenes: $(find empty -type f)"
"$programs/dssl-scenes" --size 256 --train 100000 --val 0 --out busy >/dev/null 2>&1 &
process=$!
for _ in $(seq 200); do
  [[ -s busy/JPEGImages/000001.jpg ]] && break
  sleep 0.05
done
fails 1 'busy: is in use by another run' scenes_into --out busy --overwrite
kill $process
wait $process || true
succeeds scenes_into --out busy --train 1 --val 1 --overwrite

# A run that writes less than an earlier one leaves nothing of it, and one that fails no figures beside other pictures.
segment_into() { nano8 dssl-segment --data voc --weights random --classes 3 --size 32 --epochs 1 --batch 2 --out less "$@"; }
succeeds segment_into --overlays 2
echo mine >less/overlays/mine.png
[[ $(ls less/overlays | tr '\n' ' ') == '000004.png 000005.png mine.png ' ]] || fail "not two overlays"
succeeds segment_into --overlays 1
[[ $(ls less/overlays | tr '\n' ' ') == '000004.png mine.png ' ]] || fail "not one overlay, or somebody's picture went"
touch less/overlays/000004.png.tmp-1 less/overlays/.written.tmp-1 less/overlays/mine.png.tmp-1
succeeds segment_into --overlays 1
[[ $(ls -A less/overlays | tr '\n' ' ') == '.written 000004.png mine.png mine.png.tmp-1 ' ]] ||
  fail "an overlay that a killed run left half written stays, or somebody's file went: $(ls -A less/overlays)"
succeeds defects --test set/test --masks set/masks --out found
[[ ! -e found/maps && -e found/result.json && -e found/bank.safetensors ]] || fail "maps of an earlier run lie beside new scores"
succeeds defects --test set/test --masks set/masks --maps --out found
# Pictures of an earlier run would be taken away: they are no input, though none will be written in their place.
refused 'would be one of the pictures of found/maps, which --test reads' defects --test found/maps --out found
cp -r set/test broken
find broken -name '*.png' -exec sh -c 'echo no picture >"$1"' - {} \;
status=0
defects --test broken --masks set/masks --maps --out found >out.txt 2>err.txt || status=$?
[[ $status -eq 1 ]] || fail "status $status where no image can be read"
[[ ! -e found/result.json && ! -e found/scores.csv && -z $(ls found/maps) ]] ||
  fail "a run that failed left figures or pictures of an earlier one"

# A link stays, and the file that it leads to is written.
ln -s far.png near.png
succeeds show picture.png --kind views --out near.png
[[ -L near.png && -s far.png && ! -L far.png ]] || fail "a link was replaced"

# What is no regular file is neither written over nor waited for.
mkfifo pipe pipe.npy
for out in pipe /dev/null; do
  kind=$([[ $out == pipe ]] && echo FIFO || echo device)
  words="$out: is a $kind; expected the name of a file to write"
  refused "$words" show picture.png --kind views --out $out
  refused "$words" report --out $out
  refused "$words" program dssl-compare --out $out
done
refused 'pipe.npy: is a FIFO; expected the name of a file' \
  features --data voc/JPEGImages --weights random --tokens class --out pipe.npy
mkdir piped
mkfifo piped/result.json
refused 'piped/result.json: is a FIFO; expected the name of a file' defects --test set/test --out piped
[[ -p pipe && -p pipe.npy && -p piped/result.json && -c /dev/null ]] || fail "a FIFO or a device was replaced"
for option in '--masks' '--heat'; do
  refused 'pipe: is a FIFO; expected a regular file' show picture.png --kind overlay $option pipe --out o.png
done
refused 'pipe: is a FIFO; expected a regular file' show pipe --kind views --out o.png
refused 'pipe: is a FIFO; expected a regular file' show picture.png --kind pca --weights pipe --out o.png
refused 'pipe: is a FIFO; expected a regular file' features --data pipe --weights random --out o.npy
refused 'pipe: is a FIFO; expected a regular file' nano8 dssl-defects --weights random --bank pipe --test set/test --out o
refused 'pipe: is a FIFO; expected a folder of images' program dssl-pretrain --data pipe --out o
rm run/metrics.jsonl
mkfifo run/metrics.jsonl
refused 'run/metrics.jsonl: is a FIFO; expected a regular file' report --out o.html
mkfifo set/test/good/pipe.png
succeeds features --channels 1 --data set/test --weights random --tokens class --out o.npy
grep -q 'left aside, as they are not read: 1 FIFO' out.txt || fail "a FIFO among images is not counted"

echo "outputs: all as they should be"
