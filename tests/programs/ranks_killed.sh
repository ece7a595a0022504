#!/usr/bin/env bash
# A run of several ranks one of which is killed at a random moment, again and again: all ranks end in bounded time, nothing is left
# running or half-written, and resuming on one, two or three ranks gives the same bits each time.
# Usage: ranks_killed.sh FOLDER_OF_PROGRAMS MAKE_IMAGE MPIEXEC [KILLS] [SEED]
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/common.sh"
source "$here/mpi.sh" "$3"
kills=${4:-20} seed=${5:-$(date +%s)}
RANDOM=$((seed % 32768))
echo "seed $((seed % 32768))"

name=ranks-killed-$$
# on RANKS FOLDER ARGUMENT...: batches of six images, a checkpoint after every step.
on() {
  timeout 60 "${launch[@]}" -n "$1" "$programs/dssl-pretrain" --arch nano8 --views-global 16 --views-local 16 --locals 1 --prototypes 16 \
    --threads 1 "${scenes[@]}" --batch 6 --epochs 1000000 --checkpoint-steps 1 --out "$name/$2" "${@:3}"
}
left() { find "$name" \( -name '*.tmp-*' -o -name .lock \) | wc -l; }
halves() { find "$name" -name '*.tmp-*' | wc -l; }

began=$(date +%s%3N)
succeeds on 3 run --max-steps 2
span=$((2 * ($(date +%s%3N) - began)))  # moments are drawn from twice what two steps take, so that runs come on between kills
longest=0 writing=0
for made in $(seq "$kills"); do
  ranks=$((2 + RANDOM % 2)) victim=$((RANDOM % ranks))
  on "$ranks" run --resume >out.txt 2>err.txt &
  process=$!
  moment=$(((RANDOM * 32768 + RANDOM) % span))
  sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
  found=
  for _ in $(seq 200); do
    found=$(rank_ids $victim "--out $name/" | head -n 1)
    [[ -z $found ]] || break
    sleep 0.05
  done
  [[ -n $found ]] || fail "rank $victim of $ranks is not found"
  kill -KILL "$found"
  dead=$(date +%s%3N) status=0
  wait $process || status=$?
  took=$(($(date +%s%3N) - dead))
  [[ $status -ne 0 && $status -ne 124 ]] || fail "status $status of a run whose rank $victim of $ranks was killed"
  [[ $took -le $longest ]] || longest=$took
  sleep 0.2
  ! pgrep -f -- "--out $name/" >/dev/null || fail "a rank goes on after rank $victim of $ranks was killed"
  [[ $(halves) -le 1 ]] || fail "killed ranks left $(halves) half-written files"
  writing=$((writing + $(halves)))
  # Twice on some number of ranks: the same bits, and nothing is left of those before.
  again=$((1 + made % 3))
  cp -r "$name/run" "$name/twin"
  succeeds on $again run --resume --max-steps 2
  succeeds on $again twin --resume --max-steps 2
  for file in checkpoint.safetensors teacher.safetensors; do
    cmp "$name/run/$file" "$name/twin/$file" || fail "resumed twice on $again ranks after kill $made: other bits in $file"
  done
  rm -r "$name/twin"
  [[ $(left) -eq 0 ]] || fail "a resumed run left what killed ranks wrote"
done
echo "ranks killed: $kills times, $writing of them in the middle of a write; every run ended within $longest ms, and resumed on 1 to 3 ranks to the same bits"
