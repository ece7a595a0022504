#!/usr/bin/env bash
# dssl-variants: a row a variant and backend, in text and JSON; a labelled folder gives a k-NN score; what cannot be is said.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

tiny=(--epochs 1 --batch 2 --size 32 --local-size 16 --locals 1 --scenes 4 --queries 3 --prototypes 16 --threads 1)

"$programs/dssl-variants" "${tiny[@]}" --out v.json >out.txt 2>err.txt || fail "status $? of dssl-variants"
! grep -vqE '^[a-z ]+ [0-9]+/[0-9]+ steps' err.txt || fail "something but progress on stderr: $(cat err.txt)"
count=$(value v.json rows | grep -o '"variant"' | wc -l)
[[ $count -ge 3 ]] || fail "$count rows"
[[ $(grep -c '^| ' out.txt) -eq $((count + 1)) ]] || fail "the table has not $count rows"
for ((i = 0; i < count; ++i)); do
  for field in loss seconds planned_megabytes; do above "$(value v.json rows $i $field)" 0.000001 "$field of row $i"; done
  above "$(value v.json rows $i rank trained)" 1 "rank of row $i"
  above "$(value v.json rows $i retrieval untrained)" 0 "retrieval of row $i"
done
# The same again, but for the times.
"$programs/dssl-variants" "${tiny[@]}" --only dino --out w.json >/dev/null 2>&1 || fail "status $? of one variant"
[[ $(value w.json rows 0 loss) == "$(value v.json rows $((count - 1)) loss)" ]] || fail "alone, a variant has another loss"

# The same on every backend of the list: the loops of Reference come near, and products in bf16 a little less.
"$programs/dssl-variants" "${tiny[@]}" --only dino --backends reference cpu cpu-bf16 --out b.json >out.txt 2>err.txt || fail "status $? of three backends"
[[ $(grep -c '^| dino | ' out.txt) -eq 3 ]] || fail "the table has not three rows: $(cat out.txt)"
[[ $(value b.json rows 0 loss) == "$(value w.json rows 0 loss)" ]] || fail "beside other backends, cpu has another loss"
for i in 0 1 2; do
  names=('"cpu"' '"cpu-bf16"' '"reference"') limits=(0 0.05 0.001)
  [[ $(value b.json rows $i backend) == "${names[i]}" ]] || fail "row $i is of $(value b.json rows $i backend)"
  awk -v a="$(value b.json rows $i loss)" -v b="$(value b.json rows 0 loss)" -v most="${limits[i]}" \
    'BEGIN { d = a - b; exit !((d < 0 ? -d : d) <= most * b) }' || fail "the loss on ${names[i]} is $(value b.json rows $i loss)"
done
[[ $(value b.json rows 2 loss) != "$(value b.json rows 0 loss)" ]] || fail "reference gives the bits of cpu: it did not run"

# A folder with a label a subfolder.
for label in a b; do
  mkdir -p "labelled/$label"
  for i in 1 2 3 4; do "$make_image" "labelled/$label/$i.png" 40 40 3; done
done
"$programs/dssl-variants" "${tiny[@]}" --data labelled --only dino --out k.json >/dev/null 2>err.txt || fail "a labelled folder: $(cat err.txt)"
above "$(value k.json rows 0 knn trained)" 0 "k-NN"

fails 2 "--only is x; expected a variant of the list: densedino, " "$programs/dssl-variants" "${tiny[@]}" --only x
fails 2 "--backends is abacus; expected a backend of the list: cpu, cpu-bf16, reference" "$programs/dssl-variants" "${tiny[@]}" --backends abacus
fails 2 "multiples of the patch, 8 pixels" "$programs/dssl-variants" --scenes 4 --size 60
fails 1 "missing" "$programs/dssl-variants" "${tiny[@]}" --data missing
fails 1 "no/such/v.json" "$programs/dssl-variants" "${tiny[@]}" --out no/such/v.json
fails 2 "--epochs" "$programs/dssl-variants" --epochs 0
fails 1 "would be one of the pictures of labelled" "$programs/dssl-variants" "${tiny[@]}" --data labelled --out labelled/v.png
[[ ! -e no ]] || fail "something was left"
