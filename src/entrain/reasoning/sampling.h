#pragma once
// Items by split: drawn group by group, kept where their structure belongs to the split.

#include <set>
#include <string>
#include <vector>

#include "entrain/reasoning/family.h"

namespace entrain::reasoning {

struct Request {
  std::string family;
  int64_t min_depth = 1, max_depth = 1;  ///< depths in between are equally frequent
  int64_t n = 0;
  uint64_t seed = 0;
  Split split = Split::kTrain;
  Sampler sampler = Sampler::kRulesFirst;
  Names names = Names::kTrained;
};

/// n items, the depths in turn; whole groups but for the last of each depth. The same request gives the same items, and a larger n
/// over one depth begins with the items of a smaller one. A group is kept when every item of it belongs to the split: no structure
/// is ever in two splits. Families give the items of a group a common skeleton (item.h), so that this costs few draws.
/// Closed families ignore the split.
/// Throws Error{kUsage} for a depth the family does not have, Error{kData} where a million draws in a row bring nothing to keep.
std::vector<Item> sample(const Request& request);

/// The same for a family that need not be registered; request.family is ignored.
std::vector<Item> sample(const Family& family, const Request& request);

}  // namespace entrain::reasoning
