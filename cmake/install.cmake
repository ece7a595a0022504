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

# dssl::cpu is compiled in the build that uses it, for its processor and by its compiler: its sources are installed.
install(DIRECTORY cmake/cpu DESTINATION ${dssl_package_dir} COMPONENT dssl FILES_MATCHING PATTERN "*.cpp")

configure_package_config_file(cmake/dsslConfig.cmake.in dsslConfig.cmake INSTALL_DESTINATION ${dssl_package_dir}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(dsslConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dsslConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/dsslConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/dsslProducts.cmake ${CMAKE_CURRENT_LIST_DIR}/dsslMpi.cmake ${CMAKE_CURRENT_LIST_DIR}/cpu.cmake
  DESTINATION ${dssl_package_dir} COMPONENT dssl)
