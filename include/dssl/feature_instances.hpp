// What dssl::cpu holds compiled for programs that read features: the extractor on Cpu. features/features.hpp ends with it.
#pragma once

#include <dssl/core/compiled.hpp>

#if defined(DSSL_INSTANCE)
#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/features/features.hpp>

DSSL_INSTANCE class dssl::FeatureExtractor<dssl::ViTFamily, dssl::Cpu>;
#endif
