// Nothing: the target that precompiles common/headers.hpp needs a file.
