# The CUDA backend. dssl::cuda carries what a program with it links. Where a CUDA compiler is found, dssl's own programs
# and tests link dssl_cuda_instances besides, which nvcc compiles once.
set(DSSL_CUDA AUTO CACHE STRING "The CUDA backend: ON, OFF, or AUTO where a toolkit (for dssl's own programs: a CUDA compiler) is found")
set_property(CACHE DSSL_CUDA PROPERTY STRINGS AUTO ON OFF)
set(DSSL_CUDA_ARCHITECTURES "80;86;89;90" CACHE STRING
  "Compute capabilities that dssl's own programs hold machine code for; newer devices compile that of the last")

if(DSSL_CUDA STREQUAL "OFF")
  return()
endif()

# A project that only includes dssl enables the language itself, if it wants it.
set(dssl_own_cuda OFF)
if(DSSL_BUILD_TESTS OR DSSL_BUILD_EXAMPLES OR DSSL_BUILD_BENCHMARKS)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(dssl_own_cuda ON)
    # Machine code for each, and the last one as PTX too.
    list(TRANSFORM DSSL_CUDA_ARCHITECTURES APPEND "-real" OUTPUT_VARIABLE dssl_cuda_architectures)
    list(POP_BACK dssl_cuda_architectures)
    list(GET DSSL_CUDA_ARCHITECTURES -1 dssl_newest_architecture)
    list(APPEND dssl_cuda_architectures ${dssl_newest_architecture})
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES ${dssl_cuda_architectures})
    endif()
    enable_language(CUDA)
  elseif(DSSL_CUDA STREQUAL "ON")
    message(FATAL_ERROR "dssl: DSSL_CUDA is ON, and there is no CUDA compiler "
      "(CMAKE_CUDA_COMPILER or the environment variable CUDACXX names one)")
  else()
    message(STATUS "dssl: no CUDA compiler found, dssl's own programs are built without the CUDA backend")
  endif()
endif()

find_package(CUDAToolkit 12 QUIET)
if(NOT CUDAToolkit_FOUND)
  if(DSSL_CUDA STREQUAL "ON")
    message(FATAL_ERROR "dssl: DSSL_CUDA is ON, and there is no toolkit of CUDA 12 or newer (CUDAToolkit_ROOT names one)")
  endif()
  return()
endif()

add_library(dssl_cuda INTERFACE)
add_library(dssl::cuda ALIAS dssl_cuda)
target_link_libraries(dssl_cuda INTERFACE dssl CUDA::cudart CUDA::cublasLt)
# The language level as a flag: CMake 3.25.1 does not know that nvcc has it.
target_compile_options(dssl_cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)

if(dssl_own_cuda)
  add_library(dssl_cuda_instances STATIC EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/cuda_instances.cu)
  target_link_libraries(dssl_cuda_instances PUBLIC dssl_cuda)
  target_compile_definitions(dssl_cuda_instances INTERFACE DSSL_WITH_CUDA)  # programs then offer --backend cuda
  set_target_properties(dssl_cuda_instances PROPERTIES
    CUDA_ARCHITECTURES "${dssl_cuda_architectures}" POSITION_INDEPENDENT_CODE ON)
  target_compile_options(dssl_cuda_instances PRIVATE -Xcompiler=-Wall,-Wextra,-Wshadow)
endif()
