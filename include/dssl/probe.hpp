// What labels make of features: linear probes, retrieval, clusters, and fine-tuning of the whole backbone.
//
//   linear_probe           classification, several learning rates at once
//   linear_segmenter       a linear classifier of patches
//   segmentation_probe     its training and evaluation
//   segmentation_result    what ways of segmenting report
//   standardise            features of mean 0 and deviation 1 a channel
//   retrieval_probe        segmentation by looking up, no training
//   cluster_probe          segmentation by clusters, no labels
//   fine_tuned_classifier  the whole backbone, for classes
//   fine_tuned_segmenter   the whole backbone, for masks
//   tuned_network          what these train
//   tuning_samples         what these train on
//   drawn_crop             the part of an image that a sample shows
//   native_crops           samples at an image's own resolution, half of them about labelled pixels
//   held_out_tuning        how long to train, from labelled images that are held out
//
// A program that needs one part includes that part alone.
#pragma once

#include <dssl/probe/cluster_probe.hpp>
#include <dssl/probe/drawn_crop.hpp>
#include <dssl/probe/fine_tuned_classifier.hpp>
#include <dssl/probe/fine_tuned_segmenter.hpp>
#include <dssl/probe/held_out_tuning.hpp>
#include <dssl/probe/linear_probe.hpp>
#include <dssl/probe/linear_segmenter.hpp>
#include <dssl/probe/native_crops.hpp>
#include <dssl/probe/retrieval_probe.hpp>
#include <dssl/probe/segmentation_probe.hpp>
#include <dssl/probe/segmentation_result.hpp>
#include <dssl/probe/standardise.hpp>
#include <dssl/probe/tuned_network.hpp>
#include <dssl/probe/tuning_samples.hpp>
