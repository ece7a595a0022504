#!/usr/bin/env bash
# Published weights in the programs: what dssl-convert says and writes, and that features are the same from either file.
# Usage: weights.sh FOLDER_OF_PROGRAMS MAKE_IMAGE FOLDER_OF_CASES
# The environment's DSSL_INTEROP may name a folder with more cases.
cases=$(realpath "${DSSL_INTEROP:-${3:?usage: weights.sh FOLDER_OF_PROGRAMS MAKE_IMAGE FOLDER_OF_CASES}}")
source "$(dirname "$0")/common.sh"

convert=$programs/dssl-convert
says() { grep -Eq -- "$1" out.txt || fail "stdout does not say '$1'"; }

mkdir images
for i in 1 2; do "$make_image" images/$i.png 60 50 3 >make.txt || fail "make_image"; done

succeeds "$convert" --inspect "$cases/container_zip/weights.pth"
says '^cls_token +F32 +\[1, 1, 16\]$'
says '^18 tensors, 6832 numbers$'
says '^dino: width 16, depth 1, heads unknown, patch 8, MLP of 64, positions 5x5 \(offset\)'
succeeds "$convert" --inspect "$cases/dinov3_7b_like/weights.pth"
says '^dinov3: width 32, depth 2, heads 2, patch 8, SwiGLU of 64, registers 4, LayerScale, positions rotary, queries, keys and values without bias, norm epsilon 1e-05'

fails 1 'model.safetensors: was trained without reference tokens' "$programs/dssl-features" --data images --tokens patch --arch auto \
  --heads 2 --size 40 --read references --points 2x --weights "$cases/hf_dino/model.safetensors" --out none.npy

fails 1 "system.pth: refers to 'posix.system', which .* nothing of it is run" "$convert" --inspect "$cases/hostile/system.pth"
fails 1 "html.pth: is a page of a web server" "$convert" "$cases/hostile/html.pth" out.safetensors
fails 2 "expected a file to write, or --inspect" "$convert" "$cases/container_zip/weights.pth"
fails 1 "has rotary positions, for which the family dinov2 has no names" \
  "$convert" "$cases/dinov3_7b_like/weights.pth" out.safetensors --as dinov2
[[ ! -e out.safetensors ]] || fail "a file was written though it was refused"
for name in o1.onnx words.txt safetensors; do
  fails 2 "'out' is $name; expected a name that ends in .safetensors, .pth, .pt or .bin" "$convert" "$cases/container_zip/weights.pth" $name --as timm
  [[ ! -e $name ]] || fail "weights are written under the name of something else"
done
cp "$cases/container_safetensors/model.safetensors" own.safetensors
fails 1 "is read too, by IN" "$convert" own.safetensors own.safetensors

# Features are those of the file itself, whatever names it was written under.
features() { "$programs/dssl-features" --data images --tokens class,patch --arch auto --out "$@"; }
same_features() {  # NAME: those in NAME.npy are those of the file, to the bit
  local token
  for token in class patch; do cmp own.$token.npy $1.$token.npy || fail "features of the $token tokens differ in $1"; done
}
succeeds features own.npy --weights "$cases/container_zip/weights.pth" --heads 2 --size 40
for family in dino densedino timm torchvision; do
  succeeds "$convert" "$cases/container_zip/weights.pth" as_$family.safetensors --as $family --heads 2
  succeeds features as_$family.npy --weights as_$family.safetensors --heads 2 --size 40
  same_features as_$family
done
# As .pth, and as a folder of Transformers, whose config.json says the heads.
succeeds "$convert" "$cases/container_zip/weights.pth" as_dino.pth --as dino
succeeds features as_pth.npy --weights as_dino.pth --heads 2 --size 40
same_features as_pth
# A path that is not UTF-8, in settings, which are.
latin=$'gr\xf6\xdfe.pth'
cp as_dino.pth "$latin"
succeeds features latin.safetensors --weights "$latin" --heads 2 --size 40
succeeds "$convert" "$cases/container_zip/weights.pth" folder --as hf --heads 2
succeeds "$convert" "$cases/container_zip/weights.pth" folder --as hf --heads 2  # over what it wrote itself
says "^positions: these weights go by the rule 'offset' at other sizes, the family hf by 'size'; features are the same at 40 pixels"
succeeds features as_hf.npy --weights folder --size 40
same_features as_hf
fails 1 "has norms with an epsilon of 1e-12, and those of the family timm have 1e-06" \
  "$convert" "$cases/hf_dino/model.safetensors" out.safetensors --as timm
fails 1 "folder/config.json: is read too, by IN" "$convert" folder/model.safetensors folder/pytorch_model.bin --as hf
fails 2 "expected a folder, or a file called model.safetensors or" "$convert" "$cases/hf_dino/model.safetensors" folder/other.safetensors --as hf --heads 4
mkdir other
echo '{"of": "another program"}' >other/config.json
fails 1 "other/config.json: is there, and other/model.safetensors is not" "$convert" "$cases/hf_dino/model.safetensors" other --as hf --heads 4
[[ $(cat other/config.json) == '{"of": "another program"}' && ! -e other/model.safetensors ]] || fail "another program's config.json is written over"
for name in out.onnx vit.json; do
  fails 2 "'?out'? is $name; expected a folder, .*; a folder whose name ends in .${name#*.} has to be there" \
    "$convert" "$cases/hf_dino/model.safetensors" $name --as hf --heads 4
  [[ ! -e $name ]] || fail "a folder called $name was made"
done
for out in no/where/at/all no/where/model.safetensors; do
  fails 2 "is $out.*; expected a place in a folder that is there, and .*/no(/where/at)? is not" "$convert" "$cases/hf_dino/model.safetensors" $out --as hf --heads 4
done
[[ ! -e no ]] || fail "folders were made that nobody named"
mkdir vit.v2
succeeds "$convert" "$cases/hf_dino/model.safetensors" vit.v2 --as hf --heads 4
# What rotates under the names of its own code, Transformers' and timm's: the same features, but for periods that are rounded in
# DINOv3's files and computed by the others.
v3="$cases/dinov3_7b_like/weights.pth"
succeeds features v3.npy --size 64x56 --weights "$v3"
succeeds "$convert" "$v3" as_v3.pth --as dinov3
succeeds features own.npy --size 64x56 --weights as_v3.pth
cmp v3.patch.npy own.patch.npy || fail "features of DINOv3's own names differ"
for family in hf timm; do
  mkdir v3_$family
  succeeds "$convert" "$v3" v3_$family/model.safetensors --as $family
  says "^norms: that of local views' class tokens, .* has no name in the family $family, and is left out"
  says "^positions: these weights keep their periods, rounded by up to 0.[0-9]* %, and the code of the family $family computes them"
  succeeds "$convert" v3_$family/model.safetensors v3_$family.pth --as dinov3 --heads 2
  ! grep -q '^positions' out.txt || fail "periods that were computed are called rounded"
  succeeds features $family.npy --size 64x56 --weights v3_$family/model.safetensors --heads 2
  succeeds features own.npy --size 64x56 --weights v3_$family.pth
  cmp $family.patch.npy own.patch.npy || fail "features differ between DINOv3's names and those of $family"
done
cmp hf.patch.npy timm.patch.npy || fail "features differ between Transformers' DINOv3 and timm's"
grep -q '"architectures": \["DINOv3ViTModel"\]' v3_hf/config.json || fail "what rotates is no DINOv3ViTModel"
fails 1 "has a position table, for which the family dinov3 has no names" "$convert" "$cases/container_zip/weights.pth" out.pth --as dinov3
# A folder is its file of weights and its configuration.
mkdir linked
cp folder/config.json linked
cp as_dino.pth linked/pytorch_model.bin
ln linked/pytorch_model.bin linked.safetensors
ln linked/config.json linked.onnx
fails 1 "linked.safetensors: is read too, as linked/pytorch_model.bin by --weights" features linked.safetensors --weights linked --size 40
fails 1 "linked.onnx: is read too, as linked/config.json by IN" "$programs/dssl-export" linked linked.onnx --heads 2
cmp -s as_dino.pth linked/pytorch_model.bin || fail "weights in a folder are written over"
fails 2 "expected a family for a file of torch.load" "$convert" "$cases/container_zip/weights.pth" out.pth
fails 2 "expected the number of heads of" "$convert" "$cases/container_zip/weights.pth" new --as hf
[[ ! -e new ]] || fail "a folder was made though the backbone was refused"
# Under dssl's names the heads that were given are known.
succeeds "$convert" "$cases/hf_dino/model.safetensors" named.safetensors --heads 4
succeeds features model.safetensors.npy --weights "$cases/hf_dino/model.safetensors" --heads 4 --size 64x56
succeeds features named.safetensors.npy --weights named.safetensors --size 64x56
fails 2 "--heads is 2; expected 4, which .*named.safetensors says itself" "$convert" named.safetensors new --as hf --heads 2
fails 2 "--heads is 2; expected 4, which .*named.safetensors says itself" features none.npy --weights named.safetensors --heads 2 --size 64x56
for token in class patch; do
  cmp "model.safetensors.$token.npy" "named.safetensors.$token.npy" || fail "features of renamed weights differ: $token"
done
# Rotary positions, SwiGLU, registers, LayerScale.
succeeds features v3.npy --weights "$cases/dinov3_7b_like/weights.pth" --size 64x56

fails 2 "--heads is 0; expected the number of heads that" features none.npy --weights "$cases/hf_dino/model.safetensors" --size 56
fails 2 "--arch is auto; expected an architecture by name" features none.npy --weights random
fails 1 "does not fit this architecture" \
  "$programs/dssl-features" --data images --out none.npy --arch nano8 --size 96 --weights "$cases/hf_dino/model.safetensors"
fails 1 "does not fit this architecture: it has width 32, depth 2, MLP 128, positions a side 7, expected 192, 12, 768, 28; --arch auto" \
  "$programs/dssl-features" --data images --out none.npy --arch tiny8 --size 96 --weights "$cases/hf_dino/model.safetensors"
# A number of heads that is not of the weights, or of the architecture.
fails 2 "--heads is 3; expected a divisor of 16, the width of" "$convert" "$cases/container_zip/weights.pth" three.safetensors --as dino --heads 3
fails 2 "--heads is 3; expected a divisor of 16, the width of" "$convert" "$cases/container_zip/weights.pth" three.safetensors --heads 3
[[ ! -e three.safetensors ]] || fail "weights of heads that cannot be were written"
fails 2 "--heads is 2; expected 4, which nano8 has, or --arch auto" "$programs/dssl-features" --data images --out none.npy --arch nano8 --size 32 \
  --heads 2 --weights random
# As ONNX: what is written is held by tests/programs/export_onnx.py.
export_onnx() { "$programs/dssl-export" "$@"; }
succeeds export_onnx "$cases/dinov3_7b_like/weights.pth" v3.onnx
says '^v3.onnx: image -> class_token, patch_map; opset 17, batch free, size any$'
[[ ! -e v3.onnx.data ]] || fail "weights in a second file that was not asked for"
succeeds export_onnx "$cases/container_zip/weights.pth" v1.onnx --heads 2 --size 40x48 --external-data --normalise --white 255
says 'size 40x48; weights in v1.onnx.data$'
[[ -s v1.onnx.data ]] || fail "no file of weights"
rm v1.onnx v1.onnx.data
fails 2 "--heads is 0; expected the number of heads that" export_onnx "$cases/container_zip/weights.pth" v1.onnx
fails 2 "--heads is 4; expected 2, which .* says itself" export_onnx "$cases/dinov3_7b_like/weights.pth" v1.onnx --heads 4
fails 2 "--size is 41; expected a multiple of the patch, 8 pixels" \
  export_onnx "$cases/container_zip/weights.pth" v1.onnx --heads 2 --size 41
fails 2 "--mean requires --deviation" export_onnx "$cases/container_zip/weights.pth" v1.onnx --heads 2 --normalise --mean 0,0,0
fails 2 "--white is 255; expected 1 without --normalise" export_onnx "$cases/container_zip/weights.pth" v1.onnx --heads 2 --white 255
fails 2 "--mean is 2 values; expected one a channel, 3" \
  export_onnx "$cases/container_zip/weights.pth" v1.onnx --heads 2 --normalise --mean 0,1 --deviation 1,1
ln own.safetensors own.onnx
fails 1 "own.onnx: is read too, as own.safetensors by IN" export_onnx own.safetensors own.onnx --heads 2
rm own.onnx
for name in x.pth notonnx.txt onnx; do
  fails 2 "'?-*out'? is $name; expected a name that ends in .onnx" export_onnx "$cases/container_zip/weights.pth" $name --heads 2
  [[ ! -e $name ]] || fail "a model is written under the name of something else"
done
fails 1 "html.pth: is a page of a web server" export_onnx "$cases/hostile/html.pth" v1.onnx
[[ ! -e v1.onnx ]] || fail "a model was written though it was refused"
broken_out=$'two\nlines.onnx'
succeeds export_onnx "$cases/container_zip/weights.pth" "$broken_out" --heads 2
says '^two\\nlines.onnx: image'
succeeds "$convert" "$cases/container_zip/weights.pth" $'two\nlines.pth' --as dino
says 'under the names of dino: two\\nlines.pth$'
# With heads and a bank; what does not belong to the weights is refused.
mkdir parts
for i in 1 2 3 4; do "$make_image" parts/$i.png 40 40 3 $((10 * i)) 200 $((50 * i)) >make.txt || fail "make_image"; done
succeeds "$programs/dssl-defects" --weights "$cases/container_zip/weights.pth" --arch auto --heads 2 --size 40x48 --normal parts --coreset 1 --out bank
succeeds export_onnx "$cases/container_zip/weights.pth" bank.onnx --bank bank/bank.safetensors
says '^bank.onnx: image -> class_token, patch_map, patch_scores, score; opset 17, batch free, size 40x48$'
fails 1 'bank.safetensors: was made with other weights than' export_onnx "$cases/container_f16/weights.pth" v1.onnx --bank bank/bank.safetensors
fails 1 'own.safetensors: is no bank of dssl-defects' export_onnx "$cases/container_zip/weights.pth" v1.onnx --bank own.safetensors
fails 2 '--bank excludes --heads' export_onnx "$cases/container_zip/weights.pth" v1.onnx --bank bank/bank.safetensors --heads 2
ln bank/bank.safetensors of_bank.onnx
fails 1 "of_bank.onnx: is read too, as bank/bank.safetensors by --bank" export_onnx "$cases/container_zip/weights.pth" of_bank.onnx --bank bank/bank.safetensors
fails 1 "weights.pth: is a zip file or a pickle, as torch.save writes them; expected safetensors" \
  export_onnx "$cases/container_zip/weights.pth" v1.onnx --bank "$cases/container_zip/weights.pth"
# A head is one linear layer: a model that leaves out what stands before it gives other logits. Its numbers are 1.
ones() { for _ in $(seq "$1"); do printf '\000\000\200\077'; done; }
head_file() {  # file, bytes of the numbers, and name, type, shape of each tensor in turn; the numbers on stdin
  local file=$1 bytes=$2 header='' at=0 each
  shift 2
  while [[ $# -gt 0 ]]; do
    [[ $2 == F32 ]] && each=$((4 * ${3//,/ * })) || each=8
    header+=",\"$1\":{\"dtype\":\"$2\",\"shape\":[${3:-}],\"data_offsets\":[$at,$((at + each))]}"
    at=$((at + each))
    shift 3
  done
  [[ $at -eq $bytes ]] || fail "the test's own $file has $at bytes, not $bytes"
  header="{${header:1}}"
  { printf "$(printf '\\x%02x\\x%02x' $((${#header} % 256)) $((${#header} / 256)))"; head -c 6 /dev/zero; printf %s "$header"; cat; } >"$file"
}
linear=(weight F32 3,16 bias F32 3)
normed=(1.weight F32 3,16 1.bias F32 3)
export_head() { export_onnx "$cases/container_zip/weights.pth" v1.onnx --heads 2 "$@"; }
ones 51 | head_file head.safetensors 204 "${linear[@]}"
succeeds export_head --head head.safetensors --patch-head head.safetensors
says '^v1.onnx: image -> class_token, patch_map, logits, patch_logits;'
{ ones 51 && head -c 8 /dev/zero; } | head_file counted.safetensors 212 "${normed[@]}" 0.num_batches_tracked I64 ''
succeeds export_head --head counted.safetensors
rm v1.onnx
ones 83 | head_file batch_norm.safetensors 332 "${normed[@]}" 0.running_mean F32 16 0.running_var F32 16
ones 83 | head_file layer_norm.safetensors 332 "${normed[@]}" 0.weight F32 16 0.bias F32 16
for head in --head --patch-head; do
  fails 1 "batch_norm.safetensors: has '0.running_mean' beside the linear layer '1.weight', which a model would leave out; expected weight and bias alone" \
    export_head $head batch_norm.safetensors
  fails 1 "layer_norm.safetensors: has '0.(weight|bias)' beside the linear layer '1.weight'" export_head $head layer_norm.safetensors
done
# A whole backbone of one block, of ones but for one number that is none, and a file whose name of a tensor is long.
one_block=(cls_token F32 1,1,4 pos_embed F32 1,2,4 patch_embed.proj.weight F32 4,3,1,1 patch_embed.proj.bias F32 4 norm.weight F32 4 norm.bias F32 4)
for part in norm1.weight:4 norm1.bias:4 attn.qkv.weight:12,4 attn.qkv.bias:12 attn.proj.weight:4,4 attn.proj.bias:4 norm2.weight:4 norm2.bias:4 \
  mlp.fc1.weight:4,4 mlp.fc1.bias:4 mlp.fc2.weight:4,4 mlp.fc2.bias:4; do
  one_block+=("blocks.0.${part%:*}" F32 "${part#*:}")
done
{ ones 5 && printf '\000\000\300\177' && ones 166; } | head_file one_block.safetensors 688 "${one_block[@]}"
for as in "" "--as timm"; do
  warns 1 "^dssl-convert: warning: tensor '(pos_embed|cls_pos_embed)' has the element nan at 1; every program of dssl takes finite numbers alone" \
    "$convert" one_block.safetensors written.safetensors $as
done
long=$(printf 'x%.0s' {1..3000})
ones 173 | head_file long.safetensors 692 "${one_block[@]}" "$long" F32 1
succeeds "$convert" --inspect long.safetensors
[[ $(stat -c %s out.txt) -lt 20000 ]] || fail "a long name widens every line"
{ ones 50 && printf '\000\000\300\177'; } | head_file bias_nan.safetensors 204 "${linear[@]}"
fails 1 "bias_nan.safetensors: tensor 'bias' has the element nan at 2; expected finite numbers" export_head --head bias_nan.safetensors
{ ones 5 && printf '\000\000\200\177' && ones 45; } | head_file infinite.safetensors 204 "${linear[@]}"
fails 1 "infinite.safetensors: tensor 'weight' has the element inf at 5; expected finite numbers" export_head --patch-head infinite.safetensors
fails 1 "own.safetensors: has '.*' and '.*'; expected one linear layer" \
  export_onnx "$cases/container_zip/weights.pth" v1.onnx --heads 2 --head own.safetensors
fails 1 'bank.safetensors: has no linear layer; expected a matrix called weight' \
  export_onnx "$cases/container_zip/weights.pth" v1.onnx --heads 2 --patch-head bank/bank.safetensors
[[ ! -e v1.onnx ]] || fail "a model was written though it was refused"

# A run begins with them: with rates of 0 its teacher is what it began with.
succeeds "$programs/dssl-scenes" --out voc --train 6 --val 2 --size 32 --classes 3
pretrain() { "$programs/dssl-pretrain" --data voc --arch nano8 --views-global 32 --locals 0 --prototypes 16 --batch 2 --epochs 1 "$@"; }
succeeds pretrain --out first
succeeds pretrain --out second --init first/teacher.safetensors --lr 0 --min-lr 0 --seed 7
grep -q 'begins with the backbone of first/teacher.safetensors' out.txt || fail "a run does not say what it begins with"
for run in first second; do
  succeeds "$programs/dssl-features" --data images --tokens class,patch --size 32 --arch nano8 --weights $run/teacher.safetensors --out $run.npy
done
# A tensor that the architecture has no place for is another network's, and not dropped.
with_tensor() {  # FILE NAME COUNT: the file with so many zeros more
  local length size header
  length=$(od -An -t u8 -N 8 "$1" | tr -d ' ')
  size=$(($(stat -c %s "$1") - 8 - length))
  header=$(head -c $((8 + length)) "$1" | tail -c +9 | sed 's/} *$//')
  header+=",\"$2\":{\"dtype\":\"F32\",\"shape\":[$3],\"data_offsets\":[$size,$((size + 4 * $3))]}}"
  printf "$(printf %016x ${#header} | sed -E 's/(..)(..)(..)(..)(..)(..)(..)(..)/\\x\8\\x\7\\x\6\\x\5\\x\4\\x\3\\x\2\\x\1/')%s" "$header"
  tail -c +$((9 + length)) "$1"
  head -c $((4 * $3)) /dev/zero
}
with_tensor first/teacher.safetensors blocks.0.ls1.gamma 128 >extra.safetensors
other_network="extra.safetensors: is of another network: this architecture has no tensor 'blocks.0.ls1.gamma' \[128\]"
fails 1 "$other_network" "$programs/dssl-features" --data images --size 32 --arch nano8 --weights extra.safetensors --out none.npy
fails 1 "$other_network" segment --data voc --classes 3 --weights extra.safetensors --out none
fails 1 "$other_network" "$programs/dssl-retrieve" --data voc --classes 3 --size 32 --arch nano8 --weights extra.safetensors --out none
# What is no part of a backbone is counted.
with_tensor first/teacher.safetensors something.else 4 >more.safetensors
succeeds "$programs/dssl-features" --data images --size 32 --arch nano8 --weights more.safetensors --out none.npy
grep -q 'weights more.safetensors; 1 tensor of the file is no part of the backbone' out.txt || fail "a tensor that is passed over is not counted"
succeeds pretrain --out counted --init more.safetensors
grep -q 'begins with the backbone of more.safetensors .*; 1 tensor of the file is no part of the backbone' out.txt ||
  fail "a run does not count what it passes over of weights"
succeeds "$convert" first/teacher.safetensors nano --as hf
grep -q '"num_attention_heads": 4,' nano/config.json || fail "config.json has not the heads of nano8"
succeeds "$convert" first/teacher.safetensors of_two.pth --as dino
succeeds "$convert" of_two.pth of_two.safetensors --as dino --heads 2
for program in dssl-features dssl-defects; do
  given="--data images --out none.npy"
  [[ $program == dssl-features ]] || given="--normal images --out none"
  fails 1 "of_two.safetensors: is of the family dino, which has 2 heads, and this architecture 4; expected --arch auto" \
    "$programs/$program" $given --arch nano8 --size 32 --weights of_two.safetensors
done
fails 1 "has 2 heads, and this architecture 4; expected --arch auto" pretrain --out none --init of_two.safetensors
fails 2 "--heads is 2; expected 4, which nano8 has, or --arch auto" pretrain --out none --init of_two.pth --heads 2
# A number of heads that nobody says is taken as usual, and that is said.
succeeds "$convert" first/teacher.safetensors bare.pth --as dino
says '^heads: 4, which a file of torch.load does not say, and 2 are usual; whoever reads it has to be told$'
usual='dino: width 128, depth 6, heads 2 \(usual\), patch 8'
succeeds features guessed.npy --size 32 --weights bare.pth
says "^$usual"
succeeds "$programs/dssl-defects" --weights bare.pth --arch auto --size 32 --normal parts --coreset 1 --out guessed
says "^$usual"
for known in "first/teacher.safetensors" "nano" "bare.pth --heads 4"; do
  succeeds features known.npy --size 32 --weights $known
  ! grep -q usual out.txt || fail "heads of $known are known, and called usual"
done
[[ $(value known.npy.json settings heads) == 4 && $(value guessed.npy.json settings heads) == 2 ]] || fail "features do not say the heads"
mkdir -p two/a two/b
cp parts/1.png parts/2.png two/a
cp parts/3.png parts/4.png two/b
succeeds "$programs/dssl-show" images --kind pca --arch auto --size 32 --weights bare.pth --out pca.png
says "^$usual"
succeeds "$programs/dssl-segment" --data voc --classes 3 --arch auto --size 32 --weights bare.pth --epochs 1 --overlays 0 --out guessed_segments
says "^$usual"
succeeds "$programs/dssl-segment" --data voc --classes 3 --arch auto --weights bare.pth --by tune --crop 32 --crop-overlap 8 --tune-steps 1 --overlays 0 --out guessed_tuned
says "^$usual"
succeeds "$programs/dssl-retrieve" --data voc --classes 3 --arch auto --size 32 --weights bare.pth --by retrieval --out guessed_dense
says "^$usual"
for way in knn tune; do
  warns 1 'the same files' "$programs/dssl-classify" --train two --test two --arch auto --size 32 --weights bare.pth --by $way --k 1 --hold-out 0.5 --tune-steps 1 --out guessed_classes
  says "^$usual"
done
succeeds export_onnx bare.pth guessed.onnx
says "^$usual"
succeeds export_onnx bare.pth asked.onnx --heads 4
! grep -q usual out.txt || fail "heads that are asked for are called usual in a model"
begin_bare() { "$programs/dssl-pretrain" --data voc --locals 0 --prototypes 16 --batch 2 --max-steps 1 --init bare.pth --views-global 32 --overwrite --out begun_bare "$@"; }
succeeds begin_bare --arch auto
says "begins with the backbone of bare.pth \($usual"
for known in "auto --heads 4" nano8; do
  succeeds begin_bare --arch $known
  says 'begins with the backbone of bare.pth \(dino: width 128, depth 6, heads 4, patch 8'
done
# What was used is kept: in weights under other names, in classifiers, in banks; and said where a file has no place for it.
succeeds "$convert" nano kept.safetensors --as timm
succeeds features kept.npy --size 96 --weights kept.safetensors
! grep -q usual out.txt || fail "heads are lost under the names of timm"
succeeds features of_nano.npy --size 96 --weights nano
cmp kept.class.npy of_nano.class.npy || fail "features of nano under the names of timm are others"
succeeds "$convert" "$cases/dinov3_7b_like/weights.pth" kept.pth --as dinov3
! grep -q '^heads:' out.txt || fail "DINOv3's periods say how many heads there are"
warns 1 'the same files' "$programs/dssl-classify" --train two --test two --arch auto --size 32 --weights bare.pth --heads 4 --by linear --rates 0.1 --epochs 1 --out of_four
fails 1 'of_four/classifier.safetensors: was learned with heads 4, and the model has 2; expected --heads 4' \
  export_onnx bare.pth none.onnx --head of_four/classifier.safetensors
succeeds export_onnx bare.pth four.onnx --head of_four/classifier.safetensors --heads 4
# A bank's weights are run as they were when it was made, also without config.json: with other heads they are another network.
succeeds "$programs/dssl-defects" --weights nano --arch auto --size 32 --normal parts --coreset 1 --out of_nano
! grep -q usual out.txt || fail "heads that config.json says are called usual"
with_bank() { "$programs/dssl-defects" --bank ${bank:-of_nano}/bank.safetensors --test parts --out scored --weights "$@"; }
succeeds with_bank nano
succeeds export_onnx nano nano.onnx --bank of_nano/bank.safetensors
succeeds "$programs/dssl-defects" --weights first/teacher.safetensors --arch auto --size 32 --normal parts --coreset 1 --out of_first
bank=of_first
succeeds with_bank first/teacher.safetensors
cp scored/scores.csv of_first.csv
succeeds with_bank bare.pth
! grep -q usual out.txt || fail "heads that a bank was made with are guessed again"
cmp scored/scores.csv of_first.csv || fail "a bank scores otherwise where the weights do not say their heads"
succeeds export_onnx bare.pth bare.onnx --bank of_first/bank.safetensors
! grep -q usual out.txt || fail "heads that a bank was made with are guessed again in a model"
# Also where periods are made for them.
succeeds "$convert" "$v3" v3_bare.pth --as timm
succeeds "$programs/dssl-defects" --weights v3_bare.pth --arch auto --heads 2 --size 32 --normal parts --coreset 1 --out of_v3
bank=of_v3
succeeds with_bank v3_bare.pth
bank=of_first
succeeds "$convert" bare.pth two.safetensors --as dino --heads 2
refused="of_first/bank.safetensors: was made with heads 4, and two.safetensors is run with heads 2;"
fails 1 "$refused" with_bank two.safetensors
fails 1 "$refused" export_onnx two.safetensors none.onnx --bank of_first/bank.safetensors
fails 2 "--heads is 2; expected 4, with which of_first/bank.safetensors was made" with_bank bare.pth --heads 2
bank=of_nano
mkdir twelve
cp nano/model.safetensors twelve
sed 's/"layer_norm_eps": 1e-0*6/"layer_norm_eps": 1e-12/' nano/config.json >twelve/config.json
refused="was made with norm epsilon 1e-06, and twelve is run with norm epsilon 1e-12;"
fails 1 "$refused" with_bank twelve
fails 1 "$refused" export_onnx twelve none.onnx --bank of_nano/bank.safetensors
# So it is with training features that vote, and with linear classifiers; without config.json the norms are the usual ones of its family.
warns 1 'the same files' "$programs/dssl-classify" --train two --test two --arch auto --size 32 --weights nano --by knn,linear --k 1 --rates 0.1 \
  --epochs 1 --keep-neighbours --out of_rules
mkdir copied
cp nano/model.safetensors copied
for option in --knn=of_rules/neighbours.safetensors --head=of_rules/classifier.safetensors; do
  succeeds export_onnx nano rules.onnx $option
  fails 1 "${option#*=}: was made with norm epsilon 1e-06, and copied is run with norm epsilon 1e-12; expected config.json .*, or a classifier of their own" \
    export_onnx copied none.onnx $option --heads 4
done
succeeds export_onnx first/teacher.safetensors own.onnx
says ': width 128, depth 6, heads 4, patch 8'  # as nano8 has them, not a head for 64 of the width
# A model of one channel has no three means.
succeeds pretrain --out grey --channels 1 --max-steps 1
succeeds "$convert" --inspect grey/teacher.safetensors
says ', channels 1, '
says "^images, as no family has them, in dssl's programs: less \(0.5\), divided by \(0.25\)$"
! grep -q '0\.485' out.txt || fail "three means for one channel"
cmp first.class.npy second.class.npy || fail "a run with rates of 0 moves the weights that it began with"
fails 1 "does not fit this architecture: it has width .*; --arch auto takes the weights' own sizes" pretrain --out third --init "$cases/container_zip/weights.pth"
fails 1 "has norms with an epsilon of 1e-12, and this architecture one of 1e-06" pretrain --out third --init "$cases/hf_dino/model.safetensors"
# Of sizes that no architecture has: the file's, by its rules, in what the run writes too.
going_on() { "$programs/dssl-pretrain" --data voc --arch auto --locals 0 --prototypes 16 --batch 2 "$@"; }
succeeds going_on --epochs 1 --out v3 --init "$cases/dinov3_7b_like/weights.pth" --views-global 32 --lr 0 --min-lr 0
succeeds going_on --epochs 1 --out hf --init "$cases/hf_dino/model.safetensors" --heads 4 --views-global 56 --lr 0 --min-lr 0
same_after() {  # run size init and its options
  local run=$1 size=$2
  succeeds features before.npy --size "$size" --weights "${@:3}"
  succeeds features after.npy --size "$size" --weights "$run/teacher.safetensors"
  cmp before.class.npy after.class.npy && cmp before.patch.npy after.patch.npy || fail "a run with rates of 0 moves the weights of $3"
}
same_after v3 64x56 "$cases/dinov3_7b_like/weights.pth"
same_after hf 40x72 "$cases/hf_dino/model.safetensors" --heads 4
# Trained, with rates above 0, what rotates has the tensors that it came with: its own biases, and the norm that training alone has.
tensors_of() { "$convert" --inspect "$1" | grep -E '\]$' | tr -s ' ' | cut -d ' ' -f 1,3- | sort; }
tried=0
for of in dinov3_7b_like:dinov3 dinov3_small:dinov3 dinov3_untied_norms:dinov3 timm_dinov3:timm timm_dinov3_qkvb:timm hf_dinov3:hf; do
  case=${of%:*}
  [[ -d $cases/$case ]] || continue  # of the whole set
  weights=$cases/$case/weights.pth
  [[ -e $weights ]] || weights=$cases/$case/model.safetensors
  succeeds "$programs/dssl-pretrain" --data voc --arch auto --prototypes 16 --batch 2 --epochs 2 --warmup-epochs 0 --lr 0.1 --overwrite \
    --out trained_v3 --init "$weights" --heads 2 --views-global 32 --views-local 16 --locals 1
  mkdir back_$case
  succeeds "$convert" trained_v3/teacher.safetensors back_$case/model.safetensors --as "${of#*:}"
  tensors_of "$weights" >before.txt
  tensors_of back_$case/model.safetensors >after.txt
  diff before.txt after.txt >&2 || fail "a trained $case has other tensors under the names of ${of#*:}"
  tried=$((tried + 1))
done
[[ -d $cases/hf_dinov3 && $tried -eq 6 || $tried -ge 1 ]] || fail "$tried of what rotates were trained"
# What had LayerScale has one again in the code that wants it: ones, as it was multiplied into the layers before it.
succeeds "$convert" "$cases/container_zip/weights.pth" v2.safetensors --as dinov2
succeeds going_on --epochs 1 --max-steps 1 --out v2 --init v2.safetensors --heads 2
says 'begins with the backbone of v2.safetensors \(dinov2: .*, LayerScale multiplied in, '
succeeds "$convert" v2/teacher.safetensors v2_hf --as hf
grep -q '"architectures": \["Dinov2Model"\]' v2_hf/config.json || fail "what began as a DINOv2 is written as another model"
succeeds "$convert" v2/teacher.safetensors v2_timm.safetensors --as timm
succeeds "$convert" --inspect v2_timm.safetensors
says '^blocks.0.ls2.gamma '
# For code without any it is folded, which is said, and kept where there is a place.
succeeds "$convert" v2.safetensors v2_dino.safetensors --as dino
says '^LayerScale was multiplied into the layers before it, which the file says$'
succeeds "$convert" v2_dino.safetensors v2_named.safetensors
succeeds "$convert" v2_named.safetensors v2_hf --as hf --heads 2
grep -q '"architectures": \["Dinov2Model"\]' v2_hf/config.json || fail "that LayerScale was folded is lost under dssl's names"
succeeds "$convert" v2.safetensors v2_dino.pth --as densedino
says '^LayerScale was multiplied into the layers before it, which a file of torch.load does not say$'
# And trained, resumed to the bit.
succeeds going_on --out whole --init "$cases/container_zip/weights.pth" --heads 2 --epochs 2
succeeds "$convert" --inspect whole/teacher.safetensors
says ': width 16, depth 1, heads 2, patch 8.* positions 5x5 \(offset\), norm epsilon 1e-06'
succeeds "$convert" --inspect hf/teacher.safetensors
says 'heads 4, .*norm epsilon 1e-12'
succeeds going_on --out parts --init "$cases/container_zip/weights.pth" --heads 2 --epochs 2 --max-steps 3
succeeds going_on --out parts --init "$cases/container_zip/weights.pth" --heads 2 --epochs 2 --resume
cmp whole/teacher.safetensors parts/teacher.safetensors || fail "a resumed run of the file's sizes differs"
# Also where the weights that it began with are gone.
cp "$cases/container_zip/weights.pth" gone.pth
succeeds going_on --out left --init gone.pth --heads 2 --epochs 2 --max-steps 3
rm gone.pth
succeeds going_on --out left --init gone.pth --heads 2 --epochs 2 --resume
cmp whole/teacher.safetensors left/teacher.safetensors || fail "a run that is resumed without its first weights differs"
fails 1 'gone.pth: cannot open' going_on --out left_new --init gone.pth --heads 2 --epochs 2
# Weights that know images of 320: the views of a small budget are of 224, as those without it, and local ones of half of that.
of_320=()
while read -r name type shape; do
  [[ $name == pos_embed ]] && shape='[1, 1601, 16]'
  of_320+=("$name" "$type" "$(tr -d '[] ' <<<"$shape")")
done < <("$convert" --inspect "$cases/container_zip/weights.pth" | grep -E '\]$')
ones 32032 | head_file of_320.safetensors 128128 "${of_320[@]}"
mkdir large
for i in 1 2 3 4; do "$make_image" large/$i.png 300 300 3; done
succeeds "$programs/dssl-pretrain" --data large --preset small --recipe dino --init of_320.safetensors --heads 2 --threads 1 --max-steps 1 --out small_large
says '^preset: .*--arch auto .*--views-global 224 --global-scale 0.1 0.6 --views-local 112 '
succeeds features trained.npy --weights whole/teacher.safetensors --size 40
! cmp -s trained.class.npy before.class.npy || fail "nothing was trained"
fails 2 "--arch is auto; expected nano8, tiny8, tiny16 or small16, or --init" going_on --out none
fails 2 "--heads is 0; expected the number of heads that" going_on --out none --init "$cases/container_zip/weights.pth"
fails 2 "--channels is 1; expected 3, those of .*container_zip/weights.pth" going_on --out none --init "$cases/container_zip/weights.pth" --heads 2 --channels 1
fails 2 "--heads requires --init" going_on --out none --heads 2
fails 2 "--views-global.* is 20" going_on --out none --init "$cases/container_zip/weights.pth" --heads 2 --views-global 20

# What images are normalised by goes with the weights: as Transformers says beside them, or strings of dssl's in the file.
half=(--mean 0.5,0.5,0.5 --deviation 0.5,0.5,0.5)
said='^images: less \(0.5, 0.5, 0.5\), divided by \(0.5, 0.5, 0.5\)$'
mkdir halved good
cp parts/*.png good
cp nano/config.json nano/model.safetensors halved
cp nano/preprocessor_config.json usual.json
sed -E 's/"image_(mean|std)": .*\]/"image_\1": [0.5, 0.5, 0.5]/' usual.json >halved/preprocessor_config.json
succeeds features usual.npy --size 32 --weights nano
! grep -q '^images: ' out.txt || fail "what is usual is said"
succeeds features beside.npy --size 32 --weights halved
says "$said"
succeeds features asked.npy --size 32 --weights nano "${half[@]}"
says "$said"
same_features() { cmp -s $1.class.npy $2.class.npy && cmp -s $1.patch.npy $2.patch.npy; }
same_features beside asked || fail "preprocessor_config.json and --mean are not the same"
! same_features beside usual || fail "the scale of pixels changes nothing"
succeeds features over.npy --size 32 --weights halved --mean 0.485,0.456,0.406 --deviation 0.229,0.224,0.225
same_features over usual || fail "--mean does not go before what lies beside the weights"
# Kept under dssl's names, by Transformers' and in the names of others, and by a run that goes on.
succeeds "$convert" halved halved.safetensors
says "$said"
succeeds "$convert" halved.safetensors again --as hf
says ', and preprocessor_config.json: images less \(0.5, 0.5, 0.5\), divided by'
succeeds "$convert" again again.safetensors --as timm
succeeds going_on --epochs 1 --out of_half --init halved.safetensors --views-global 32 --lr 0 --min-lr 0
says "$said"
for weights in halved.safetensors again of_half/teacher.safetensors; do
  succeeds features kept.npy --size 32 --weights $weights
  same_features kept beside || fail "what images are normalised by is lost in $weights"
done
for weights in again.safetensors of_half/checkpoint.safetensors; do  # the first by another rule of positions
  succeeds features kept.npy --size 32 --heads 4 --weights $weights
  says "$said"
done
# A run resumed with other pixels is refused; the run's own may be said where its weights' file is gone.
succeeds pretrain --out resumed_half "${half[@]}" --max-steps 1
fails 1 "was made with option 'views.mean' 0x1p-1 0x1p-1 0x1p-1; this run has" pretrain --out resumed_half --resume
succeeds pretrain --out resumed_half "${half[@]}" --resume
# A bank scores as it was made, whatever lies beside its weights later.
succeeds "$programs/dssl-defects" --weights halved --arch auto --size 32 --normal good --coreset 1 --out of_halved
says "$said"
succeeds "$programs/dssl-defects" --weights nano --arch auto --size 32 --normal good --coreset 1 --out of_asked "${half[@]}"
cmp of_halved/bank.safetensors of_asked/bank.safetensors || fail "banks of one scale differ"
scores_by() { "$programs/dssl-defects" --bank $1/bank.safetensors --weights $2 --test images --out scored "${@:3}" && cp scored/scores.csv $1.$2.csv; }
succeeds scores_by of_halved halved
succeeds scores_by of_halved nano
says "$said"
succeeds scores_by of_nano nano
succeeds scores_by of_nano halved
cmp of_halved.halved.csv of_halved.nano.csv && cmp of_nano.nano.csv of_nano.halved.csv || fail "a bank is run with other pixels than it was made with"
! cmp -s of_nano.nano.csv of_halved.nano.csv || fail "scores do not depend on the scale of pixels"
fails 2 "--mean is 0,0,0; expected 0.5,0.5,0.5, with which of_halved/bank.safetensors was made" \
  scores_by of_halved halved --mean 0,0,0 --deviation 0.5,0.5,0.5
succeeds export_onnx nano half.onnx --bank of_halved/bank.safetensors --normalise
says "$said"
succeeds export_onnx halved half.onnx
says "$said"
grep -q '0.5, 0.5, 0.5' half.onnx || fail "a model does not say by what images are to be normalised"
fails 2 "--mean is 0,0,0; expected nothing: of_halved/bank.safetensors was made with images less" \
  export_onnx halved none.onnx --bank of_halved/bank.safetensors --mean 0,0,0 --deviation 1,1,1
# In every program; of other pixels than usual each says them.
succeeds "$programs/dssl-show" images --kind pca --arch auto --size 32 --weights nano --out usual.png
succeeds "$programs/dssl-show" images --kind pca --arch auto --size 32 --weights halved --out halved.png
says "$said"
! cmp -s usual.png halved.png || fail "dssl-show looks at pixels as usual"
succeeds "$programs/dssl-segment" --data voc --classes 3 --arch auto --size 32 --weights halved --epochs 1 --overlays 0 --out probe
says "$said"
succeeds "$programs/dssl-segment" --data voc --classes 3 --arch auto --weights halved --by tune --crop 32 --crop-overlap 8 --tune-steps 1 --overlays 0 --out tuned
says "$said"
succeeds "$programs/dssl-retrieve" --data voc --classes 3 --arch auto --size 32 --weights halved --by retrieval --out dense
says "$said"
mkdir -p kinds/a kinds/b others/a others/b
cp parts/1.png kinds/a
cp parts/3.png kinds/b
cp parts/2.png others/a
cp parts/4.png others/b
for way in knn tune; do
  succeeds "$programs/dssl-classify" --train kinds --test others --arch auto --size 32 --weights halved --by $way --k 1 --tune-steps 1 --out classes
  says "$said"
done
fails 2 "--mean is 2 values; expected one a channel, 3" features none.npy --size 32 --weights nano --mean 0,1 --deviation 1,1
fails 2 "--deviation is 0; expected 1e-6 to 10, for pixels of 0 to 1" features none.npy --size 32 --weights nano --mean 0,0,0 --deviation 1,0,1
fails 2 "--deviation requires --mean" features none.npy --size 32 --weights nano --deviation 1,1,1
sed -i 's/"image_mean": .*\]/"image_mean": [123.675, 116.28, 103.53]/' halved/preprocessor_config.json
fails 1 "preprocessor_config.json: has image_mean 123.675 and image_std 0.5; expected means of -10 to 10" features none.npy --size 32 --weights halved
succeeds features over.npy --size 32 --weights halved "${half[@]}"  # said otherwise, it is not read

# Begun with an earlier run's weights and nothing else said, a run has rates that leave them in place, and by nearest neighbours
# begins where that run ended: images are named as their nearest neighbour among others is, by both teachers alike.
succeeds "$programs/dssl-scenes" --out many --train 40 --val 40 --size 32 --classes 3
for set in train val; do
  number=0
  for id in $(cat many/ImageSets/Segmentation/$set.txt); do
    mkdir -p named/$set/$((number % 8))
    cp many/JPEGImages/$id.jpg named/$set/$((number % 8))
    number=$((number + 1))
  done
done
train_many() { "$programs/dssl-pretrain" --data many --split train --arch nano8 --views-global 32 --locals 0 --prototypes 16 --batch 8 "$@"; }
succeeds train_many --epochs 3 --lr 0.02 --warmup-epochs 0 --momentum 0.8 --momentum-end 0.8 --out ended
succeeds train_many --epochs 2 --init ended/teacher.safetensors --seed 5 --out begun
says '^rates: begun with weights, so a peak of 5e-05 for 256 images \(--lr\) after 2 epochs of warm-up .*, 0.75 times as much .*, 1.5625e-07 at the end'
for setting in '"optimiser.learning_rate":5e-05' '"optimiser.warmup_epochs":2' '"optimiser.rates.layer_decay":0.75'; do
  tr -d ' \n' <begun/options.json | grep -q "$setting" || fail "options.json has not $setting"
done
succeeds train_many --epochs 1 --max-steps 1 --init ended/teacher.safetensors --out said --lr 1e-3 --warmup-epochs 0 --layer-decay 0.9 --min-lr 0
says '^rates: begun with weights, so a peak of 0.001 for 256 images \(--lr\) after 0 epochs of warm-up .*, 0.9 times as much .*, 0 at the end'
succeeds train_many --epochs 1 --max-steps 1 --seed 5 --out drawn
! grep -q '^rates:' out.txt || fail "a run that begins with nothing speaks of weights"
for run in ended begun drawn; do
  succeeds "$programs/dssl-classify" --train named/train --test named/val --arch nano8 --size 32 --by knn --k 1 --weights $run/teacher.safetensors --out knn_$run
done
alike() { paste -d , knn_ended/predictions.csv knn_$1/predictions.csv | awk -F, 'NR > 1 && $3 == $6 { n++ } END { print n + 0 }'; }
above "$(alike begun)" 38 "of 40 images that both teachers see alike"
above 32 "$(alike drawn)" "a teacher that has seen nothing names images as the trained one: the test tells nothing"

# The linear classifiers of dssl-classify and dssl-segment are heads of a model, if it gives what they read.
succeeds "$programs/dssl-classify" --train named/train --test named/val --arch nano8 --size 32 --by linear --epochs 5 --weights ended/teacher.safetensors \
  --blocks=-2,-1 --no-norm --out linear
says '^classifier: linear/classifier.safetensors$'
export_linear() { export_onnx ended/teacher.safetensors linear.onnx --head linear/classifier.safetensors "$@"; }
succeeds export_linear --blocks=-2,-1 --no-norm
says 'image -> class_token, patch_map, logits;'
succeeds export_linear --blocks=4,5 --no-norm
fails 1 'classifier.safetensors: was learned without the last norm; expected --no-norm' export_linear --blocks=-2,-1
fails 1 'classifier.safetensors: was learned on blocks 4,5, and the model gives 5; expected --blocks 4,5' export_linear --no-norm
fails 1 "classifier.safetensors: was learned on tokens 'class'; expected patch" \
  export_onnx ended/teacher.safetensors linear.onnx --patch-head linear/classifier.safetensors --blocks=-2,-1 --no-norm
fails 1 'classifier.safetensors: was learned on images less \(0.485, .*, and the model.s are less \(0.5, .*; expected --mean 0.485,0.456,0.406 --deviation ' \
  export_linear --blocks=-2,-1 --no-norm --normalise --mean 0.5,0.5,0.5 --deviation 0.5,0.5,0.5
# So are the training features, whose classes vote.
neighbours() {
  "$programs/dssl-classify" --train named/train --test named/val --arch nano8 --size 32 --weights ended/teacher.safetensors --out linear "$@"
}
succeeds neighbours --by knn --k 100000,3,1 --keep-neighbours --mean 0.5,0.5,0.5 --deviation 0.25,0.25,0.25
says '^neighbours: linear/neighbours.safetensors$'
[[ ! -e linear/classifier.safetensors ]] || fail "an earlier run's classifier lies beside figures of another"
export_knn() { export_onnx ended/teacher.safetensors knn.onnx --knn linear/neighbours.safetensors "$@"; }
succeeds export_knn --mean 0.5,0.5,0.5 --deviation 0.25,0.25,0.25
says 'image -> class_token, patch_map, votes;.* size 32$'  # that of the training features
succeeds export_knn --mean 0.5,0.5,0.5 --deviation 0.25,0.25,0.25 --size 64
says ' size 64$'
fails 1 'neighbours.safetensors: was learned on images less \(0.5, .*; expected --mean 0.5,0.5,0.5 --deviation 0.25,0.25,0.25' export_knn
succeeds neighbours --by knn --k 3 --keep-neighbours
succeeds export_knn
fails 2 '--k is 1000; expected 1 to the number of training features, ' export_knn --k 1000
fails 2 '--k requires --knn' export_onnx ended/teacher.safetensors knn.onnx --k 2
fails 1 'neighbours.safetensors: was learned under the last norm; expected no --no-norm' export_knn --no-norm
fails 1 'neighbours.safetensors: was made with other weights than begun/teacher.safetensors ' \
  export_onnx begun/teacher.safetensors none.onnx --knn linear/neighbours.safetensors
sed 's/weights_fingerprint/weights_fingerprinX/' linear/neighbours.safetensors >anonymous.safetensors
fails 1 'anonymous.safetensors: does not say which weights gave its features; expected what dssl-classify --keep-neighbours writes' \
  export_onnx ended/teacher.safetensors none.onnx --knn anonymous.safetensors
fails 1 "of_four/classifier.safetensors: has no tensor 'features'; expected what dssl-classify --keep-neighbours writes" \
  export_onnx bare.pth none.onnx --knn of_four/classifier.safetensors
fails 1 'neighbours.safetensors: has no linear layer' \
  export_onnx ended/teacher.safetensors none.onnx --head linear/neighbours.safetensors
ln linear/neighbours.safetensors kept.onnx
fails 1 'kept.onnx: is read too, as linear/neighbours.safetensors by --knn' export_onnx ended/teacher.safetensors kept.onnx --knn linear/neighbours.safetensors
rm kept.onnx
fails 2 '--temperature is 0.0019; expected 0.002 or more' neighbours --by knn --k 3 --keep-neighbours --temperature 0.0019
[[ ! -e none.onnx ]] || fail "a model was written though it was refused"
fails 2 '--keep-neighbours is given; expected --by with knn' neighbours --by linear --keep-neighbours
succeeds neighbours --by knn --k 1
[[ ! -e linear/neighbours.safetensors ]] || fail "an earlier run's neighbours lie beside figures of another"
succeeds "$programs/dssl-segment" --data many --classes 3 --arch nano8 --size 32 --weights ended/teacher.safetensors --epochs 1 --overlays 0 --out patches
says '^classifier: patches/classifier.safetensors$'
succeeds export_onnx ended/teacher.safetensors patches.onnx --patch-head patches/classifier.safetensors
says 'image -> class_token, patch_map, patch_logits;'
fails 1 "classifier.safetensors: was learned on tokens 'patch'; expected class or both" \
  export_onnx ended/teacher.safetensors none.onnx --head patches/classifier.safetensors

# A run held to another network's features: an earlier run's, published ones of other patches, rotary positions, registers.
distil_any() { "$programs/dssl-pretrain" --recipe distilled --data voc --batch 2 --seed 5 --lr 0.1 --warmup-epochs 0 "$@"; }
distil() { distil_any --arch nano8 --views-global 32 --epochs 2 "$@"; }
succeeds distil --out taught --teacher first/teacher.safetensors
says '^recipe: .*loss: imitate-class \(frozen teacher; linear adapter\) \+ imitate-map .*; frozen teacher: image 96, patch 8, width 128,'
says '^teacher: first/teacher.safetensors \(densedino: width 128, depth 6, heads 4, patch 8.*\), 1\.[0-9]+ million parameters, which stay'
says '^ +[0-9.]+ MB  weights of the frozen teacher$'
grep -q '"teacher_file": "first/teacher.safetensors"' taught/options.json || fail "options.json does not name the teacher"
loss_of_step() { sed -n "$1p" taught/metrics.jsonl | grep -Eo '"loss":[0-9.e-]+' | head -n 1 | cut -d : -f 2; }
above "$(loss_of_step 1)" "$(loss_of_step '$') * 1.5" "the loss of a distilled run does not fall"
# Resumed to the bit; the teacher's file is read again, and has to be the same.
succeeds distil --out resumed --teacher first/teacher.safetensors --max-steps 3
succeeds distil --out resumed --teacher first/teacher.safetensors --resume
cmp taught/teacher.safetensors resumed/teacher.safetensors || fail "a resumed run of a frozen teacher differs"
fails 1 'checkpoint.safetensors: was made with other weights of the frozen teacher than those of taught/teacher.safetensors; expected the same ones' \
  distil --out resumed --teacher taught/teacher.safetensors --resume
fails 1 'gone.safetensors: cannot open' distil --out resumed --teacher gone.safetensors --resume
fails 1 'other weights of the frozen teacher than those of .*weights.pth' distil --out resumed --teacher "$cases/dinov3_7b_like/weights.pth" --resume
# Of other sizes and patches, registers and rotary positions; in grey, with pixels of another scale.
succeeds distil --out v3 --overwrite --teacher "$cases/dinov3_7b_like/weights.pth" --channels 1
says '; frozen teacher: image 128, patch 8, width 32, depth 2, heads 2, MLP ratio [0-9]+, channels 1, registers 4, rotary positions'
cp v3/teacher.safetensors usual.safetensors
succeeds distil --out v3 --overwrite --teacher "$cases/dinov3_7b_like/weights.pth" --channels 1 --teacher-mean 0.5,0.5,0.5 --teacher-deviation 0.5,0.5,0.5
says '^teacher: trained on pixels less \(0.5, 0.5, 0.5\), divided by \(0.5, 0.5, 0.5\); its patch embedding is carried over'
! cmp -s v3/teacher.safetensors usual.safetensors || fail "the scale of the teacher's pixels changes nothing"
mkdir scaled
cp "$cases/hf_dino/model.safetensors" scaled
echo '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}' >scaled/preprocessor_config.json
succeeds distil --out hf_taught --teacher scaled --teacher-heads 4
says '^teacher: trained on pixels less \(0.5, 0.5, 0.5\), divided by'
succeeds distil_any --out coarse --arch tiny16 --views-global 32 --epochs 1 --max-steps 1 --teacher "$cases/hf_dino/model.safetensors" --teacher-heads 4
says 'backbone: image 224, patch 16, .*; frozen teacher: image 56, patch 8, width 32, .*norm epsilon 1e-12'
fails 2 "--teacher-heads is 0; expected the number of heads that" distil --out none --teacher "$cases/hf_dino/model.safetensors"
fails 2 "--teacher is empty; expected a file of weights with --recipe distilled" distil --out none
fails 2 "--teacher-mean is 1 values; expected one a channel of first/teacher.safetensors, 3" \
  distil --out none --teacher first/teacher.safetensors --teacher-mean 0.5 --teacher-deviation 0.5
fails 2 "--channels is 2; expected 3, those of the teacher first/teacher.safetensors, or 1" \
  distil --out none --teacher first/teacher.safetensors --channels 2
fails 1 "first/teacher.safetensors: is read too, by --teacher" distil --out first --overwrite --teacher first/teacher.safetensors
warns 1 "--teacher has no effect with --recipe densedino" pretrain --out unused --teacher first/teacher.safetensors
echo "published weights: as they should be"
