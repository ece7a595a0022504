// Pictures to look at: images, classes, heat maps, patch features, views and points, as RGB.
//
//   picture               images of any kind, enlarged, with captions, on sheets
//   colour_map            colours for numbers and marks
//   heat_map              numbers over an image, and their scale
//   overlay               classes over an image
//   drawing               lines, boxes, discs
//   lettering             letters
//   principal_components  patch features as colours
//   patch_matches         patches that look alike
//   view_pictures         the views of a step, and their points
//
// A program that needs one part includes that part alone.
#pragma once

#include <dssl/pictures/colour_map.hpp>
#include <dssl/pictures/drawing.hpp>
#include <dssl/pictures/heat_map.hpp>
#include <dssl/pictures/lettering.hpp>
#include <dssl/pictures/overlay.hpp>
#include <dssl/pictures/patch_matches.hpp>
#include <dssl/pictures/picture.hpp>
#include <dssl/pictures/principal_components.hpp>
#include <dssl/pictures/view_pictures.hpp>
