// Finding defects: by a bank of normal patches, by a template, and without features.
//
//   defect_score         scores and heat maps, and their counts
//   defect_bank          patches of normal images
//   defect_bank_file     a bank on disk
//   bank_settings        what a bank's features were read with
//   defect_probe         a bank from a source, another source scored
//   neighbourhood        means about each cell
//   template_comparison  patches beside those of a template
//   template_probe       aligned pairs scored
//   difference_probe     without features: what the others have to beat
//
// A program that needs one part includes that part alone.
#pragma once

#include <dssl/defects/bank_settings.hpp>
#include <dssl/defects/defect_bank.hpp>
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/defects/defect_probe.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/difference_probe.hpp>
#include <dssl/defects/neighbourhood.hpp>
#include <dssl/defects/template_comparison.hpp>
#include <dssl/defects/template_probe.hpp>
