# MPI as dssl's build and its installed package look for it: the functions of C alone, in a program in C++.
set(DSSL_MPI_DEFINITIONS OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)

# dssl_find_mpi(<libraries>): what to link, or nothing.
function(dssl_find_mpi libraries)
  set(${libraries} "" PARENT_SCOPE)
  set(MPI_CXX_SKIP_MPICXX TRUE)
  find_package(MPI 3.0 QUIET COMPONENTS CXX GLOBAL)
  if(MPI_CXX_FOUND)
    set(${libraries} MPI::MPI_CXX PARENT_SCOPE)
  endif()
endfunction()
