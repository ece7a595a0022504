// The instruction set that a translation unit is compiled for, as a name.
#pragma once

// Kernels differ with it: in how many numbers a register holds, in how operands are packed, in what scratch they take.
// The same template compiled for two instruction sets in one program would be one function to the linker, which keeps
// either. So everything whose meaning depends on it lies in an inline namespace of this name, and two translation units
// that disagree have two backends: each trains as it would alone, and a backend handed from one to the other is a symbol
// that does not exist, whose name says why. Test: tests/compiled/same_bits.cpp.
//
// Functions that are no kernels (inline ones of the host, Eigen's own in symmetric_eigen.hpp) have one name for all, and the
// linker keeps either: they compute the same, but may hold instructions of the wider set, so that the program runs only on
// processors that have it.

#if defined(EIGEN_DONT_VECTORIZE)
#define DSSL_ISA_VECTORS no_vectors
#elif defined(__AVX512F__) && defined(__AVX512DQ__)
#define DSSL_ISA_VECTORS avx512
#elif defined(__AVX512F__)
#define DSSL_ISA_VECTORS avx512f
#elif defined(__AVX2__)
#define DSSL_ISA_VECTORS avx2
#elif defined(__AVX__)
#define DSSL_ISA_VECTORS avx
#elif defined(__SSE4_1__)
#define DSSL_ISA_VECTORS sse4
#elif defined(__SSE2__)
#define DSSL_ISA_VECTORS sse2
#elif defined(__ARM_NEON) || defined(__ARM_NEON__)
#define DSSL_ISA_VECTORS neon
#else
#define DSSL_ISA_VECTORS other
#endif

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define DSSL_ISA_FMA _fma
#else
#define DSSL_ISA_FMA
#endif

#if defined(__AMX_TILE__) && defined(__AMX_BF16__)
#define DSSL_ISA_BF16 _amx
#elif defined(__AVX512BF16__)
#define DSSL_ISA_BF16 _bf16
#else
#define DSSL_ISA_BF16
#endif

#define DSSL_ISA_JOIN_EXPANDED(a, b, c) a##b##c
#define DSSL_ISA_JOIN(a, b, c) DSSL_ISA_JOIN_EXPANDED(a, b, c)
#define DSSL_ISA_TEXT_EXPANDED(name) #name
#define DSSL_ISA_TEXT(name) DSSL_ISA_TEXT_EXPANDED(name)

/// The namespace of kernels: "avx2_fma", "avx512_fma_bf16", ...
#define DSSL_ISA DSSL_ISA_JOIN(DSSL_ISA_VECTORS, DSSL_ISA_FMA, DSSL_ISA_BF16)

/// The namespace of the backend: that of its kernels, or with the compiled target dssl::cpu, whose kernels are compiled
/// once for whoever includes the declarations, a name of its own.
#if defined(DSSL_WITH_COMPILED_CPU)
#define DSSL_CPU_KERNELS compiled
#else
#define DSSL_CPU_KERNELS DSSL_ISA
#endif
