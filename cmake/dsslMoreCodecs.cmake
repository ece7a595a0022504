# Image files that dssl::codecs reads where there is a library for them: TIFF by libtiff, WebP by libwebp. Used by dssl's own
# build and by the installed package, which looks for itself.

# dssl_find_more_codecs(): makes dssl::tiff and dssl::webp of what is found, which name themselves to the headers, and lists
# them in DSSL_MORE_CODECS.
macro(dssl_find_more_codecs)
  set(DSSL_MORE_CODECS)
  find_package(TIFF 4.5 QUIET)  # the first that hands its messages to the file, not to the process
  find_path(DSSL_WEBP_INCLUDE_DIR webp/decode.h)
  find_library(DSSL_WEBP_LIBRARY webp)
  mark_as_advanced(DSSL_WEBP_INCLUDE_DIR DSSL_WEBP_LIBRARY)
  if(TIFF_FOUND)
    list(APPEND DSSL_MORE_CODECS tiff)
    if(NOT TARGET dssl::tiff)
      add_library(dssl::tiff INTERFACE IMPORTED GLOBAL)
      target_link_libraries(dssl::tiff INTERFACE TIFF::TIFF)
      target_compile_definitions(dssl::tiff INTERFACE DSSL_WITH_TIFF)
    endif()
  endif()
  if(DSSL_WEBP_INCLUDE_DIR AND DSSL_WEBP_LIBRARY)
    list(APPEND DSSL_MORE_CODECS webp)
    if(NOT TARGET dssl::webp)
      add_library(dssl::webp INTERFACE IMPORTED GLOBAL)
      target_link_libraries(dssl::webp INTERFACE ${DSSL_WEBP_LIBRARY})
      target_include_directories(dssl::webp SYSTEM INTERFACE ${DSSL_WEBP_INCLUDE_DIR})
      target_compile_definitions(dssl::webp INTERFACE DSSL_WITH_WEBP)
    endif()
  endif()
endmacro()
