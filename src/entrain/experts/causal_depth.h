#pragma once
// How deep mutual observation goes, by path patching (D3, experts.md 3.2): a counterfactual example's state enters at one end of a path of
// observation edges i -> j -> i -> ..., every other edge is as in the clean run, and the shift of the answer at the path's end is read.

#include <utility>

#include "entrain/experts/entangled.h"
#include "entrain/statistics/resampling.h"

namespace entrain::experts {

/// Two examples of equal token count, view by view.
struct ExamplePair {
  Example clean, other;
};

/// What patching did to n pairs, at the path's end; (n) float64 each.
struct PathEffect {
  Tensor shift;   ///< root mean square, over the 13 answers, of the shift of their logits, each row's logits less their mean: 0 bit for bit where nothing arrives
  Tensor toward;  ///< shift of (logit of the other's answer - logit of the clean one): positive where the counterfactual arrives as such; 0 for equal answers
  Tensor jsd;     ///< Jensen-Shannon divergence of the answers, nats
};

/// Effects of the paths of length 1 to n_rounds along `path` (experts e0, e1, ..., at least n_rounds + 1; neighbours differ): in round 1, e1 reads e0's round-0 state
/// in the counterfactual run, all else clean, on top of its own clean state; in round k, ek reads what came out of e(k-1) on top of its own clean one.
/// After round k only ek's own state goes on, all that it reads of others is clean. Element k - 1 is read at ek after n_rounds.
/// An expert's own residual stream is no edge: apart from the path's nodes it stays clean.
std::vector<PathEffect> path_effects(const Entangled& entangled, std::span<const ExamplePair> pairs, std::span<const int64_t> path, int64_t n_rounds, const Edges& edges);

/// One length of path. Effects of a pair are means over paths.
struct CausalLength {
  int64_t length = 0;
  int64_t n_paths = 0;
  double effect = 0;                ///< mean shift of counterfactual pairs
  double null_effect = 0;           ///< of equivalent pairs
  double threshold = 0;             ///< what `effect` must exceed
  double p = 1;                     ///< one-sided permutation test of effect > null_effect: labels of all pairs drawn anew
  double jsd = 0, null_jsd = 0;
  statistics::Interval toward;      ///< mean shift towards the counterfactual answer, bootstrap over pairs
  bool beyond = false;              ///< effect > threshold
};

struct CausalDepth {
  std::vector<CausalLength> lengths;  ///< 1 to R; a length without a path has n_paths 0
  int64_t depth = 0;                  ///< largest length beyond its threshold, 0 for none
};

struct CausalOptions {
  int64_t n_rounds = 2;
  uint64_t seed = 0;
  int64_t n_resamples = 2000;
  std::vector<std::pair<int64_t, int64_t>> paths = {};  ///< (i, j): the path i, j, i, j, ...; none given: all whose edges exist both ways
};

/// D3 with alternating paths. The null of a length: the mean shift of as many equivalent pairs as there are counterfactual ones, drawn with replacement;
/// the threshold is the 99th percentile of n_resamples such means. Where examples have an asker (the same in all), paths that end elsewhere are left out.
/// Isolated experts have depth 0 by construction. Both kinds of pairs: not empty; throws std::logic_error on pairs of unequal length.
CausalDepth causal_depth(const Entangled& entangled, std::span<const ExamplePair> counterfactual, std::span<const ExamplePair> equivalent, const Edges& edges, const CausalOptions& options = {});

}  // namespace entrain::experts
