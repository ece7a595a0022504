#!/usr/bin/env bash
# dssl-compare: every combination is a row, with a reason where it cannot run; losses beside Reference; bad input.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

tiny=(--arch nano8 --views-global 32 --views-local 16 --locals 1 --batch 2 --prototypes 16 --turns 3 --warm-up 1)
# compares ARGUMENT...: success; the table is in out.txt, JSON in o.json, progress alone on stderr.
compares() {
  local status=0
  rm -f o.json
  "$programs/dssl-compare" "${tiny[@]}" --out o.json "$@" >out.txt 2>err.txt || status=$?
  [[ $status -eq 0 ]] || fail "status $status of dssl-compare $*"
  ! grep -vqE '^(compare [0-9]+/[0-9]+ steps|a step on Reference)' err.txt || fail "something but progress on stderr"
  [[ $(value o.json program) == '"dssl-compare"' ]] || fail "no JSON"
}
rows() { grep -c '^| [a-z]* | [a-z]* | [a-z]*[0-9][0-9]* | [a-z0-9]* |' out.txt; }
# row I FIELD...: a value of row I.
row() { value o.json rows "$@"; }
# holds TEXT EXPRESSION: of numbers, with x for the first argument.
holds() { awk -v x="$2" "BEGIN { exit !($3) }" || fail "$1: $2 is not $3"; }

# As many rows as combinations, each either measured or with a reason, in their order.
compares --backends reference,cpu,cuda --products own,onednn,cblas --precisions f64,f32,bf16,tf32 --threads 1,2 --emulate-bf16
count=$((3 * 3 * 4 * 2))
[[ $(rows) -eq $count ]] || fail "$(rows) rows, not $count"
ran=0
for ((i = 0; i < count; ++i)); do
  if [[ $(row $i ran) == true ]]; then
    ran=$((ran + 1))
    name="$(row $i backend) $(row $i products) $(row $i precision)"
    holds "seconds of $name" "$(row $i seconds min)" 'x > 0'
    holds "median of $name" "$(row $i seconds median)" "x >= $(row $i seconds min) && x <= $(row $i seconds max)"
    holds "images/s of $name" "$(row $i images_per_second)" 'x > 0'
    holds "plan of $name" "$(row $i memory plan)" 'x > 1000000'
    holds "peak of $name" "$(row $i memory peak)" "x >= 0.9 * $(row $i memory plan)"
    difference=$(row $i loss_difference) norm=$(row $i gradient_norm_difference)
    case $name in
      '"reference" "own" "f64"') [[ $difference == 0.0 && $norm == 0.0 ]] || fail "Reference is not Reference: $difference, $norm" ;;
      *'"f32"' | *'"tf32"')
        holds "loss of $name" "$difference" 'x < 1e-3 && x > -1e-3'
        [[ $name == *tf32* ]] || holds "loss of $name" "$difference" 'x < 2e-5 && x > -2e-5'
        [[ $name == *tf32* ]] || holds "gradient norm of $name" "$norm" 'x < 1e-4 && x > -1e-4' ;;
      *'"bf16"')
        holds "loss of $name" "$difference" 'x != 0 && x < 0.05 && x > -0.05'
        holds "gradient norm of $name" "$norm" '(x > 1e-6 || x < -1e-6) && x < 0.1 && x > -0.1' ;;
      *) fail "row $i should not have run: $name" ;;
    esac
  else
    [[ $(row $i reason) == '"'?*'"' ]] || fail "row $i has no reason"
  fi
done
[[ $(grep -c 'cannot run: ' out.txt) -eq $((count - ran)) ]] || fail "the table does not list what cannot run"
# Reference (one thread), the own kernels in f32 and bf16 (one and two) run everywhere.
[[ $ran -ge 5 ]] || fail "$ran combinations ran"
grep -q '^| reference | own | f64 | 2 | cannot run: Reference has one thread |' out.txt || fail "no reason for threads of Reference"
grep -q '^| cpu | cblas | bf16 | 1 | cannot run: a CBLAS has no products in bf16 |' out.txt || fail "no reason for bf16 by a CBLAS"
[[ $(value o.json rows 0 seconds all | tr -cd , | wc -c) -eq 2 ]] || fail "not three turns"

# The same bits for any number of threads; other recipes; without the oracle there are no differences.
for recipe in dino feature-map; do
  compares --recipe $recipe --precisions f32 --threads 1,2
  [[ $(row 0 loss) == "$(row 1 loss)" && $(row 0 gradient_norm) == "$(row 1 gradient_norm)" ]] || fail "$recipe: threads change the loss"
  holds "loss of $recipe" "$(row 0 loss_difference)" 'x < 2e-5 && x > -2e-5'
done
compares --precisions f32 --no-check
[[ $(value o.json reference) == null ]] || fail "an oracle that was not asked for"
! grep -q loss_difference o.json || fail "a difference from nothing"

# bf16 without instructions for it is said, and is no row of float products; nothing that runs is a failure.
status=0
"$programs/dssl-compare" "${tiny[@]}" --precisions bf16 --no-check >out.txt 2>err.txt || status=$?
if grep -q 'cannot run' out.txt; then
  grep -q 'has no instructions for bf16' out.txt || fail "no reason for bf16"
  [[ $status -eq 1 && $(wc -l <err.txt) -eq 1 ]] || fail "status $status where nothing can run"
  grep -q 'none of the combinations can run here' err.txt || fail "nothing said where nothing can run"
else
  [[ $status -eq 0 ]] || fail "status $status for bf16"
fi

# Bad input, in one line, before anything is measured.
compare() { "$programs/dssl-compare" --arch nano8 "$@"; }
fails 2 '--backends: .*vulkan' compare --backends cpu,vulkan
fails 2 '--products: .*eigen' compare --products eigen
fails 2 '--precisions: .*f16' compare --precisions f16
fails 2 '--threads: .*-1' compare --threads 1,-1
fails 2 '--views-global is 20; expected a multiple of the patch, 8 pixels' compare --views-global 20
fails 2 '--locals is -5; expected 0 to 32766' compare --locals -5
fails 2 '--points is 0; expected at least 1' compare --points 0
fails 2 '--batch is 0; expected at least 1' compare --batch 0
fails 2 '--turns' compare --turns 0
fails 2 '--recipe is moco; expected densedino, dino or feature-map' compare --recipe moco
fails 1 'nowhere' compare --out nowhere/o.json
# More than there is memory for ends that row alone.
"$programs/dssl-compare" --arch nano8 --views-global 32 --views-local 32 --locals 0 --batch 2 --prototypes 1000000000000 --precisions f32 \
  --no-check >out.txt 2>err.txt && fail "a head that no machine holds"
grep -q '^| cpu | own | f32 | all | cannot run: ' out.txt || fail "no reason for a head that no machine holds"

echo "compare: all as it should be"
