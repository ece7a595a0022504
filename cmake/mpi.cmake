# dssl::mpi: what a program links whose runs are shared by several processes (<dssl/backend/mpi.hpp>). It is there where MPI is
# found, and nobody else notices.
set(DSSL_MPI AUTO CACHE STRING "Runs over several processes by MPI: ON, OFF, or AUTO where it is found")
set_property(CACHE DSSL_MPI PROPERTY STRINGS AUTO ON OFF)
include(${CMAKE_CURRENT_LIST_DIR}/dsslMpi.cmake)

if(NOT DSSL_MPI STREQUAL "OFF")
  dssl_find_mpi(dssl_libraries)
  if(dssl_libraries)
    add_library(dssl_mpi INTERFACE)
    add_library(dssl::mpi ALIAS dssl_mpi)
    target_link_libraries(dssl_mpi INTERFACE dssl ${dssl_libraries})
    target_compile_definitions(dssl_mpi INTERFACE ${DSSL_MPI_DEFINITIONS})
  elseif(DSSL_MPI STREQUAL "ON")
    message(FATAL_ERROR "dssl: DSSL_MPI is ON, and MPI is not found (Debian: libopenmpi-dev)")
  elseif(PROJECT_IS_TOP_LEVEL)
    message(STATUS "dssl: MPI is not found (Debian: libopenmpi-dev); no dssl::mpi, and programs run on one process")
  endif()
endif()
