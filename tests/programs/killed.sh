#!/usr/bin/env bash
# A run that is killed at random moments, again and again, and resumed each time, ends in the bits of one that was not.
# Usage: killed.sh FOLDER_OF_PROGRAMS MAKE_IMAGE [KILLS] [SECONDS] [SEED]: no kill begins after so many seconds.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
kills=${3:-4} bound=${4:-30} seed=${5:-$(date +%s)}
RANDOM=$((seed % 32768))
echo "seed $((seed % 32768))"

# A checkpoint after every step, so that many moments are in the middle of a write.
run=("$programs/dssl-pretrain" "${tiny[@]}" "${scenes[@]}" --threads 1 --epochs 1000000 --checkpoint-steps 1)
now() { date +%s%3N; }
began=$(now)
lines() { cat out/metrics.jsonl 2>/dev/null | wc -l; }
# What a run has to say of what a killed one left, beside the folder of the checkpoint: --resume once there is one.
start() {
  local how=--overwrite
  [[ ! -e out/checkpoint.safetensors ]] || how=--resume
  "${run[@]}" --out out $how >out.txt 2>err.txt &
  process=$!
}
# killed_after MILLISECONDS
made=0 writing=0
killed_after() {
  sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"
  kill -KILL $process 2>/dev/null || true
  local status=0
  wait $process 2>/dev/null || status=$?
  [[ $status -eq 137 ]] || fail "status $status of a run that was to be killed"
  [[ ! -s err.txt ]] || fail "something on stderr of a run that was killed"
  made=$((made + 1))
  local left
  left=$(find out -name '*.tmp-*' 2>/dev/null | wc -l)
  writing=$((writing + (left > 0 ? 1 : 0)))
  [[ $left -le 1 ]] || fail "$left files of killed runs are left: a later run did not remove its predecessors'"
}

# How long it takes to the third step here: moments are drawn from twice that, so that runs come on between kills.
start
for _ in $(seq 1000); do
  [[ $(lines) -lt 3 ]] || break
  sleep 0.02
done
span=$((2 * ($(now) - began)))
killed_after 0
while [[ $made -lt $kills && $(now) -lt $((began + 1000 * bound)) ]]; do
  start
  killed_after $(((RANDOM * 32768 + RANDOM) % span))
done

succeeds "${run[@]}" --max-steps 1 --out out --resume
steps=$(sed -n 's/^stopped after step \([0-9]*\) .*/\1/p' out.txt)
succeeds "${run[@]}" --max-steps "$steps" --out whole
for file in teacher.safetensors checkpoint.safetensors; do
  cmp out/$file whole/$file || fail "the killed run ends in another $file"
done
losses() { grep -o '"step":[0-9]*\|"loss":[^,}]*' "$1"; }
[[ $(losses out/metrics.jsonl) == "$(losses whole/metrics.jsonl)" ]] || fail "the killed run tells of other losses"
[[ -z $(find out \( -name '*.tmp-*' -o -name .lock \)) ]] || fail "something of killed runs is left"
echo "killed: $made times, $writing of them in the middle of a write; $steps steps end in the bits of a run that was not"
