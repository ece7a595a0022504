#!/usr/bin/env bash
# Whether the published recipes keep their bits: trains each for some steps with dssl-pretrain as it is in the working tree
# and as it was at a commit, plain and in every way of running a step, and compares weights, optimiser state and centres
# byte for byte: names and shapes of the tensors and every value, not the words beside them, which grow with the options.
# Usage: same_bits.sh COMMIT [STEPS]   (12 steps unless told otherwise)
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $# -ge 1 && $# -le 2 ]] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
commit=$(git rev-parse --verify "$1^{commit}") steps=${2:-12}

work=$(mktemp -d)
trap 'git worktree remove --force "$work/tree" 2>/dev/null || true; rm -rf "$work"' EXIT
git worktree add --detach "$work/tree" "$commit" >/dev/null
for tree in before now; do
  source=$PWD
  [[ $tree == now ]] || source=$work/tree
  cmake -S "$source" -B "$work/build-$tree" -G Ninja -DCMAKE_BUILD_TYPE=Release -DDSSL_BUILD_TESTS=OFF -DDSSL_CUDA=OFF >/dev/null
  cmake --build "$work/build-$tree" --parallel "$(nproc)" --target dssl-pretrain >/dev/null
done

# tensors FILE: what a safetensors file holds but for its metadata: the header's entries by name, then all bytes behind it.
tensors() {
  local length
  length=$(od -An -t u8 -N 8 "$1" | tr -d ' ')
  head -c $((8 + length)) "$1" | tail -c +9 | grep -aoE '"[^"]+":\{"dtype":"[A-Z0-9_]+","shape":\[[0-9, ]*\],"data_offsets":\[[0-9, ]+\]\}' | sort
  tail -c +$((9 + length)) "$1"
}
differ=0
for recipe in densedino dino feature-map; do
  for how in plain --stream-views --recompute "--precision bf16" "--accumulate 2" "--optimizer lars"; do
    for tree in before now; do
      # shellcheck disable=SC2086
      "$work/build-$tree/examples/dssl-pretrain" --recipe $recipe --arch nano8 --data synthetic --synthetic-count 64 \
        --synthetic-size 48 --batch 4 --views-global 32 --views-local 16 --locals 2 --prototypes 64 --epochs 2 \
        --warmup-epochs 1 --max-steps "$steps" --threads 2 --overwrite --out "$work/$tree" ${how#plain} >/dev/null 2>"$work/err" ||
        { echo "$recipe ${how#--}, $tree: $(tail -n 1 "$work/err")" >&2; exit 1; }
      for file in teacher checkpoint; do tensors "$work/$tree/$file.safetensors" >"$work/$tree.$file"; done
    done
    word=equal
    for file in teacher checkpoint; do
      cmp -s "$work/before.$file" "$work/now.$file" || { word=DIFFERENT differ=1; }
    done
    echo "$recipe ${how#--}: $word"
  done
done
exit $differ
