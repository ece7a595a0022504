#!/usr/bin/env bash
# Installs what building dssl needs and this machine lacks, from the distribution's packages (Debian 12 or newer,
# Ubuntu 24.04 or newer). Does nothing when nothing is missing.
#
#   setup.sh [--runtimes]
#
# --runtimes: also other runtimes of models, from PyPI, into build/python, an environment that sees the packages of this
# machine's Python. In a virtual environment, or where DSSL_PYTHON names a Python, that is what tests run: what it lacks is
# said, and nothing is installed. The tests that hold exported models to them skip what is not there.
set -euo pipefail

packages=(
  g++               # compiler, C++20
  cmake             # 3.25 or newer
  ninja-build       # build tool of the presets
  libeigen3-dev     # matrix products
  libtbb-dev        # threads
  catch2            # tests
  libjpeg-dev       # reading JPEG files
  libpng-dev        # reading and writing PNG files
  nlohmann-json3-dev  # programs: metrics and options as JSON
  libcli11-dev      # programs: command lines
  libbenchmark-dev  # benchmarks
)
optional=(
  libdnnl-dev       # tests of matrix products by oneDNN, which nothing needs
  doxygen           # the API reference, and a test that it can be made, which nothing needs
  libopenmpi-dev    # runs over several processes, which nothing needs, and their tests
  libtiff-dev       # reading TIFF files, which nothing needs
  libwebp-dev       # reading WebP files, which nothing needs
  libyaml-cpp-dev   # reading calibrations of cameras, which nothing needs
  libopenblas-dev   # tests of matrix products by a CBLAS, which nothing needs
)

fail() {
  echo "setup: $1" >&2
  exit 1
}

command -v dpkg-query >/dev/null ||
  fail "this is neither Debian nor Ubuntu; install what these packages hold by other means: ${packages[*]}"

# A tool counts as present however it came here; a library does when its package is installed.
installed() {
  case $1 in
    g++ | cmake) command -v "$1" >/dev/null && return ;;
    ninja-build) command -v ninja >/dev/null && return ;;
  esac
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed* ]]
}

missing=()
wanted=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done
if [[ $(id -u) -eq 0 ]] || command -v sudo >/dev/null; then
  for package in "${optional[@]}"; do
    installed "$package" || wanted+=("$package")
  done
fi

if [[ ${#missing[@]} -eq 0 && ${#wanted[@]} -eq 0 ]]; then
  echo "setup: everything is installed"
else
  echo "setup: missing: ${missing[*]} ${wanted[*]}"
  as_root=()
  if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null ||
      fail "installing packages needs root and sudo is not there; as root, run: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3)
  echo "setup: ${apt[*]} update"
  # One unreachable source need not matter; what matters is whether the packages can be installed.
  "${apt[@]}" update -qq || echo "setup: not all package lists could be fetched; trying what is there" >&2
  if [[ ${#missing[@]} -gt 0 ]]; then
    echo "setup: ${apt[*]} install -y --no-install-recommends ${missing[*]}"
    "${apt[@]}" install -y -qq --no-install-recommends "${missing[@]}" ||
      fail "apt-get could not install: ${missing[*]} (is the network there?)"
  fi
  for package in "${missing[@]}"; do
    installed "$package" || fail "$package is still missing after its installation"
  done
  for package in "${wanted[@]}"; do
    "${apt[@]}" install -y -qq --no-install-recommends "$package" ||
      echo "setup: $package cannot be installed; what it is for is left out" >&2
  done
  echo "setup: done"
fi

version=$(cmake --version | sed -n '1s/[^0-9]*//p')
[[ $(printf '%s\n' 3.25 "$version" | sort -V | head -n 1) == 3.25 ]] ||
  fail "cmake $version is too old; 3.25 or newer is needed (Debian 12, Ubuntu 24.04)"

[[ ${1:-} == --runtimes ]] || exit 0
runtimes=(numpy onnx onnxruntime openvino)
environment=$(dirname "$0")/../build/python
lacks() { "$1" - "${runtimes[@]}" <<<'import importlib.util, sys; print(*[n for n in sys.argv[1:] if not importlib.util.find_spec(n)])'; }
left_out() {
  echo "setup: $1; tests of other runtimes leave out what is not there" >&2
  exit 0
}
python=${DSSL_PYTHON:-python3}
command -v "$python" >/dev/null || left_out "no $python"
own=$("$python" -c 'import sys; print(sys.prefix != sys.base_prefix)') || left_out "$python does not run"
[[ -z ${DSSL_PYTHON:-} ]] || own=True
[[ $own == True || ! -x $environment/bin/python ]] || python=$environment/bin/python
absent=$(lacks "$python") || left_out "$python does not run"
[[ -n $absent ]] || exit 0
echo "setup: missing for tests of other runtimes: $absent"
[[ $own != True ]] || left_out "$python is yours: nothing is installed into it"
python3 -m venv --system-site-packages "$environment" >/dev/null 2>&1 || {
  rm -rf "$environment"  # half of one
  left_out "no environment of Python can be made"
}
# shellcheck disable=SC2086  # several words
timeout 120 "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 15 $absent ||
  left_out "PyPI does not give all of them"
