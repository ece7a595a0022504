# The target docs_api: the API reference in <build folder>/api, made of the docstrings, where Doxygen is found. A docstring
# that Doxygen cannot read fails it.
find_program(DSSL_DOXYGEN doxygen)
if(DSSL_DOXYGEN)
  set(DSSL_API_FOLDER ${PROJECT_BINARY_DIR}/api)
  file(MAKE_DIRECTORY ${DSSL_API_FOLDER})
  configure_file(${PROJECT_SOURCE_DIR}/docs/Doxyfile.in ${PROJECT_BINARY_DIR}/Doxyfile @ONLY)
  add_custom_target(docs_api COMMAND ${DSSL_DOXYGEN} ${PROJECT_BINARY_DIR}/Doxyfile
    COMMENT "API reference: ${DSSL_API_FOLDER}/index.html" VERBATIM)
endif()
