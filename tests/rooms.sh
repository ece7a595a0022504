#!/usr/bin/env bash
# Holds the house's include edges: which room may include which, and who may see which library; and that the page of the
# design names every header, the same edges, and why a header is longer than 400 lines.
# Usage: rooms.sh INCLUDE_FOLDER DESIGN   (the folder that holds core/, backend/, ..., and docs/design.md)
set -euo pipefail

include=${1:?usage: rooms.sh INCLUDE_FOLDER DESIGN}
design=${2:?usage: rooms.sh INCLUDE_FOLDER DESIGN}
violations=0

complain() {
  echo "$1" >&2
  violations=$((violations + 1))
}

# Rooms that the given room may include, itself among them.
policies="backbone tokens views points loss"
allowed_rooms() {
  case $1 in
    core) echo "core" ;;
    backend) echo "core backend" ;;
    nn) echo "core backend nn" ;;
    backbone | tokens | views | points | loss) echo "core backend nn $1" ;;
    optim) echo "core backend nn $policies optim" ;;
    io) echo "core io" ;;
    data) echo "core io data" ;;
    train) echo "core backend nn $policies optim io data train" ;;
    testing) echo "core backend nn $policies optim io data train testing" ;;
    features) echo "core backend nn views io data features" ;;
    search | metrics) echo "core backend nn $1" ;;
    probe) echo "core backend nn views optim data train features search metrics probe" ;;
    monitor) echo "core backend nn io data train features search metrics probe monitor" ;;
    defects) echo "core backend nn views io data features search metrics defects" ;;
    pictures) echo "core backend nn views points features search pictures" ;;
    *) return 1 ;;
  esac
}

# Rooms beside training, each with a header that names its parts: features.hpp includes every header of features/.
named_rooms="features search metrics probe monitor defects pictures"

check_names() {  # room
  local room=$1 part header
  [[ -d $include/$room ]] || return 0
  if [[ ! -f $include/$room.hpp ]]; then
    complain "$room/: no $room.hpp names its parts"
    return
  fi
  for part in "$include/$room"/*.hpp; do
    header="dssl/${part#"$include"/}"
    grep -qxF "#include <$header>" "$include/$room.hpp" || complain "$room.hpp: <$header> is not among its parts"
  done
  while IFS= read -r header; do
    [[ $header == dssl/$room/* ]] || complain "$room.hpp: <$header> is no part of $room/"
  done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<([^>]+)>.*/\1/p' "$include/$room.hpp")
}

# The design's list of a room: its line in the block of rooms, and those that go on from it.
listed() {  # room
  awk -v room="  $1/" '/^include\/dssl\/$/ { inside = 1; next } /^```/ { inside = 0 }
    inside && /^  [a-z]/ { own = index($0, room) == 1 } inside && own' "$design"
}
# Headers beside the rooms: the first line of the block names them, but for those that name a room's parts.
check_beside() {
  local line header
  line=$(awk '/^include\/dssl\/$/ { getline; print; exit }' "$design")
  for header in "$include"/*.hpp; do
    header=${header##*/}
    [[ -d $include/${header%.hpp} || " $line " == *" $header "* ]] || complain "${design##*/}: the list of headers beside the rooms does not name $header"
  done
}
# The reason that the design gives for a long header: the second cell of its row.
reason() {  # header
  awk -F'|' -v header=" \`$1\` " '$1 == "" && $2 == header && NF == 4 && $3 ~ /[a-z]/ { print $3 }' "$design"
}

check_long() {
  local path lines
  while read -r lines path; do
    [[ $path == "$include"/* && $lines -gt 400 ]] || continue
    path=${path#"$include"/}
    [[ -n $(reason "$path") ]] || complain "${design##*/}: gives no reason why $path has $lines lines, more than 400"
  done < <(find "$include" \( -name '*.hpp' -o -name '*.cuh' \) -exec wc -l {} +)
  while read -r path; do
    lines=0
    [[ ! -f $include/$path ]] || lines=$(wc -l <"$include/$path")
    [[ $lines -gt 400 ]] || complain "${design##*/}: gives a reason why $path is longer than 400 lines; it has $lines"
  done < <(sed -nE 's/^\| `([a-z_]+\/[a-z_\/]+\.(hpp|cuh))` \|.*/\1/p' "$design")
}

# The design's table of edges: the rooms that a room may include beside its own.
tabled() {  # room
  awk -F'|' -v room="$1" '$1 == "" && $2 ~ "(^|[ ,])" room "([ ,]|$)" && NF == 4 { gsub(",", " ", $3); print $3 }' "$design"
}

# The lines of a room in the design's drawing; they may be a tenth off, and 50 lines, before it has to be drawn again.
drawn() {  # room
  sed -nE "s/^  \|.*\b$1 ([0-9]+)\b.*/\1/p" "$design"
}

check_lines() {  # room
  local room=$1 lines said
  lines=$(find "$include/$room" -type f -exec cat {} + | wc -l)
  said=$(drawn "$room")
  if [[ -z $said ]] || ((said * 10 > lines * 11 + 500 || said * 10 < lines * 9 - 500)); then
    complain "${design##*/}: the drawing gives $room ${said:-no} lines; it has $lines"
  fi
}

check_design() {  # room
  local room=$1 header list wanted said
  list=" $(listed "$room" | tr -cs 'a-z0-9_' ' ') "
  for header in "$include/$room"/*.hpp; do
    header=${header##*/}
    header=${header%.hpp}
    [[ $list == *" $header "* ]] || complain "${design##*/}: the list of $room/ does not name $header"
  done
  check_lines "$room"
  wanted=$(allowed_rooms "$room" | tr ' ' '\n' | sed "/^$room\$/d" | sort | tr '\n' ' ')
  said=$(tabled "$room" | tr ' ' '\n' | sed '/^$/d; /^nothing$/d' | sort | tr '\n' ' ')
  [[ $wanted == "$said" ]] || complain "${design##*/}: by its table $room may include: $said; here: $wanted"
}

# Headers outside the rooms, or open to rooms that may not see the rest of theirs.
allowed_header() {  # room, header
  case $2 in
    fwd.hpp | version.hpp) return 0 ;;
    concepts.hpp) [[ $1 != core && $1 != backend && $1 != io ]] ;;
    feature_instances.hpp) [[ $1 == features ]] ;;
    views/image.hpp) [[ $1 != core && $1 != backend ]] ;;  # the type of images belongs to every room that has pictures
    *) return 1 ;;
  esac
}

check_header() {
  local file=$1 path=${1#"$include"/} room where header line other
  room=${path%%/*}
  if [[ $path == "$room" ]]; then
    room=""  # dssl.hpp, fwd.hpp, ...
  elif ! allowed_rooms "$room" >/dev/null; then
    complain "$path: '$room' is no room of the house"
    return
  fi

  while IFS= read -r line; do
    where=$path:${line%%:*}
    line=${line#*:}
    if [[ ! $line =~ ^[[:space:]]*#[[:space:]]*include[[:space:]]*\<([^\>]+)\> ]]; then
      complain "$where: an include that is not spelled in full: $line"
      continue
    fi
    header=${BASH_REMATCH[1]}
    case $header in
      dssl/*)
        header=${header#dssl/}
        if [[ ! -f $include/$header ]]; then
          complain "$where: <dssl/$header> does not exist"
        elif [[ $header == backend/onednn.hpp || $header == backend/cblas.hpp || $header == backend/mpi.hpp || $header == backend/nccl.hpp || $header == io/opencv.hpp || ( $header == backend/cpu/onednn_kernels.hpp && $path != backend/onednn.hpp ) ]]; then
          complain "$where: <dssl/$header> needs a library that not every user has"
        elif [[ $header == backend/symmetric_eigen.hpp && $room != metrics && $room != pictures ]]; then
          complain "$where: <dssl/$header> is dear to compile: only metrics/ and pictures/ need it"
        elif [[ -n $room ]] && ! allowed_header "$room" "$header"; then
          other=${header%%/*}
          [[ " $(allowed_rooms "$room") " == *" $other "* ]] || complain "$where: $room may not include <dssl/$header>"
        fi
        ;;
      Eigen/* | unsupported/Eigen/*)
        if [[ $room != backend ]]; then
          complain "$where: only backend/ may see Eigen"
        elif [[ $header != Eigen/Core && $path != backend/symmetric_eigen.hpp ]]; then
          complain "$where: <$header> is dear to compile: only backend/symmetric_eigen.hpp sees more than Eigen/Core"
        fi
        ;;
      tbb/* | oneapi/tbb*) [[ $room == backend || $room == data ]] || complain "$where: only backend/ and data/ may see oneTBB" ;;
      cuda* | cub/* | thrust/* | cublas*)
        [[ $path == backend/cuda.cuh || $path == backend/cuda/*.cuh ]] || complain "$where: only backend/cuda/*.cuh may see CUDA"
        ;;
      dnnl* | oneapi/dnnl/* | omp.h)
        [[ $path == backend/onednn.hpp || $path == backend/cpu/onednn_kernels.hpp ]] || complain "$where: only backend/onednn.hpp and backend/cpu/onednn_kernels.hpp may see oneDNN"
        ;;
      nccl.h) [[ $path == backend/nccl.hpp ]] || complain "$where: only backend/nccl.hpp may see NCCL" ;;
      mpi.h) [[ $path == backend/mpi.hpp ]] || complain "$where: only backend/mpi.hpp may see MPI" ;;
      cblas* | openblas* | mkl*) [[ $path == backend/cblas.hpp ]] || complain "$where: only backend/cblas.hpp may see a BLAS" ;;
      png.h) [[ $path == io/png.hpp ]] || complain "$where: only io/png.hpp may see libpng" ;;
      jpeglib.h | jerror.h | turbojpeg.h) [[ $path == io/jpeg.hpp ]] || complain "$where: only io/jpeg.hpp may see libjpeg" ;;
      tiff*.h*) [[ $path == io/tiff.hpp ]] || complain "$where: only io/tiff.hpp may see libtiff" ;;
      webp/*) [[ $path == io/webp.hpp ]] || complain "$where: only io/webp.hpp may see libwebp" ;;
      yaml-cpp/*) [[ $path == io/camera_file.hpp ]] || complain "$where: only io/camera_file.hpp may see yaml-cpp" ;;
      opencv2/*) [[ $path == io/opencv.hpp ]] || complain "$where: only io/opencv.hpp may see OpenCV" ;;
      iostream) complain "$where: a library does not print" ;;
      nlohmann/* | CLI/*) complain "$where: <$header> is for programs" ;;
    esac
  done < <(grep -nE '^[[:space:]]*#[[:space:]]*include' "$file")

  while IFS= read -r line; do
    complain "$path:${line%%:*}: a library neither prints nor ends the process: ${line#*:}"
  done < <(grep -nE '^[^/]*\b(std::(cout|cerr|clog|exit|abort|quick_exit|terminate)|(f?printf|puts)[[:space:]]*\()' "$file")
}

count=0
while IFS= read -r file; do
  check_header "$file"
  count=$((count + 1))
done < <(find "$include" -name '*.hpp' -o -name '*.cuh' | sort)

for room in $named_rooms; do check_names "$room"; done
for room in "$include"/*/; do
  room=$(basename "$room")
  ! allowed_rooms "$room" >/dev/null || check_design "$room"
done
check_beside
check_long

if [[ $count -eq 0 ]]; then
  complain "$include: no headers"
fi
if [[ $violations -gt 0 ]]; then
  echo "$violations violations in $count headers" >&2
  exit 1
fi
echo "$count headers keep to their rooms"
