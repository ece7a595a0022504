# dssl::cpu: what does not depend on a recipe, compiled once, for whoever links it. The library stays header-only
# without it; the results are the same to the bit (tests/compiled). Included by dssl's build and by its installed package.
#
# DSSL_CPU_FLAGS: how the kernels are compiled. What links dssl::cpu needs none of these flags, and may be compiled
# without optimisation: the numbers are computed here.
set(DSSL_CPU_FLAGS "-march=native;-mtune=generic" CACHE STRING
  "How dssl::cpu is compiled: for this machine's processor, unless told otherwise")

# dssl_add_cpu(<folder of sources> [<libraries that bring flags, in the place of DSSL_CPU_FLAGS>])
function(dssl_add_cpu folder)
  add_library(dssl_cpu STATIC EXCLUDE_FROM_ALL ${folder}/float.cpp ${folder}/double.cpp ${folder}/attention_float.cpp
    ${folder}/attention_double.cpp ${folder}/recipes.cpp)
  add_library(dssl::cpu ALIAS dssl_cpu)
  target_link_libraries(dssl_cpu PUBLIC dssl::dssl PRIVATE ${ARGN})
  if(NOT ARGN)
    target_compile_options(dssl_cpu PRIVATE ${DSSL_CPU_FLAGS})
  endif()
  target_compile_definitions(dssl_cpu PUBLIC DSSL_WITH_COMPILED_CPU)
  set_target_properties(dssl_cpu PROPERTIES POSITION_INDEPENDENT_CODE ON)
  if(NOT DSSL_SANITIZE)
    target_compile_options(dssl_cpu PRIVATE -O3)  # in a debug build too
  endif()
endfunction()
