#!/usr/bin/env bash
# What the options of image files do to what comes out: --white, --no-orient, --largest-bytes, --mask-threshold.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

features() { "$programs/dssl-features" --weights random --arch nano8 --channels 1 --size 16x32 --threads 1 --tokens patch "$@"; }
# of NAME OPTION...: the features of the one image of the folder NAME, in $read.
of() {
  read=$1.$((++reads)).npy
  succeeds features --data "$@" --out "$read"
}
reads=0
same() { cmp -s "$1" "$2" || fail "$3"; }
differ() { ! cmp -s "$1" "$2" || fail "$3"; }

# --white: a camera's 12 bits in a file of 16, v, are those of v x 65535 / 4095; what is above 4095 is white.
mkdir camera stretched clipped
# pgm VALUE...: stripes of these, 16 bits, 8 pixels each.
pgm() {
  printf 'P5\n%d 16\n65535\n' $(($# * 8))
  for _ in {1..16}; do
    for value in "$@"; do for _ in {1..8}; do printf "\\x$(printf %02x $((value / 256)))\\x$(printf %02x $((value % 256)))"; done; done
  done
}
pgm 0 1365 2730 4095 >camera/1.pgm
pgm 0 1365 2730 60000 >clipped/1.pgm
pgm 0 21845 43690 65535 >stretched/1.pgm
warns 1 "use few bits: .*say so \(option 'white', 4095\)" features --data camera --out dark.npy
of stretched
bright=$read
of stretched --white 65535
same "$read" "$bright" "--white 65535 is not what is done without it"
of camera --white 4095
same "$read" "$bright" "--white 4095 does not make 4095 white"
differ dark.npy "$bright" "without --white 4095 is white already"
of clipped --white 4095
same "$read" "$bright" "what is above --white is not white"
of camera --white 8190
differ "$read" "$bright" "another --white gives the same"

# --no-orient: a JPEG that its EXIF turns by a half is the picture with its stripes the other way round.
mkdir plain turned mirrored
"$make_image" plain/1.jpg 16 32 1 10 90 160 230
"$make_image" mirrored/1.jpg 16 32 1 230 160 90 10
# held FILE ORIENTATION: the JPEG with APP1 of this one entry after the mark that begins the file.
held() {
  head -c 2 "$1"
  printf '\xff\xe1\x00\x22Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00'"\\x0$2"'\x00\x00\x00\x00\x00\x00'
  tail -c +3 "$1"
}
held plain/1.jpg 3 >turned/1.jpg
of plain
stored=$read
of mirrored
shown=$read
of turned
same "$read" "$shown" "a JPEG is not turned as its EXIF says"
of turned --no-orient
same "$read" "$stored" "--no-orient turns a JPEG"
differ "$stored" "$shown" "the picture is the same turned round"
of plain --no-orient
same "$read" "$stored" "--no-orient changes a picture without EXIF"

# A mask of a picture that EXIF turns on its side, drawn on the picture as it is stored; and 12 bits in 16 in a set with masks.
# voc IMAGE HEIGHT WIDTH: a set of it alone, twice, trained on and measured, with masks of this size.
voc() {
  rm -rf voc
  mkdir -p voc/JPEGImages voc/SegmentationClass voc/ImageSets/Segmentation
  for i in 1 2; do
    cp "$1" "voc/JPEGImages/$i.${1##*.}"
    "$make_image" "voc/SegmentationClass/$i.png" "$2" "$3" 1 0 1
  done
  echo 1 >voc/ImageSets/Segmentation/train.txt
  echo 2 >voc/ImageSets/Segmentation/val.txt
}
probe() { segment --weights random --channels 1 --data voc --classes 2 --overlays 0 --out voc-out "$@"; }
"$make_image" voc.jpg 16 32 1
held voc.jpg 6 >sideways.jpg
voc sideways.jpg 16 32
fails 1 'the mask has 16 x 32 pixels, its image .* has 32 x 16, turned by its EXIF orientation; as the file stores it they fit \(--no-orient\)$' probe
voc sideways.jpg 32 16
fails 1 'has 16 x 32; turned by its EXIF orientation, which --no-orient leaves out, they fit$' probe --no-orient
voc camera/1.pgm 16 32
warns 1 "use few bits: .*say so \(option 'white', 4095\)" probe
succeeds probe --white 4095

# --largest-bytes: a file of as many is read, one of more passed over, by name.
bytes=$(stat -c %s stretched/1.pgm)
of stretched --largest-bytes "$bytes"
same "$read" "$bright" "--largest-bytes changes what is read"
"$make_image" stretched/small.png 16 32 1
# passes_over FILE WORDS OPTION...: the one of two images that is read is the other.
passes_over() {
  warns 1 "^skipped: $1: $2 \(option 'largest_bytes'\)$" features --data "${1%/*}" "${@:3}" --out some.npy
}
passes_over stretched/1.pgm "has $bytes bytes; expected at most $((bytes - 1)) bytes" --largest-bytes $((bytes - 1))
# The pixels count as well: a compressed file is smaller than they are.
mkdir flat
"$make_image" flat/1.png 100 100 1 7
[[ $(stat -c %s flat/1.png) -lt 5000 ]] || fail "the PNG of one value is not smaller than its pixels"
of flat --largest-bytes 10000
"$make_image" flat/small.png 16 32 1
passes_over flat/1.png ".*100 x 100.*; expected at most 9999 bytes" --largest-bytes 9999

# --mask-threshold: of a mask with stripes of 0, 100, 200 and 255 so many pixels are a defect's.
"$tools/dssl_make_inspection" set 8 2 1
"$make_image" set/masks/spot/00.png 40 56 1 0 100 200 255
# marked OPTION...: how many.
marked() {
  succeeds "$programs/dssl-defects" --weights random --arch nano8 --channels 1 --size 40x56 --threads 1 --normal set/normal \
    --test set/test --masks set/masks --out "masked.$((++reads))" "$@"
  marked=$(value "masked.$reads/result.json" pixels positives)
}
pixels() { [[ $marked == "$1" ]] || fail "$2: $marked pixels are marked, not $1"; }
marked
pixels 1680.0 "without --mask-threshold all but 0"
marked --mask-threshold 99
pixels 1680.0 "--mask-threshold 99"
marked --mask-threshold 100
pixels 1120.0 "--mask-threshold 100"
marked --mask-threshold 200
pixels 560.0 "--mask-threshold 200"

echo "reading: the options of image files change what they say"
