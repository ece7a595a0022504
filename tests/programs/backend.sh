#!/usr/bin/env bash
# --backend in every program that has a backbone: what it is, and one line of what is wrong where there is no GPU.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$programs/dssl-scenes" --out voc --train 4 --val 2 --size 32 --classes 3 >out.txt
"$tools/dssl_make_inspection" set 12 4 4
printf 'good/00 good\ngood/01 good\nspot/00 spot\nspot/01 spot\n' >list.txt

# each PROGRAM ARGUMENT...: the program with what it needs to work, and these arguments.
each() {
  local name=$1
  shift
  case $name in
    pretrain) pretrain "${scenes[@]}" --epochs 1 --out o "$@" ;;
    segment) segment --data voc --weights random --classes 3 --out o "$@" ;;
    retrieve) "$programs/dssl-retrieve" --arch nano8 --size 32 --data voc --weights random --classes 3 --out o "$@" ;;
    classify)
      "$programs/dssl-classify" --arch nano8 --size 40x56 --channels 1 --weights random --images set/test \
        --train list.txt --test list.txt --k 1 --out o "$@" ;;
    features) "$programs/dssl-features" --arch nano8 --size 32 --data voc/JPEGImages --weights random --tokens patch --out o.npy "$@" ;;
    show) "$programs/dssl-show" voc/JPEGImages --arch nano8 --size 32 --kind pca --weights random --out o.png "$@" ;;
    defects)
      "$programs/dssl-defects" --arch nano8 --size 40x56 --channels 1 --weights random --normal set/normal \
        --test set/test --out o "$@" ;;
    defect-pilot)
      "$programs/dssl-defect-pilot" --tune-steps 0 --arch nano8 --size 40x56 --channels 1 --weights random --normal set/normal \
        --defects set/test/spot --masks set/masks/spot --out o "$@" ;;
    *) fail "no program $name" ;;
  esac
}

for program in pretrain segment retrieve classify features show defects defect-pilot; do
  fails 2 '--backend is vulkan; expected cpu' each $program --backend vulkan
  fails 2 '--precision is tf32; expected f32, bf16 or auto on the CPU' each $program --precision tf32
  succeeds "$programs/dssl-$program" --help
  grep -q -- '--backend' out.txt || fail "$program does not tell of --backend"
  # Built without CUDA is an argument that makes no sense; a GPU that is not there is work that fails.
  if [[ ! -e /dev/nvidia0 ]]; then
    status=0
    each $program --backend cuda >out.txt 2>err.txt || status=$?
    [[ $(wc -l <err.txt) -eq 1 ]] || fail "$program: not one line for a GPU that is not there"
    case $status in
      1) words='no CUDA device|CUDA driver is too old' ;;
      2) words='--backend is cuda; expected cpu: this program was built without CUDA' ;;
      *) fail "$program: status $status for a GPU that is not there" ;;
    esac
    grep -qE -- "$words" err.txt || fail "$program: a GPU that is not there: $(cat err.txt)"
  fi
  [[ ! -e o/result.json && ! -e o.npy && ! -e o.png && ! -e o/report.html ]] || fail "$program: output of a failure"
done
# The CPU by its name is the CPU.
succeeds each features --backend cpu --threads 1
mv o.npy named.npy
succeeds each features --threads 1
cmp o.npy named.npy || fail "--backend cpu is not what goes without saying"
[[ $(value o.npy.json settings backend) == '"cpu"' ]] || fail "the settings do not name the backend"

# auto is bf16 where the processor multiplies it; bf16 on another is float, and a line says so.
succeeds each features --precision auto --threads 1
auto=$(value o.npy.json settings precision)
[[ $auto == '"bf16"' || $auto == '"f32"' ]] || fail "the settings do not name the precision that auto stands for"
cp o.npy auto.npy
each features --precision bf16 --threads 1 >out.txt 2>err.txt || fail "features in bf16"
cmp o.npy auto.npy || fail "--precision auto is not the precision that it names"
lines=$(grep -c 'warning: --precision bf16: this processor .* has no instructions for bf16' err.txt || true)
if [[ $auto == '"bf16"' ]]; then
  [[ ! -s err.txt ]] || fail "a warning though bf16 is multiplied"
else
  [[ $lines -eq 1 && $(wc -l <err.txt) -eq 1 ]] || fail "not one line of warning where bf16 is not multiplied"
  cmp o.npy named.npy || fail "bf16 that is not multiplied is not float"
fi

echo "backend: all as it should be"
