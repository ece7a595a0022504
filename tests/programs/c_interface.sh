#!/usr/bin/env bash
# The interface for C: its examples give the numbers of dssl-features and dssl-defects to the bit, what is wrong is said in
# words, and the library shows nothing but its header's functions.
# Usage: c_interface.sh FOLDER_OF_PROGRAMS MAKE_IMAGE FOLDER_OF_CASES FOLDER_OF_EXAMPLES CHECKER LIBRARY HEADER
usage="usage: c_interface.sh FOLDER_OF_PROGRAMS MAKE_IMAGE FOLDER_OF_CASES FOLDER_OF_EXAMPLES CHECKER LIBRARY HEADER"
cases=$(realpath "${3:?$usage}") examples=${4:?$usage} checker=${5:?$usage} library=${6:?$usage} header=${7:?$usage}
source "$(dirname "$0")/common.sh"

published=$cases/container_zip/weights.pth
# Pictures of bytes that are there: ppm FILE FIRST, pgm FILE FIRST.
ppm() { { printf 'P6\n# a picture\n60 50\n255\n'; head -c $((9000 + $2)) "$published" | tail -c 9000; } >"$1"; }
pgm() { { printf 'P5 60 50 255\n'; head -c $((3000 + $2)) "$published" | tail -c 3000; } >"$1"; }
mkdir pictures normal new
ppm pictures/a.ppm 1000
for i in $(seq 10 34); do ppm "normal/$i.ppm" $((100 * i)); done
ppm new/a.ppm 9000
pgm new/b.pgm 2000

# Features, of published weights and of dssl's own, whose heads are not the usual ones.
same_features() {  # weights size heads numbers-of-a-token patches
  local weights=$1 size=$2 heads=$3 token=$4 patches=$5
  succeeds "$programs/dssl-features" --data pictures --arch auto --weights "$weights" --size "$size" --heads "$heads" --out own.npy
  succeeds "$examples/features" "$weights" pictures/a.ppm c.bin "$size" "$heads"
  [[ $(stat -c %s c.bin) -eq $((4 * token * (1 + patches))) ]] || fail "not $token numbers for a class token and $patches patches"
  { tail -c $((4 * token)) own.class.npy; tail -c $((4 * token * patches)) own.patch.npy; } >expected.bin
  cmp expected.bin c.bin || fail "other features in C of $weights"
}
same_features "$published" 40 2 16 25
same_features "$published" 56 2 16 49
same_features "$cases/dinov3_7b_like/weights.pth" 64 0 32 64
succeeds pretrain "${scenes[@]}" --epochs 1 --out run
same_features run/teacher.safetensors 32 0 128 16

# Scores: of a bank of published weights, whose sizes the file says, and of one of a named architecture.
same_scores() {  # weights bank
  local weights=$1 bank=$2 name line
  succeeds "$programs/dssl-defects" --weights "$weights" --bank "$bank" --test new --maps --out scored
  for name in new/a.ppm new/b.pgm; do
    line=$(grep "\"file\":\"$name\"" scored/scores.jsonl) || fail "no score of $name"
    printf '%s\n' "$line" >line.json
    succeeds "$examples/inspect" "$weights" "$bank" "$name" map.pgm
    read -r _ score _ white _ threshold _ alarm <out.txt
    awk -v a="$score" -v b="$(value line.json score)" 'BEGIN { exit !(a + 0 == b + 0) }' ||
      fail "the score of $name is $score in C; expected $(value line.json score)"
    awk -v a="$white" -v b="$(value line.json map_white)" 'BEGIN { d = a - b; exit !(d < 1e-8 * b && d > -1e-8 * b) }' ||
      fail "the largest score of the map of $name is $white in C; expected $(value line.json map_white)"
    awk -v a="$threshold" -v b="$(value scored/result.json calibrated threshold)" 'BEGIN { exit !(a + 0 == b + 0) }' ||
      fail "the threshold is $threshold in C"
    grep -q "\"alarm\":$([[ $alarm == 1 ]] && echo true || echo false)" line.json || fail "alarm of $name is $alarm in C"
    # The maps, of the input's size, have the same features if they are the same pixels.
    rm -rf of_program of_c
    mkdir of_program of_c
    cp "scored/$(value line.json map | tr -d '"')" of_program/map.png
    mv map.pgm of_c/map.pgm
    for maps in of_program of_c; do
      succeeds "$programs/dssl-features" --data $maps --weights random --arch nano8 --channels 1 --size 40x48 --tokens patch --out $maps.npy
    done
    cmp of_program.npy of_c.npy || fail "another map of $name in C"
  done
}
made=(--normal normal --hold-out 0.4 --false-alarms 0.1 --coreset 0.5 --smoothing 2 --size 40x48)
succeeds "$programs/dssl-defects" --weights "$published" --arch auto --heads 2 "${made[@]}" --out published
same_scores "$published" published/bank.safetensors
succeeds "$programs/dssl-defects" --weights run/teacher.safetensors --arch nano8 "${made[@]}" --fit pad --flips --out own
same_scores run/teacher.safetensors own/bank.safetensors
# Heads that nobody says are called usual; a bank's weights are run with its own, and refused where they say others.
succeeds "$programs/dssl-convert" run/teacher.safetensors hf --as hf
succeeds "$programs/dssl-convert" run/teacher.safetensors bare.pth --as dino
succeeds "$programs/dssl-defects" --weights hf --arch auto "${made[@]}" --out of_hf
same_scores hf of_hf/bank.safetensors
# What images are normalised by is what the weights say, and of a bank what it was made with.
cp -r hf halved
sed -i -E 's/("image_(mean|std)": ).*\]/\1[0.5, 0.5, 0.5]/' halved/preprocessor_config.json
same_features halved 32 0 128 16
grep -q '; images less (0.5, 0.5, 0.5), divided by (0.5, 0.5, 0.5); ' out.txt || fail "what images are normalised by is not said"
cp c.bin halved.bin
same_features hf 32 0 128 16
! cmp -s c.bin halved.bin || fail "features do not depend on the scale of pixels"
succeeds "$programs/dssl-defects" --weights halved --arch auto "${made[@]}" --out of_halved
same_scores hf of_halved/bank.safetensors
succeeds "$programs/dssl-defects" --weights run/teacher.safetensors --arch auto "${made[@]}" --out of_run
same_scores bare.pth of_run/bank.safetensors
succeeds "$programs/dssl-convert" bare.pth two.safetensors --as dino --heads 2
fails 1 'inspect: of_run/bank.safetensors: was made with heads 4, and two.safetensors is run with heads 2;' \
  "$examples/inspect" two.safetensors of_run/bank.safetensors new/a.ppm
succeeds "$examples/features" hf pictures/a.ppm c.bin 32
grep -q 'heads 4, patch' out.txt || fail "the heads that config.json says are not said"
succeeds "$examples/features" bare.pth pictures/a.ppm c.bin 32
grep -q 'heads 2 (usual), patch' out.txt || fail "heads that nobody says are not called usual"
# Looked at otherwise; by windows maps have each image's size, which the interface does not say.
succeeds "$programs/dssl-defects" --weights run/teacher.safetensors --arch nano8 "${made[@]}" --border 1 --standardise-features \
  --standardise-images --top 2 --out look
same_scores run/teacher.safetensors look/bank.safetensors
succeeds "$programs/dssl-defects" --weights run/teacher.safetensors --arch nano8 "${made[@]}" --tiles --overlap 8 --out tiles

# What goes wrong, and threads.
succeeds "$checker" "$published" 2 "$published" published/bank.safetensors "$cases/container_f16/weights.pth" "$cases/hostile"
fails 2 'usage: .*features WEIGHTS PICTURE OUT' "$examples/features"
fails 1 "features: option 'heads' is 0; expected the number of heads" "$examples/features" "$published" pictures/a.ppm c.bin
fails 1 'features: the picture cannot be read' "$examples/features" "$published" "$published" c.bin 40 2
fails 1 'inspect: .*was made with --tiles' "$examples/inspect" run/teacher.safetensors tiles/bank.safetensors new/a.ppm
fails 1 'inspect: .*is no bank of dssl-defects' "$examples/inspect" "$published" "$cases/container_safetensors/model.safetensors" new/a.ppm
fails 1 'inspect: .*was made with other weights than' "$examples/inspect" "$cases/container_f16/weights.pth" published/bank.safetensors new/a.ppm
fails 1 'inspect: .*does not fit this architecture' "$examples/inspect" "$published" own/bank.safetensors new/a.ppm

# The library shows the functions of its header, and no others.
if command -v nm >nm.txt; then
  nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >shown.txt
  grep -oE '\bdssl_[a-z_]+\(' "$header" | tr -d '(' | sort -u >declared.txt
  diff declared.txt shown.txt >&2 || fail "the library shows other functions than its header declares"
  [[ $(wc -l <declared.txt) -ge 10 ]] || fail "the header declares no functions"
fi
echo "C: the numbers of the programs"
