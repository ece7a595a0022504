// The whole library: recipes, the CPU backend, data, training, evaluation.
//
// Includes only what the core needs (Eigen and oneTBB). Image files are read through <dssl/io/image_file.hpp>
// (libpng, libjpeg), which data/image_folder.hpp and data/voc.hpp include.
#pragma once

#include <dssl/version.hpp>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/concepts.hpp>
#include <dssl/data/source.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>
#include <dssl/views/multi_crop.hpp>
