// What results are worth: rankings, detections, classes, clusters, and features by themselves.
//
//   metrics         how well scores rank: AUROC, average precision
//   score_tally     scores counted in bounded memory
//   regions         connected regions of a mask
//   found_regions   which regions are found, by their size
//   detection       by image, by pixel, by region
//   calibration     a threshold that keeps a promise
//   confusion       confusion matrix, intersection over union
//   boundary        the same of the bands along classes' boundaries
//   assignment      rows and columns matched one to one
//   cluster_counts  clusters named after classes
//   effective_rank  how many dimensions features use
//
// A program that needs one part includes that part alone.
#pragma once

#include <dssl/metrics/assignment.hpp>
#include <dssl/metrics/boundary.hpp>
#include <dssl/metrics/calibration.hpp>
#include <dssl/metrics/cluster_counts.hpp>
#include <dssl/metrics/confusion.hpp>
#include <dssl/metrics/detection.hpp>
#include <dssl/metrics/effective_rank.hpp>
#include <dssl/metrics/found_regions.hpp>
#include <dssl/metrics/metrics.hpp>
#include <dssl/metrics/regions.hpp>
#include <dssl/metrics/score_tally.hpp>
