# How dssl's own programs, tests and benchmarks are compiled. Nothing of this reaches a user of dssl::dssl:
# the flags sit on targets of their own, which only targets of this project link, privately.
include(CheckCXXCompilerFlag)

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Kind of build" FORCE)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  find_program(DSSL_CCACHE ccache)
  if(DSSL_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${DSSL_CCACHE})
  endif()
endif()

# Warnings, and what every translation unit linked into one program must agree on (processor, sanitizers).
# -ffast-math is never used: it would make `isfinite` a constant, and the check for non-finite losses with it.
# -ffp-contract is left at the compiler's default; results are compared within tolerances, or bit for bit only
# between runs of one binary.
add_library(dssl_own_flags INTERFACE)
target_compile_features(dssl_own_flags INTERFACE cxx_std_20)
set(dssl_warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(DSSL_WARNINGS_AS_ERRORS)
  list(APPEND dssl_warnings -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # What these find changes with the optimiser and the compiler's version, and in vector code it is often nothing:
    # they are shown, but a newer g++ does not fail the build of somebody who only wants to run it.
    foreach(warning maybe-uninitialized array-bounds stringop-overflow stringop-overread restrict dangling-pointer)
      list(APPEND dssl_warnings -Wno-error=${warning})
    endforeach()
  endif()
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
  # Takes `const auto& spec = layout.find("name")` for a reference into the text it was given.
  list(APPEND dssl_warnings -Wno-dangling-reference)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # Its own AVX-512 intrinsics make undefined vectors of a variable that is its own first value (avx512fintrin.h, __Y): pages of
  # warnings, where Eigen's solver is compiled for such a processor, of code that is nobody's here. Newer g++ and clang look.
  list(APPEND dssl_warnings -Wno-maybe-uninitialized)
endif()
target_compile_options(dssl_own_flags INTERFACE ${dssl_warnings})

if(DSSL_NATIVE)
  # -march=native alone makes g++ 12 tune for znver3 on an EPYC with AVX-512, which costs Eigen's GEMM a fifth of
  # its speed: 73 against 91 GFLOP/s on one core. Generic tuning keeps the instructions and the speed.
  set(CMAKE_REQUIRED_QUIET ON)
  check_cxx_compiler_flag("-march=native -mtune=generic" DSSL_HAS_NATIVE)
  unset(CMAKE_REQUIRED_QUIET)
  if(DSSL_HAS_NATIVE)
    target_compile_options(dssl_own_flags INTERFACE -march=native -mtune=generic)
  endif()
endif()

if(DSSL_SANITIZE)
  target_compile_options(dssl_own_flags INTERFACE
    -fsanitize=${DSSL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(dssl_own_flags INTERFACE -fsanitize=${DSSL_SANITIZE})
  target_compile_definitions(dssl_own_flags INTERFACE _GLIBCXX_ASSERTIONS)
endif()

if(DSSL_TBB_STAND_IN)
  target_include_directories(dssl_own_flags BEFORE INTERFACE ${PROJECT_SOURCE_DIR}/tests/tbb_stand_in)
endif()
