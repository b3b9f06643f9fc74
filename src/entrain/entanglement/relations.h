#pragma once
// What became related to what: the strongest pairs and the clusters of tokens and phrases in the projected space, and their map.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "entrain/base/tensor.h"

namespace entrain::entanglement {

/// A token, or a phrase of two or three tokens, that occurs several times: the mean direction of its occurrences.
struct Unit {
  std::vector<int32_t> ids;             ///< of its tokens
  std::vector<int64_t> occurrences;     ///< rows where it ends, ascending
  int64_t cluster = -1;
  double x = 0, y = 0;                  ///< on the map, the plane of largest variance
};

struct RelatedPair {
  size_t first = 0, second = 0;         ///< units
  double cosine = 0;                    ///< of their centred mean directions
};

struct Cluster {
  std::vector<size_t> members;          ///< units, nearest to the centre first
  double cohesion = 0;                  ///< mean cosine of members and centre
};

struct Relations {
  std::vector<Unit> units;              ///< by falling number of occurrences, tokens before phrases
  std::vector<RelatedPair> pairs;       ///< by falling cosine; no two units with a token in common
  std::vector<Cluster> clusters;        ///< by falling cohesion
};

struct RelationsOptions {
  int64_t min_occurrences = 5;
  int64_t max_units = 1500;
  int64_t n_pairs = 30;
  int64_t n_clusters = 12;
};

/// z: (N, d) projected states; ids: (N); windows: (N), a phrase lies within one. The mean of all z is taken off first, so that what all
/// share counts as no relation. Clusters by spherical k-means with farthest-first starts: no chance is involved.
/// Throws Error{kData} where fewer than three units occur often enough.
Relations find_relations(const Tensor& z, std::span<const int32_t> ids, std::span<const int64_t> windows, const RelationsOptions& options);

/// One self-contained SVG: units as points, coloured by cluster, the most frequent named. `names`: one a unit.
std::string map_svg(const Relations& relations, const std::vector<std::string>& names, const std::string& title);

}  // namespace entrain::entanglement
