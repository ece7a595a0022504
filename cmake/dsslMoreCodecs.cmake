# Files that dssl::codecs reads where there is a library for them: TIFF by libtiff, WebP by libwebp, calibrations of cameras by
# yaml-cpp. Used by dssl's own build and by the installed package, which looks for itself.
include(${CMAKE_CURRENT_LIST_DIR}/dsslFind.cmake)

# dssl_find_more_codecs(): makes dssl::tiff, dssl::webp and dssl::yaml of what is found, which name themselves to the headers,
# and lists them in DSSL_MORE_CODECS.
macro(dssl_find_more_codecs)
  set(DSSL_MORE_CODECS)
  find_package(TIFF 4.5 QUIET)  # the first that hands its messages to the file, not to the process
  if(TIFF_FOUND)
    list(APPEND DSSL_MORE_CODECS tiff)
    if(NOT TARGET dssl::tiff)
      add_library(dssl::tiff INTERFACE IMPORTED GLOBAL)
      target_link_libraries(dssl::tiff INTERFACE TIFF::TIFF)
      target_compile_definitions(dssl::tiff INTERFACE DSSL_WITH_TIFF)
    endif()
  endif()
  # Of these only headers and the library itself are asked for: name, header, library.
  foreach(_dssl_codec "webp;webp/decode.h;webp" "yaml;yaml-cpp/yaml.h;yaml-cpp")
    list(GET _dssl_codec 0 _dssl_name)
    list(GET _dssl_codec 1 _dssl_header)
    list(GET _dssl_codec 2 _dssl_library)
    string(TOUPPER ${_dssl_name} _dssl_upper)
    dssl_find_by_name(_dssl_missing ${_dssl_upper} ${_dssl_header} "${_dssl_library} is not found" "of its distribution" LIBRARIES ${_dssl_library})
    if(NOT _dssl_missing)
      list(APPEND DSSL_MORE_CODECS ${_dssl_name})
      if(NOT TARGET dssl::${_dssl_name})
        add_library(dssl::${_dssl_name} INTERFACE IMPORTED GLOBAL)
        target_link_libraries(dssl::${_dssl_name} INTERFACE ${DSSL_${_dssl_upper}_LIBRARY})
        target_include_directories(dssl::${_dssl_name} SYSTEM INTERFACE ${DSSL_${_dssl_upper}_INCLUDE_DIR})
        target_compile_definitions(dssl::${_dssl_name} INTERFACE DSSL_WITH_${_dssl_upper})
      endif()
    endif()
  endforeach()
endmacro()
