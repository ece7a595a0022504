# Installs the headers and a package that `find_package(dssl)` finds.
include(CMakePackageConfigHelpers)

# Headers only, so the package fits every processor: it lies under share/.
set(dssl_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/dssl)

install(DIRECTORY include/dssl DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dssl
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.cuh")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT dssl)
install(TARGETS dssl EXPORT dsslTargets)
install(EXPORT dsslTargets NAMESPACE dssl:: DESTINATION ${dssl_package_dir} COMPONENT dssl)
if(TARGET dssl_codecs)
  install(TARGETS dssl_codecs EXPORT dsslCodecs)
  install(EXPORT dsslCodecs NAMESPACE dssl:: DESTINATION ${dssl_package_dir} COMPONENT dssl)
endif()

if(TARGET dssl_c)
  install(TARGETS dssl_c EXPORT dsslC LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT c NAMELINK_COMPONENT c)
  install(FILES include/dssl.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT c)
  install(EXPORT dsslC NAMESPACE dssl:: DESTINATION ${dssl_package_dir} COMPONENT c)
endif()

# For whoever builds without CMake. They find their prefix by where they lie, so that the installed tree may be moved.
function(dssl_install_pkg_config name folder component)
  file(RELATIVE_PATH dssl_pc_prefix /prefix/${folder} /prefix)
  string(REGEX REPLACE "/$" "" dssl_pc_prefix "${dssl_pc_prefix}")
  foreach(kind includedir libdir)
    string(TOUPPER CMAKE_INSTALL_${kind} installed)
    set(dssl_pc_${kind} "${${installed}}")
    if(NOT IS_ABSOLUTE "${dssl_pc_${kind}}")
      string(PREPEND dssl_pc_${kind} "\${prefix}/")
    endif()
  endforeach()
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${folder} COMPONENT ${component})
endfunction()
dssl_install_pkg_config(dssl ${CMAKE_INSTALL_DATADIR}/pkgconfig dssl)
if(TARGET dssl_c)
  dssl_install_pkg_config(dssl-c ${CMAKE_INSTALL_LIBDIR}/pkgconfig c)
endif()

# dssl::cpu is compiled in the build that uses it, for its processor and by its compiler: its sources are installed.
install(DIRECTORY cmake/cpu DESTINATION ${dssl_package_dir} COMPONENT dssl FILES_MATCHING PATTERN "*.cpp")

configure_package_config_file(cmake/dsslConfig.cmake.in dsslConfig.cmake INSTALL_DESTINATION ${dssl_package_dir}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(dsslConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dsslConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/dsslConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/dsslFind.cmake ${CMAKE_CURRENT_LIST_DIR}/dsslProducts.cmake ${CMAKE_CURRENT_LIST_DIR}/dsslMpi.cmake
  ${CMAKE_CURRENT_LIST_DIR}/dsslNccl.cmake ${CMAKE_CURRENT_LIST_DIR}/dsslMoreCodecs.cmake ${CMAKE_CURRENT_LIST_DIR}/cpu.cmake
  DESTINATION ${dssl_package_dir} COMPONENT dssl)
