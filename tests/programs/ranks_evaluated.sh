#!/usr/bin/env bash
# Evaluations whose images several processes share by MPI: the figures and files of one process, what is said and left behind when
# one fails, and that programs which share nothing say so. Without MPI (no third argument): the last alone.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/common.sh"
mpirun=${3:-}

# Programs that share nothing: the first process says so, the others fail quietly, and nothing is written.
"$programs/dssl-scenes" --out voc --train 7 --val 5 --size 32 --classes 3 >out.txt
refuses() {
  local program=dssl-$1
  shift
  OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_RANK=0 fails 2 "^$program: was started as one of 3 processes; expected one" "$programs/$program" "$@"
  local status=0
  OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_RANK=1 "$programs/$program" "$@" >out.txt 2>&1 || status=$?
  [[ $status -eq 2 && ! -s out.txt && ! -e refused ]] || fail "$program does something as the second of three"
}
refuses segment --data voc --classes 3 --weights random --out refused
refuses classify --train voc/JPEGImages --test voc/JPEGImages --weights random --out refused
refuses defect-pilot --normal voc/JPEGImages --defects voc/JPEGImages --masks voc/SegmentationClass --out refused
refuses show voc/JPEGImages/000000.jpg --kind pca --weights random --out refused
refuses scenes --out refused
refuses convert voc/scenes.json refused
refuses export voc/scenes.json refused
refuses compare
refuses variants
OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0 succeeds "$programs/dssl-scenes" --out one_of_one --train 1 --val 1 --size 32 --classes 3

if [[ -z $mpirun ]]; then
  echo "ranks_evaluated: this program was built without MPI; that programs share nothing is said"
  exit 0
fi
source "$here/mpi.sh" "$mpirun"

# same ONE OTHER: all files but what tells of time.
same() {
  [[ $(cd "$1" && find . -type f | sort) == "$(cd "$2" && find . -type f | sort)" ]] || fail "$2 has other files than $1"
  local file
  (cd "$1" && find . -type f) | while read -r file; do
    cmp <(grep -av '"\(seconds\|learning\|scoring\|milliseconds_an_image\)"' "$1/$file") \
      <(grep -av '"\(seconds\|learning\|scoring\|milliseconds_an_image\)"' "$2/$file") >/dev/null || fail "$file of $2 is other than of $1"
  done
}
on() { timeout 120 "${launch[@]}" -n "$1" "${@:2}"; }

# dssl-retrieve: images of each set that do not divide, one of each and a mask that cannot be read.
echo broken >voc/JPEGImages/000002.jpg
echo broken >voc/SegmentationClass/000004.png
echo broken >voc/JPEGImages/000008.jpg
retrieve=("$programs/dssl-retrieve" --data voc --classes 3 --arch nano8 --size 32 --weights random --seed 4 --threads 1 --at-once 2
  --memory 60 --k 5 --clusters 0,4 --patches 70 --overlays 3)
warns 9 'skipped: ' "${retrieve[@]}" --out one
for ranks in 2 3; do
  warns 9 'skipped: ' on $ranks "${retrieve[@]}" --out "on_$ranks"
  grep -q "^ranks: $ranks by MPI" out.txt || fail "the ranks of dssl-retrieve are not told"
  [[ $(grep -c 'retrieval from [0-9]' out.txt) -eq 1 && $(grep -c ' clusters, ' out.txt) -eq 2 ]] || fail "not one rank alone tells of figures"
  same one "on_$ranks"
done
[[ $(value one/result.json retrieval unreadable) -eq 1 && $(ls one/overlays | wc -l) -ge 2 ]] || fail "one process does not do what is compared"
# Fewer images than ranks.
printf '000000\n000001\n' >voc/ImageSets/Segmentation/train.txt
printf '000007\n' >voc/ImageSets/Segmentation/val.txt
succeeds "${retrieve[@]}" --out few
succeeds on 3 "${retrieve[@]}" --out few_on_3
same few few_on_3

# dssl-defects: a bank, its threshold, scores and maps, with masks and without, by windows too, and a bank of an earlier run.
"$tools/dssl_make_inspection" set 17 6 5
echo broken >set/normal/03.png
echo broken >set/test/good/01.png
defects=("$programs/dssl-defects" --arch nano8 --channels 1 --weights random --threads 1 --at-once 2 --smoothing 2)
learned=(--normal set/normal --hold-out 0.3 --false-alarms 0.25 --coreset 0.3)
masked=(--test set/test --masks set/masks --maps)
# compared NAME SKIPPED OPTION...: on one process, on two and on three.
compared() {
  local name=$1 skipped=$2 ranks
  shift 2
  warns "$skipped" 'skipped: ' "${defects[@]}" "$@" --out "$name"
  for ranks in 2 3; do
    warns "$skipped" 'skipped: ' on $ranks "${defects[@]}" "$@" --out "${name}_on_$ranks"
    [[ $(grep -c ' ms an image$' out.txt) -eq 1 ]] || fail "not one rank alone tells of scores"
    same "$name" "${name}_on_$ranks"
  done
}
compared masked 2 --size 40x56 "${learned[@]}" "${masked[@]}"
[[ $(wc -l <masked/scores.jsonl) -eq 10 && $(ls masked/maps | wc -l) -eq 10 ]] || fail "one process does not do what is compared"
[[ -s masked/bank.safetensors && $(value masked/result.json regions) -eq 5 ]] || fail "one process has no bank, or no regions"
compared labelled 2 --size 40x56 "${learned[@]}" --test set/test --place 0.5 --projection 8
compared windows 2 --size 32 "${learned[@]}" --tiles --overlap 8 --free-of-size "${masked[@]}"
compared again 1 --bank masked/bank.safetensors --test set/test --maps --map-bits 8
mkdir few_tested
cp set/test/spot/00.png set/test/good/03.png few_tested
compared few_scored 0 --bank masked/bank.safetensors --test few_tested

# What cannot be is said once, by rank 0, and nothing is written.
says() {
  local words=$1 status=0
  shift
  "$@" >out.txt 2>err.txt || status=$?
  [[ $status -ne 0 && $status -ne 124 ]] || fail "status $status of: $*"
  [[ $(grep -v 'skipped: ' err.txt | grep -c '^dssl-[a-z-]*: ') -eq 1 ]] || fail "not one line of the program on stderr of: $*"
  grep -Eq -- "^dssl-[a-z-]*: $words" err.txt || fail "stderr does not say '$words': $*"
}
nothing_in() { [[ ! -e $1/result.json && ! -e $1/bank.safetensors ]] || fail "a run that failed left figures in $1"; }
says "--scorer is filters; expected bank, whose work the 2 ranks can share, or one process" on 2 "${defects[@]}" --scorer filters --size 40x56 --normal set/normal --out no
says "rank 1 has other options than rank 0" timeout 120 "${launch[@]}" \
  -n 1 "${retrieve[@]}" --out no : -n 1 "${retrieve[@]}" --flips --out no
says "rank 1 has other --test than rank 0" timeout 120 "${launch[@]}" -n 1 "${defects[@]}" --bank masked/bank.safetensors --test set/test --out no : \
  -n 1 "${defects[@]}" --bank masked/bank.safetensors --test few_tested --out no
# A bank that differs in one number.
cp masked/bank.safetensors other.safetensors
printf '\x01' | dd of=other.safetensors bs=1 seek=$(($(stat -c %s other.safetensors) - 4)) conv=notrunc status=none
says "rank 1 has other --bank than rank 0" timeout 120 "${launch[@]}" -n 1 "${defects[@]}" --bank masked/bank.safetensors --test set/test --out no : \
  -n 1 "${defects[@]}" --bank other.safetensors --test set/test --out no
says "rank 1 has other options than rank 0" timeout 120 "${launch[@]}" -n 1 "${defects[@]}" --bank masked/bank.safetensors --test set/test --maps --out no : \
  -n 1 "${defects[@]}" --bank masked/bank.safetensors --test set/test --maps --map-bits 8 --out no
[[ ! -e no ]] || fail "ranks that do not agree wrote something"
mkdir unreadable
for i in 1 2 3; do echo broken >"unreadable/$i.png"; done
says "no image of the set can be read" on 2 "${defects[@]}" --size 40x56 --normal unreadable --hold-out 0 --out none
says "no image of the set can be read" on 2 "${defects[@]}" --bank masked/bank.safetensors --test unreadable --out none
for i in 4 5 6 7 8 9 10 11 12; do echo broken >"unreadable/$i.png"; done
says "11 of 22 images cannot be read; expected at most 10 %" on 2 "${defects[@]}" --size 40x56 --normal unreadable --hold-out 0 --out none
nothing_in none
# A rank that cannot go on in the midst of the work: an image of other sides than its mask, which is the second's.
"$make_image" set/test/good/02.png 41 57 1
cp set/test/good/02.png set/test/spot/02.png
says "(rank [0-9] left the run: )?.*spot/02.png" on 2 "${defects[@]}" --size 40x56 "${learned[@]}" "${masked[@]}" --out failed
[[ ! -e failed/result.json && ! -e failed/scores.csv ]] || fail "a run that failed left figures"

# A rank that hangs ends the run in words, and leaves no figures.
mkdir many
for i in $(seq 100 399); do ln -s ../set/normal/00.png "many/$i.png"; done
"${launch[@]}" -n 2 "${defects[@]}" --size 320 --normal many --hold-out 0 --rank-timeout 4 --out "hanging-$$" >out.txt 2>err.txt &
process=$!
for _ in $(seq 200); do
  grep -q 'normal images .*/300' out.txt && break
  sleep 0.05
done
victim=$(rank_ids 1 "--out hanging-$$" | head -n 1)
[[ -n $victim ]] || fail "rank 1 is not found"
kill -STOP "$victim"
for _ in $(seq 600); do
  grep -q "rank 0 has waited 4 s for the others; one of them hangs" err.txt && break
  sleep 0.1
done
kill -CONT "$victim" 2>/dev/null || true
status=0
wait $process || status=$?
[[ $status -ne 0 ]] || fail "status 0 of a run whose rank 1 hung"
grep -q "rank 0 has waited 4 s for the others; one of them hangs" err.txt || fail "no words where rank 1 hangs"
nothing_in "hanging-$$"

echo "ranks_evaluated: two processes and three do the work of one"
