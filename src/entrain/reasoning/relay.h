#pragma once
// Family relay: facts of chains divided over experts, "a → b ; b → 7 ; ... ? a". Who holds which fact decides how many hops of
// exchange the answer needs: with relay_views() exactly `depth` facts lead from the asked name to its digit, and no expert can go on by
// itself from one to the next.

#include <string>
#include <vector>

#include "entrain/base/random.h"
#include "entrain/reasoning/item.h"

namespace entrain::reasoning {

/// Chains in an item, all of length `depth` and ending in different digits.
constexpr int64_t kRelayChains = 3;

/// What each expert sees of item.symbolic: facts it does not hold read "· → ·", so that all views are symbol for symbol as long; all see
/// the question. Expert 0 asks: it holds no fact of the chain from the asked name, but the first fact of every other chain.
/// All other facts belong to experts 1 .. n_experts - 1, consecutive facts of a chain to different ones where there are two. Facts at the
/// same place of their chains belong to the same expert (but for those first ones): then nobody can exclude a digit by who
/// holds what without following a chain from end to end. `overlap` in [0, 1]: the chance that a fact is also given to one further expert other than 0.
/// n_experts >= 2. Throws Error{kData} for an item of another family.
std::vector<std::string> relay_views(const Item& item, int64_t n_experts, double overlap, RandomStream& random);

/// The natural case: every fact to one expert of all n_experts at random, consecutive facts of a chain never to the same.
/// n_experts >= 2. Throws as relay_views().
std::vector<std::string> relay_views_by_thirds(const Item& item, int64_t n_experts, RandomStream& random);

}  // namespace entrain::reasoning
