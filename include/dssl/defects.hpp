// Finding defects: by a bank of normal patches, by a template, and without features.
//
//   defect_score         scores and heat maps, and their counts
//   defect_bank          patches of normal images
//   defect_bank_file     a bank on disk
//   bank_settings        what a bank's features were read with
//   learned_patches      patches on their way to a bank
//   defect_probe         a bank from a source, another source scored
//   neighbourhood        means about each cell
//   foreground           which pixels of an image show what is looked at
//   patch_rules          which patches of an image count, and what is taken out of them
//   patch_look           these rules, windows and standardising in one list
//   patch_reader         the patches of a source's images
//   standardised_images  images of one brightness and contrast
//   pasted_defect        defects made up on normal images
//   template_comparison  patches beside those of a template
//   template_probe       aligned pairs scored
//   difference_probe     without features: what the others have to beat
//   bank_metadata        numbers beside the tensors of a bank
//   size_trend           scores without what an image's size adds
//   local_filters        features of patches that nobody trained
//   row_gaussian         a normal distribution of rows
//   boosted_trees        a classifier of rows
//   filter_labels        what labelled images add to the distribution
//   filter_probe         all of these, without a backbone
//   filter_bank_file     what it learned, on disk
//
// A program that needs one part includes that part alone.
#pragma once

#include <dssl/defects/bank_metadata.hpp>
#include <dssl/defects/bank_settings.hpp>
#include <dssl/defects/boosted_trees.hpp>
#include <dssl/defects/defect_bank.hpp>
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/defects/defect_probe.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/difference_probe.hpp>
#include <dssl/defects/filter_bank_file.hpp>
#include <dssl/defects/filter_labels.hpp>
#include <dssl/defects/filter_probe.hpp>
#include <dssl/defects/foreground.hpp>
#include <dssl/defects/learned_patches.hpp>
#include <dssl/defects/local_filters.hpp>
#include <dssl/defects/neighbourhood.hpp>
#include <dssl/defects/pasted_defect.hpp>
#include <dssl/defects/patch_look.hpp>
#include <dssl/defects/patch_reader.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/defects/row_gaussian.hpp>
#include <dssl/defects/size_trend.hpp>
#include <dssl/defects/standardised_images.hpp>
#include <dssl/defects/template_comparison.hpp>
#include <dssl/defects/template_probe.hpp>
