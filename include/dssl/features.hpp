// What a frozen backbone makes of images: class tokens, patch maps, and what its tokens attend to.
//
//   class_map       ids of a mask as classes
//   labelled_input  an image, and its mask, as a network takes them
//   feature_options what an extractor is made for, and what it gives of one image
//   extents         height and width as options say them
//   features        `FeatureExtractor`: class tokens and patch maps of a batch
//   feature_pass    a whole source through it, loaded ahead
//   ordered_rows    what ranks make of a source's images, in its order
//   tiles, tile_pass  windows that cover images of any size at their own resolution
//   token_trace     one image, its reference tokens and its attention
//   bilinear        reads between the cells of a patch map
//   onnx_backbone   the backbone as a graph for other runtimes
//
// A program that needs one part includes that part alone.
#pragma once

#include <dssl/features/bilinear.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/extents.hpp>
#include <dssl/features/feature_options.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/label_census.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/features/onnx_backbone.hpp>
#include <dssl/features/onnx_layers.hpp>
#include <dssl/features/onnx_positions.hpp>
#include <dssl/features/ordered_rows.hpp>
#include <dssl/features/tile_pass.hpp>
#include <dssl/features/tiles.hpp>
#include <dssl/features/token_trace.hpp>
