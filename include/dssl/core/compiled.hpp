// Where a function's code comes from: from every translation unit that uses it, or from dssl::cpu.
#pragma once

// Header-only, which is the default, a function marked DSSL_INLINE is `inline` and its definition follows its declaration.
// With the compiled target dssl::cpu (DSSL_WITH_COMPILED_CPU) a translation unit sees the declaration alone; the one that
// holds the code defines DSSL_COMPILING. For functions that are no templates and long, or lead to much code.
// DSSL_INSTANCE declares, or there makes, an instance of a template: dssl/instances.hpp.
#if defined(DSSL_COMPILING)
#define DSSL_INLINE
#define DSSL_INSTANCE template
#define DSSL_WITH_DEFINITIONS
#elif defined(DSSL_WITH_COMPILED_CPU)
#define DSSL_INLINE
#define DSSL_INSTANCE extern template
#else
#define DSSL_INLINE inline
#define DSSL_WITH_DEFINITIONS
#endif
