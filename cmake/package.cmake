# cpack -G DEB: one package for Debian and Ubuntu of all that is installed: headers, CMake package, pkg-config files, the
# library for C and the programs that were built. Made from the preset `install` it fits every processor of the architecture;
# another build compiles for the machine's own (DSSL_NATIVE), and the package says so.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME dssl)
set(CPACK_PACKAGE_VENDOR "The dssl authors")
set(CPACK_PACKAGE_CONTACT "The dssl authors <dssl@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_MONOLITHIC_INSTALL ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
set(dssl_package_processors "Programs and library are compiled for any processor of the architecture.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
if(DSSL_NATIVE AND DSSL_HAS_NATIVE)
  set(dssl_package_processors "Programs and library are compiled for the processor of the machine that made the package, and
may stop at others.")
endif()
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Pretrains vision transformers on unlabelled images, reads published weights, extracts features and finds defects: a
C++20 library of headers, its CMake package and pkg-config files, programs, and a library for C.
${dssl_package_processors}")
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # what programs and library link
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libeigen3-dev (>= 3.4), libtbb-dev")  # what the headers include
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "cmake, g++, libjpeg-dev, libpng-dev, libtiff-dev, libwebp-dev, libyaml-cpp-dev")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
include(CPack)
