# Libraries that compute matrix products of the Cpu backend in the place of dssl's own kernels: found by dssl's build
# and by its installed package in the same way.
include(CheckCXXSourceCompiles)
include(${CMAKE_CURRENT_LIST_DIR}/dsslFind.cmake)

# A check that compiles is remembered: forgets that of other files than these.
function(dssl_check_again_if_changed check)
  if(NOT "${${check}_OF}" STREQUAL "${ARGN}")
    unset(${check} CACHE)
    set(${check}_OF "${ARGN}" CACHE INTERNAL "What ${check} was found out of")
  endif()
endfunction()

# dssl_find_onednn(<libraries> <folders> <why>): what to link and to include, or no libraries and the reason. Header and
# library are looked for by name: the package file that Debian ships ends the configuration where OpenCL's development
# files are missing, which nothing here needs.
function(dssl_find_onednn libraries folders why)
  set(${libraries} "" PARENT_SCOPE)
  set(CMAKE_REQUIRED_QUIET ON)
  dssl_find_by_name(problem ONEDNN dnnl.hpp "oneDNN is not found" "Debian: libdnnl-dev" LIBRARIES dnnl)
  if(problem)
    set(${why} "${problem}" PARENT_SCOPE)
    return()
  endif()
  dssl_check_again_if_changed(DSSL_ONEDNN_LINKS ${DSSL_ONEDNN_LIBRARY} ${DSSL_ONEDNN_INCLUDE_DIR})
  # Its threads must be held to one inside a task of dssl's.
  set(CMAKE_REQUIRED_LIBRARIES ${DSSL_ONEDNN_LIBRARY} gomp)
  set(CMAKE_REQUIRED_INCLUDES ${DSSL_ONEDNN_INCLUDE_DIR})
  check_cxx_source_compiles("
    #include <dnnl.hpp>
    #if DNNL_VERSION_MAJOR * 100 + DNNL_VERSION_MINOR < 206
    #error version
    #endif
    #if DNNL_CPU_THREADING_RUNTIME != DNNL_RUNTIME_OMP && DNNL_CPU_THREADING_RUNTIME != DNNL_RUNTIME_SEQ
    #error threads
    #endif
    extern \"C\" void omp_set_num_threads(int);
    int main() {
      omp_set_num_threads(1);
      return dnnl::engine::get_count(dnnl::engine::kind::cpu) == 0 ? 1 : 0;
    }" DSSL_ONEDNN_LINKS)
  if(DSSL_ONEDNN_LINKS)
    set(${libraries} ${DSSL_ONEDNN_LIBRARY} gomp PARENT_SCOPE)
    set(${folders} ${DSSL_ONEDNN_INCLUDE_DIR} PARENT_SCOPE)
  else()
    set(${why} "${DSSL_ONEDNN_LIBRARY} is older than 2.6, does not link with g++'s OpenMP, or has threads of another kind"
      PARENT_SCOPE)
  endif()
endfunction()

# dssl_find_cblas(<libraries> <folders> <why>): the same for OpenBLAS, or whatever DSSL_CBLAS_LIBRARY names.
function(dssl_find_cblas libraries folders why)
  set(${libraries} "" PARENT_SCOPE)
  set(CMAKE_REQUIRED_QUIET ON)
  dssl_find_by_name(problem CBLAS cblas.h "no CBLAS is found" "Debian: libopenblas-dev" LIBRARIES openblas cblas FOLDERS openblas)
  if(problem)
    set(${why} "${problem}" PARENT_SCOPE)
    return()
  endif()
  dssl_check_again_if_changed(DSSL_CBLAS_LINKS ${DSSL_CBLAS_LIBRARY} ${DSSL_CBLAS_INCLUDE_DIR})
  set(CMAKE_REQUIRED_LIBRARIES ${DSSL_CBLAS_LIBRARY})
  set(CMAKE_REQUIRED_INCLUDES ${DSSL_CBLAS_INCLUDE_DIR})
  check_cxx_source_compiles("
    #include <cblas.h>
    int main() {
      float x = 0;
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 1, 1, 1, 1, &x, 1, &x, 1, 0, &x, 1);
    }" DSSL_CBLAS_LINKS)
  if(DSSL_CBLAS_LINKS)
    set(${libraries} ${DSSL_CBLAS_LIBRARY} PARENT_SCOPE)
    set(${folders} ${DSSL_CBLAS_INCLUDE_DIR} PARENT_SCOPE)
  else()
    set(${why} "${DSSL_CBLAS_LIBRARY} has no cblas_sgemm" PARENT_SCOPE)
  endif()
endfunction()
