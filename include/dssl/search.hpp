// Rows in a backend's memory: the nearest ones, few that lie close to all, clusters, and votes of neighbours.
//
//   nearest          the nearest rows of a bank
//   knn              classes by votes of the nearest
//   dense_retrieval  classes of patches by those of the nearest patches
//   patch_labels     masks as labels of patches
//   kmeans           clusters
//   coreset          few rows that lie close to all
//   row_sample       rows drawn, and orders
//
// A program that needs one part includes that part alone.
#pragma once

#include <dssl/search/coreset.hpp>
#include <dssl/search/dense_retrieval.hpp>
#include <dssl/search/kmeans.hpp>
#include <dssl/search/knn.hpp>
#include <dssl/search/nearest.hpp>
#include <dssl/search/patch_labels.hpp>
#include <dssl/search/row_sample.hpp>
