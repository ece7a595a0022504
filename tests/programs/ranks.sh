#!/usr/bin/env bash
# Runs that several processes share by MPI: the losses of one process, resuming on another number of them, and what is said
# and left behind when one fails. Without MPI (no third argument): that the program says so.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/common.sh"
mpirun=${3:-}

if [[ -z $mpirun ]]; then
  OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=0 fails 2 "--communicator is auto; expected alone: this program was built without MPI" \
    pretrain "${scenes[@]}" --epochs 1 --out none
  OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1 succeeds pretrain "${scenes[@]}" --epochs 1 --communicator alone --out alone
  echo "ranks: this program was built without MPI, and says so"
  exit 0
fi

source "$here/mpi.sh" "$mpirun"
base=(--arch nano8 --views-global 16 --views-local 16 --locals 1 --prototypes 16 --threads 1)
# on RANKS ARGUMENT...: a run of so many processes.
on() {
  local ranks=$1
  shift
  timeout 120 "${launch[@]}" -n "$ranks" "$programs/dssl-pretrain" "${base[@]}" "${scenes[@]}" "$@"
}
pairs_on() {
  timeout 120 "${launch[@]}" -n "$1" "$programs/dssl-pretrain" --arch nano8 --views-global 16 --threads 1 "${scenes[@]}" "${@:2}"
}
losses() { grep -o '"loss":[^,}]*' "$1" | cut -d: -f2; }
# alike FILE FILE [SHARE]: as many losses, the same to four digits, or as near as said.
alike() {
  paste <(losses "$1") <(losses "$2") | awk -v off="${3:-1e-4}" '{ apart = $1 - $2; most = off * ($2 < 0 ? -$2 : $2) } NF != 2 || apart > most || -apart > most { exit 1 }' ||
    fail "$1 and $2 tell of other losses"
}

# The same run on one process and on two, of a recipe without and one with exchanges in the midst of a pass.
for recipe in densedino dinov2; do
  own=(--recipe $recipe --batch 4 --epochs 2)
  succeeds on 1 "${own[@]}" --out one-$recipe
  succeeds on 2 "${own[@]}" --out two-$recipe
  grep -Eq '^ranks: 2 by MPI, 2 of them on this machine(; this one may use .*)?; threads of each: 1$' out.txt || fail "the ranks are not told"
  [[ $(grep -c '^backend:' out.txt) -eq 1 ]] || fail "more than one rank tells of the run"
  [[ $(wc -l <two-$recipe/metrics.jsonl) -eq 4 ]] || fail "metrics.jsonl has no line a step"
  [[ -s two-$recipe/checkpoint.safetensors && -s two-$recipe/teacher.safetensors ]] || fail "no files of two ranks"
  [[ $recipe == dinov2 ]] || alike two-$recipe/metrics.jsonl one-$recipe/metrics.jsonl
  if [[ $recipe == densedino ]]; then
    succeeds on 4 "${own[@]}" --out four-$recipe
    alike four-$recipe/metrics.jsonl one-$recipe/metrics.jsonl
  fi
  succeeds on 2 "${own[@]}" --out again-$recipe
  cmp again-$recipe/checkpoint.safetensors two-$recipe/checkpoint.safetensors || fail "$recipe on two ranks twice: other bits"
done
succeeds on 2 --recipe dinov2 --batch 4 --epochs 2 --koleo-all-ranks --out two-koleo
alike two-koleo/metrics.jsonl one-dinov2/metrics.jsonl
# Of a term that sees the whole batch on every rank, and of one whose batch norms do.
for recipe in simclr pixpro barlow-twins moco-v2; do
  own=(--recipe $recipe --batch 4 --epochs 2 --projector-hidden 24 --projector-out 16)
  [[ $recipe != moco-v2 ]] || own+=(--queue 8)
  succeeds "$programs/dssl-pretrain" --arch nano8 --views-global 16 --threads 1 "${scenes[@]}" "${own[@]}" --out one-$recipe
  for ranks in 2 4; do
    succeeds pairs_on $ranks "${own[@]}" --out $ranks-$recipe
    alike $ranks-$recipe/metrics.jsonl one-$recipe/metrics.jsonl
  done
done

# A preset chooses batches that the ranks divide; a run that is gone on from keeps them.
small_on() { timeout 120 "${launch[@]}" -n "$1" "$programs/dssl-pretrain" --preset small --threads 1 "${scenes[@]}" --max-steps 1 "${@:2}"; }
succeeds small_on 3 --out small-three
grep -q '^preset: .*--batch 3 --accumulate 1 ' out.txt || fail "a preset on three ranks: $(grep preset: out.txt)"
succeeds small_on 4 --recipe dino --out small-four
grep -q '^preset: .*--batch 4 --accumulate 1 ' out.txt || fail "a preset on four ranks: $(grep preset: out.txt)"
succeeds small_on 2 --recipe dino --out small-four --resume
grep -q '^preset: .*--batch 4 --accumulate 1 ' out.txt || fail "a run of four ranks on two: $(grep preset: out.txt)"

# Stopped and resumed on another number of ranks.
succeeds on 2 --batch 4 --epochs 2 --max-steps 3 --out parts
succeeds on 1 --batch 4 --epochs 2 --out parts --resume
alike parts/metrics.jsonl one-densedino/metrics.jsonl

# The optimiser's state in parts, and gradients in half the bytes: the same run, its files whole, resumed on another number.
planned() { sed -En 's/^ *([0-9.]+) MB  optimiser$/\1/p' out.txt; }
succeeds on 2 --batch 4 --epochs 2 --out whole-moments
whole=$(planned)
succeeds on 2 --batch 4 --epochs 2 --shard --max-steps 3 --out parts-of-moments
awk -v whole="$whole" -v part="$(planned)" 'BEGIN { exit !(part > 0 && part < 0.6 * whole) }' || fail "--shard plans $(planned) of $whole"
grep -q 'gradients between ranks$' out.txt || fail "what gradients lie in between ranks is not planned"
succeeds on 1 --batch 4 --epochs 2 --out parts-of-moments --resume
alike parts-of-moments/metrics.jsonl one-densedino/metrics.jsonl
succeeds on 2 --batch 4 --epochs 2 --max-steps 3 --out joined
succeeds on 4 --batch 4 --epochs 2 --out joined --resume --shard --reduce bf16 --bucket-mib 0.01
alike joined/metrics.jsonl one-densedino/metrics.jsonl 5e-3
grep -q '"reduce": *"bf16"' joined/options.json || fail "options.json does not tell of --reduce"

# Gradients that are sent while others are computed: the same bits.
succeeds on 2 --recipe dinov2 --batch 4 --epochs 2 --bucket-mib 0.01 --out buckets
cmp buckets/checkpoint.safetensors two-dinov2/checkpoint.safetensors || fail "--bucket-mib: other bits"

# Features of images that ranks share: the same files as of one process, whatever the turns and whichever cannot be read.
mkdir some
for i in 0 1 2 3 4 5 6 7 8 9; do "$make_image" "some/$i.png" $((30 + 3 * i)) 32 3; done
echo broken >some/0.png
echo broken >some/7.png
of_images=(--arch nano8 --weights random --seed 5 --threads 1 --at-once 2)
features_on() { timeout 120 "${launch[@]}" -n "$1" "$programs/dssl-features" "${of_images[@]}" "${@:2}"; }
warns 4 'skipped: some/[07].png' "$programs/dssl-features" "${of_images[@]}" --size 32,48 --data some --out features.safetensors
mkdir alone shared
mv features.safetensors* alone
for ranks in 2 3; do
  warns 4 'skipped: some/[07].png' features_on $ranks --size 32,48 --data some --out features.safetensors
  grep -Eq "^ranks: $ranks by MPI" out.txt || fail "the ranks of dssl-features are not told"
  [[ $(grep -c '^class.32 ' out.txt) -eq 1 ]] || fail "more than one rank tells of features"
  mv features.safetensors* shared
  for file in features.safetensors features.safetensors.json; do
    cmp alone/$file shared/$file || fail "$file of $ranks ranks differs from that of one process"
  done
done
printf 'some/1.png\nsome/2.png\n' >two.txt
succeeds features_on 4 --out features.npy --tokens class --size 32 --images . --data two.txt
succeeds "$programs/dssl-features" "${of_images[@]}" --out alone/features.npy --tokens class --size 32 --images . --data two.txt
cmp alone/features.npy features.npy || fail "features of two images on four ranks differ from those of one process"

# Where --threads is not said: as many as the processors that a rank may run on.
if [[ $(nproc) -gt 1 ]]; then
  some=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
  succeeds timeout 120 taskset -c "$some" "${launch[@]}" -n 2 "$programs/dssl-pretrain" --arch nano8 --views-global 16 \
    --views-local 16 --locals 1 --prototypes 16 "${scenes[@]}" --batch 4 --epochs 1 --out bound
  grep -Eq '^ranks: .*; this one may use 1 of [0-9]+ processors .*; threads of each: 1$' out.txt || fail "what binds ranks is not told"
fi

# Started by the launcher of another MPI, every process is alone to its own MPI: none runs.
PMI_SIZE=4 PMI_RANK=1 fails 1 "started as one of 4, but MPI counts 1; expected the mpirun" \
  "$programs/dssl-pretrain" "${base[@]}" "${scenes[@]}" --batch 4 --epochs 1 --out strangers
[[ ! -e strangers ]] || fail "a process that MPI does not count wrote something"

# What cannot be is said once, by rank 0.
says() {
  local words=$1 status=0
  shift
  "$@" >out.txt 2>err.txt || status=$?
  [[ $status -ne 0 && $status -ne 124 ]] || fail "status $status of: $*"
  [[ $(grep '^dssl-[a-z]*: ' err.txt | grep -vc ': skipped: ') -eq 1 ]] || fail "not one line of the program on stderr of: $*"
  grep -Eq -- "^dssl-[a-z]*: $words" err.txt || fail "stderr does not say '$words': $*"
}
says "--batch is 3; expected a multiple of the ranks, 2" on 2 --batch 3 --epochs 1 --out no-batch
says "--shard is true; expected false with the optimiser lars, whose rate of a tensor is by the whole tensor" \
  on 2 --batch 4 --epochs 1 --optimizer lars --shard --out no-lars
for other in "--size 48" "--tokens patch" "--at-once 1"; do
  # shellcheck disable=SC2086  # an option and its value
  says "rank 1 has other ${other% *} than rank 0; expected the same on all ranks" timeout 120 "${launch[@]}" \
    -n 1 "$programs/dssl-features" --arch nano8 --weights random --threads 1 --data some --out other.npy : \
    -n 1 "$programs/dssl-features" --arch nano8 --weights random --threads 1 --data some --out other.npy $other
done
for other in "--blocks 0" "--flips" "--no-orient"; do
  # shellcheck disable=SC2086  # an option and its value
  says "rank 1 has other options than rank 0; expected the same on all ranks" timeout 120 "${launch[@]}" \
    -n 1 "$programs/dssl-features" --arch nano8 --weights random --threads 1 --data some --out other.npy : \
    -n 1 "$programs/dssl-features" --arch nano8 --weights random --threads 1 --data some --out other.npy $other
done
mkdir unreadable
for i in 1 2 3; do echo broken >"unreadable/$i.png"; done
says "no image of the set can be read" features_on 2 --size 32 --out none.npy --data unreadable
for i in 4 5 6 7 8 9 10 11 12; do echo broken >"unreadable/$i.png"; done
says "11 of 22 images cannot be read; expected at most 10 %; the last: unreadable/8.png" features_on 2 --size 32 --out none.npy --data unreadable
[[ ! -e none.npy ]] || fail "features of no image were written"
mkdir photos
for i in 1 2 3 4 5 6 7 8; do "$make_image" "photos/$i.png" 40 32 3; done
for i in 2 3 5 7 8; do echo broken >"photos/$i.png"; done
broken() {
  timeout 120 "${launch[@]}" -n 2 "$programs/dssl-pretrain" "${base[@]}" --data photos --batch 4 --epochs 9 --max-unreadable 0 --out photos-run
}
broken >out.txt 2>err.txt && fail "unreadable images do not end a run of two ranks"
grep -q '^dssl-pretrain: .*images cannot be read' err.txt || fail "unreadable images are not named"

# A rank that hangs ends the run in words, rank 0 too (in longer than a checkpoint takes on a busy disk); and srun without a plugin for MPI is noticed.
for rank in 1 0; do
  on 2 --batch 4 --epochs 100000 --rank-timeout 6 --out hanging-$rank-$$ >out.txt 2>err.txt &
  process=$!
  for _ in $(seq 600); do
    [[ $(cat hanging-$rank-$$/metrics.jsonl 2>/dev/null | wc -l) -ge 2 ]] && break
    sleep 0.05
  done
  victim=$(rank_ids $rank "--out hanging-$rank-$$" | head -n 1)
  [[ -n $victim ]] || fail "rank $rank is not found"
  kill -STOP "$victim"
  for _ in $(seq 600); do
    grep -q "rank $((1 - rank)) has waited 6 s for the others; one of them hangs" err.txt && break
    sleep 0.1
  done
  kill -CONT "$victim" 2>/dev/null || true
  status=0
  wait $process || status=$?
  [[ $status -ne 0 && $status -ne 124 ]] || fail "status $status of a run whose rank $rank hung"
  grep -q "rank $((1 - rank)) has waited 6 s for the others; one of them hangs" err.txt || fail "no words where rank $rank hangs"
done
says "this process was started as one of 4, but MPI counts 1" \
  env SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=1 timeout 60 "$programs/dssl-features" --arch nano8 --weights random --threads 1 --data some --out other.npy

# A rank that is killed ends the run on all of them; the last checkpoint goes on.
on 2 --batch 4 --epochs 100000 --checkpoint-steps 1 --out killed-$$ >out.txt 2>err.txt &
process=$!
for _ in $(seq 600); do
  [[ $(cat killed-$$/metrics.jsonl 2>/dev/null | wc -l) -ge 3 ]] && break
  sleep 0.05
done
victim=$(rank_ids 1 "--out killed-$$" | head -n 1)
[[ -n $victim ]] || fail "rank 1 is not found"
kill -KILL "$victim"
status=0
wait $process || status=$?
[[ $status -ne 0 && $status -ne 124 ]] || fail "status $status of a run whose rank 1 was killed"
sleep 0.2
! pgrep -f -- "--out killed-$$" >/dev/null || fail "a rank goes on after another was killed"
succeeds on 1 --batch 4 --epochs 100000 --max-steps 1 --out killed-$$ --resume

echo "ranks: two processes do the work of one"
