#!/usr/bin/env bash
# Disks that are full or may not be written, folders that go away, folders in the place of files: one line that names the
# path, status 1, whatever good there was stays, and nothing half written is left. Skips where mounting is not allowed.
set -euo pipefail
if [[ ${1:-} != --apart ]]; then
  # Mounts of a namespace of its own vanish with it.
  apart=(unshare --mount)
  [[ $(id -u) -eq 0 ]] || apart+=(--map-root-user)
  if ! "${apart[@]}" sh -c 'd=$(mktemp -d) && mount -t tmpfs -o size=64k tmpfs "$d" && umount "$d" && rmdir "$d"' 2>/dev/null; then
    echo "skipped: this user may not mount a small disk"
    exit 0
  fi
  exec "${apart[@]}" bash "$0" --apart "$@"
fi
shift
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
process=
trap '[[ -z $process ]] || kill -KILL $process 2>/dev/null; umount -l "$work/disk" 2>/dev/null || true; rm -rf "$work"' EXIT

# disk MIB: an empty disk of that size at disk/.
mkdir disk
disk() {
  umount disk 2>/dev/null || true
  mount -t tmpfs -o size="$1m" tmpfs disk
}
# leave KIB: fills the disk but for so much.
leave() {
  rm -f disk/hog
  local free
  free=$(stat -f -c '%a %S' disk | awk '{ print $1 * $2 }')
  fallocate -l $((free - $1 * 1024)) disk/hog
}
# What is on the disk, but for the hog and what is `changing` (a pattern of grep -E): those figures name times.
changing='result\.json|metrics\.jsonl|options\.json'
kept() { find disk -type f ! -name hog ! -name .lock -exec md5sum {} + | { grep -Ev "$changing" || true; } | sort; }
# clean: no file that was to be renamed, and no claim.
clean() {
  [[ -z $(find disk \( -name '*.tmp-*' -o -name .lock \)) ]] || fail "left behind: $(find disk -name '*.tmp-*' -o -name .lock)"
}
# refuses WORDS COMMAND...: false where the command succeeds; else status 1, one line with these words, nothing left behind,
# nothing good lost.
refuses() {
  local words=$1 status=0 before
  shift
  before=$(kept)
  "$@" >out.txt 2>err.txt || status=$?
  [[ $status -ne 0 ]] || return 1
  [[ $status -eq 1 && $(wc -l <err.txt) -eq 1 ]] || fail "status $status, not 1 and one line, of: $*"
  grep -Eq -- "$words" err.txt || fail "stderr does not say '$words': $*"
  clean
  local lost
  lost=$(comm -23 <(echo "$before") <(kept))
  [[ -z $lost ]] || fail "something good was lost: $lost"
  [[ ! -f disk/out/result.json ]] || value disk/out/result.json version >out.txt || fail "a result is cut off"
}
# without WORDS COMMAND...: the command, less its lines on stderr with these words.
without() {
  local words=$1 status=0
  shift
  "$@" 2>every.txt || status=$?
  grep -Ev -- "$words" every.txt >&2 || true
  return $status
}
refused() { refuses "$@" || fail "no obstacle to: $*"; }
# tried OUTPUTS COMMAND...: a program, which writes these files (joined by commas), with a disk that is full or gets full at
# a later one of them, one that may not be written, and a folder in the place of each file. `mib` and `rooms` are the size of
# the disk and the KiB that it has left, for programs that write more.
tried() {
  local outputs=${1//,/ } file room name
  shift
  name=${1##*/}
  [[ $name != nano8 ]] || name=$2
  disk ${mib:-4}
  succeeds "$@"
  for room in ${rooms:-0 4 16 64}; do
    # Programs that take the figures and pictures of an earlier run away would have their room.
    [[ $outputs != *result.json* ]] || find disk/out -type f -delete
    leave $room
    refuses 'disk/[^ ]*: [^:]*: No space left' "$@" || break
  done
  [[ $room -ne 0 ]] || fail "a full disk is no obstacle to: $*"
  rm disk/hog
  mount -o remount,bind,ro disk
  refused 'disk/[^ ]*: .*Read-only file system' "$@"
  mount -o remount,bind,rw disk
  for file in $outputs; do
    rm -r "disk/$file"
    mkdir "disk/$file"
    refused "disk/$file: .*[Ii]s a (directory|folder)" "$@"
    # Before the work, but for a picture that the work makes one of.
    [[ $file == */*/* ]] || ! grep -Eq 'images/s|^epoch' out.txt || fail "the work was done before $file was refused: $*"
    rmdir "disk/$file"
  done
  echo "- $name"
}

# Pretraining. Where a run is given no end it is ended by what is tried; nano8 with 16 prototypes keeps 31 MiB.
run() { pretrain "${scenes[@]}" --threads 1 "$@"; }
endless=(--epochs 100000 --checkpoint-steps 1)
# running CHANGE: a run without an end, to which CHANGE (a command) happens after some steps; its answer in err.txt.
running() {
  "$programs/dssl-pretrain" "${tiny[@]}" "${scenes[@]}" "${endless[@]}" --threads 1 --out disk/out >out.txt 2>err.txt &
  local status=0
  process=$!
  for _ in $(seq 400); do
    [[ $(cat disk/out/metrics.jsonl 2>/dev/null | wc -l) -ge 6 ]] && break
    sleep 0.05
  done
  "$@" $process
  wait $process || status=$?
  process=
  [[ $status -eq 1 && $(wc -l <err.txt) -eq 1 ]] || fail "status $status, not 1 and one line, after: $*"
}
# goes_on: the checkpoint is that of a run that nothing happened to, and is gone on from.
goes_on() {
  succeeds run "${endless[@]}" --max-steps 2 --out disk/out --resume
  local steps
  steps=$(sed -n 's/^stopped after step \([0-9]*\) .*/\1/p' out.txt)
  [[ $steps -ge 6 && $(wc -l <disk/out/metrics.jsonl) -eq $steps ]] || fail "the steps after a resume are others: $steps"
  succeeds run "${endless[@]}" --max-steps "$steps" --out undisturbed --overwrite
  cmp disk/out/teacher.safetensors undisturbed/teacher.safetensors || fail "a run that went on ends in other bits"
}

# A disk that others fill while the run writes to it. What a save gave free is filled too.
disk 100
fill() { while kill -0 "$1" 2>/dev/null; do cat /dev/zero >>disk/hog 2>/dev/null || true; done; }
running fill
grep -Eq 'disk/out/(checkpoint.safetensors|metrics.jsonl|teacher.safetensors): .*No space left' err.txt || fail "a full disk is not named"
clean
rm disk/hog
goes_on

# Before the first step: a disk that has too little left, may not be written, or has folders where files should be.
leave 20000
before=$(kept)
fails 1 'disk/out: the disk has 20\.[0-9] MB left; checkpoint and teacher need' run "${endless[@]}" --out disk/out --resume
rm disk/hog
mount -o remount,bind,ro disk
fails 1 'disk/out/[^ ]*: .*Read-only file system' run "${endless[@]}" --out disk/out --resume
mount -o remount,bind,rw disk
[[ $(kept) == "$before" ]] || fail "a run that could not begin changed something"
for file in checkpoint.safetensors teacher.safetensors best.safetensors options.json metrics.jsonl; do
  rm -f "disk/out/$file"
  mkdir "disk/out/$file"
  fails 1 "disk/out/$file: is a folder; expected the name of a file to write" run --epochs 1 --out disk/out --overwrite
  clean
  rmdir "disk/out/$file"
  succeeds run --epochs 1 --out disk/out --overwrite
done
mkdir disk/folder.safetensors
fails 1 'disk/folder.safetensors: is a folder; expected a regular file' run --epochs 2 --out disk/out --overwrite --resume disk/folder.safetensors

# Its folder goes away, or a folder takes the place of its checkpoint, while it runs.
disk 100
gone() { until rm -rf disk/out 2>/dev/null; do :; done; }  # the run may put a file there meanwhile
running gone
grep -Eq 'disk/out/[a-z]*.safetensors: cannot (open to write|rename into place): No such file or directory' err.txt || fail "a folder that went away is not named"
[[ -z $(ls disk) ]] || fail "something is left where the folder was"
for file in checkpoint teacher; do
  disk 100
  replaced() {
    until mv disk/out/$file.safetensors disk/$file 2>/dev/null && mkdir disk/out/$file.safetensors 2>/dev/null; do
      rm -f disk/out/$file.safetensors
    done
  }
  running replaced
  grep -Eq "disk/out/$file.safetensors: (cannot rename into place: Is a directory|is a folder)" err.txt || fail "a folder in the place of a $file is not named"
  clean
  rmdir disk/out/$file.safetensors
  mv disk/$file disk/out/$file.safetensors
  goes_on
done
echo "- dssl-pretrain"

# Evaluation, pictures, features: each way of writing.
"$programs/dssl-scenes" --out voc --train 2 --val 2 --size 32 --classes 3 >out.txt
"$tools/dssl_make_inspection" set 8 4 4
printf 'good/00 good\ngood/01 good\nspot/00 spot\nspot/01 spot\n' >train.txt
printf 'good/02 good\nspot/02 spot\n' >test.txt
nano8() { local program=$1; shift; "$programs/$program" --arch nano8 --threads 1 --weights random "$@"; }
tried voc/JPEGImages/000001.jpg,voc/SegmentationClass/000000.png,voc/ImageSets/Segmentation/train.txt,voc/scenes.json \
  "$programs/dssl-scenes" --out disk/voc --train 1 --val 1 --size 32 --classes 3 --overwrite
tried out/result.json,out/classifier.safetensors,out/overlays/000003.png \
  nano8 dssl-segment --data voc --size 32 --epochs 1 --batch 2 --classes 3 --overlays 2 --out disk/out
tried out/result.json,out/overlays/000002.png \
  nano8 dssl-retrieve --data voc --size 32 --classes 3 --by retrieval --overlays 2 --out disk/out
tried out/result.json,out/predictions.csv,out/classifier.safetensors,out/neighbours.safetensors \
  nano8 dssl-classify --channels 1 --images set/test --size 16 --train train.txt --test test.txt --k 1 --keep-neighbours \
  --epochs 1 --rates 0.1 --out disk/out
for file in features.npy features.safetensors; do
  tried $file,$file.json nano8 dssl-features --channels 1 --data test.txt --images set/test --size 16 --tokens class --out disk/$file
done
tried out/bank.safetensors,out/result.json,out/scores.csv,out/scores.jsonl,out/maps/spot_00.png \
  nano8 dssl-defects --channels 1 --size 16 --normal set/normal --test set/test --hold-out 0.4 --false-alarms 0.3 --maps --out disk/out
tried out/bank.safetensors,out/result.json,out/scores.csv,out/scores.jsonl \
  "$programs/dssl-defects" --scorer filters --threads 1 --channels 1 --normal set/normal --test set/test --out disk/out
tried sheet.png nano8 dssl-show voc/JPEGImages/000000.jpg --size 32 --kind attention --out disk/sheet.png
succeeds run --recipe dino --epochs 1 --out dino
succeeds segment --data voc --weights random --classes 3 --out scores
tried report.html "$programs/dssl-report" --pretrain dino=dino --segment random=scores --out disk/report.html

# Weights, of 5 MB, and what is written after them: config.json, the model.
teacher=dino/teacher.safetensors
succeeds "$programs/dssl-convert" $teacher hf --as hf
fits=$((($(stat -c %s hf/model.safetensors) + 4095) / 4096 * 4))  # and not a byte more
mib=12 rooms="0 4 4800"
tried t.pth "$programs/dssl-convert" $teacher disk/t.pth --as dino
tried hf/model.safetensors,hf/config.json,hf/preprocessor_config.json "$programs/dssl-convert" $teacher disk/hf --as hf
leave $fits
refused 'disk/hf/config.json: cannot write: No space left' "$programs/dssl-convert" $teacher disk/hf --as hf
tried t.onnx,t.onnx.data "$programs/dssl-export" $teacher disk/t.onnx --external-data
leave $fits
refused 'disk/t.onnx: cannot write: No space left' "$programs/dssl-export" $teacher disk/t.onnx --external-data
unset mib rooms

# Tables, and a pilot's report. Beside one line these tell their progress; the pilot tells that brightness alone parts its
# images, and that it ends as the pretraining did.
small=(--batch 2 --locals 1 --prototypes 16 --threads 1)
dssl-compare() {
  without '^compare [0-9]+/[0-9]+ steps' "$programs/dssl-compare" --arch nano8 "${small[@]}" --views-global 16 --views-local 16 \
    --turns 1 --warm-up 0 --precisions f32 --no-check "$@"
}
tried o.json dssl-compare --out disk/o.json
dssl-variants() {
  without '^dino on cpu [0-9]+/[0-9]+ steps' "$programs/dssl-variants" "${small[@]}" --epochs 1 --size 16 --local-size 16 \
    --scenes 2 --queries 2 --only dino "$@"
}
tried v.json dssl-variants --out disk/v.json
dssl-defect-pilot() {
  without '^warning: the mean brightness of the image|^dssl-defect-pilot: pretraining failed; no report was written$' \
    "$programs/dssl-defect-pilot" --arch nano8 --channels 1 --size 16 \
    --threads 1 --normal set/normal --defects set/test/spot --masks set/masks/spot --tune-steps 0 --labels 1 --draws 1 \
    --false-alarms 0.3 --shown 1 "$@"
}
tried out/result.json,out/report.html dssl-defect-pilot --weights random --out disk/out
disk 4
leave 0
refused 'disk/out/pretraining.txt: .*No space left' dssl-defect-pilot --pretrain 1 --out disk/out
leave 64
refused '^dssl-pretrain: disk/out/pretraining: the disk has [0-9.]+ MB left' dssl-defect-pilot --pretrain 1 --out disk/out

echo "disks: all as they should be"
