# How dssl's build and its installed package look for a library that has no package file to trust: header and library by name.

# dssl_find_by_name(<why> <name> <header> <missing> <packages> LIBRARIES <name>... [FOLDERS <suffix>...]): caches
# DSSL_<name>_INCLUDE_DIR and DSSL_<name>_LIBRARY; <why> is empty, or what is missing, in whose packages it is, and how
# another is named.
function(dssl_find_by_name why name header missing packages)
  cmake_parse_arguments(PARSE_ARGV 5 dssl "" "" "LIBRARIES;FOLDERS")
  find_path(DSSL_${name}_INCLUDE_DIR ${header} PATH_SUFFIXES ${dssl_FOLDERS} DOC "Folder of ${header}")
  find_library(DSSL_${name}_LIBRARY NAMES ${dssl_LIBRARIES} DOC "Library of ${header}")
  mark_as_advanced(DSSL_${name}_INCLUDE_DIR DSSL_${name}_LIBRARY)
  set(${why} "" PARENT_SCOPE)
  if(NOT DSSL_${name}_INCLUDE_DIR OR NOT DSSL_${name}_LIBRARY)
    set(${why} "${missing} (${packages}; DSSL_${name}_LIBRARY and DSSL_${name}_INCLUDE_DIR name another)" PARENT_SCOPE)
  endif()
endfunction()
