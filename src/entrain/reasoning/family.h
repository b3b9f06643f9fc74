#pragma once
// The seam for families of items. A family draws groups of items that share every symbol and the question but not the answer, so that
// no bag of symbols and no part of the text alone tells the answer; and it solves an item twice, by methods that share no code.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "entrain/base/random.h"
#include "entrain/reasoning/item.h"

namespace entrain::reasoning {

/// Variations of the distribution, to test on others than were trained on.
enum class Sampler {
  kRulesFirst,   ///< structure drawn first, labels follow (the one to train on)
  kLabelsFirst,  ///< labels drawn first, structure made to fit (SimpleLogic's other sampler; arXiv 2205.11502)
};
enum class Names { kTrained, kUnseen };  ///< two disjoint vocabularies of names

struct Draw {
  int64_t depth = 1;
  Sampler sampler = Sampler::kRulesFirst;
  Names names = Names::kTrained;
};

class Family {
 public:
  virtual ~Family() = default;
  virtual std::string name() const = 0;
  virtual std::string description() const = 0;  ///< one sentence, for people
  virtual int64_t max_depth() const = 0;        ///< depths are 1 .. max_depth()
  /// So few structures that training sees nearly all: not counted as generalisation, exempt from the gates.
  virtual bool closed() const { return false; }
  /// Accuracy of the best guess without the content, at a depth: one over the answers an item leaves open.
  virtual double chance(int64_t depth) const = 0;
  /// A group: all items equally likely to be kept, each answer of the group once. Symbolic text, English text, answer, steps,
  /// canonical form and depth are set; family, hash and group are not. Deterministic in `random`.
  virtual std::vector<Item> draw(RandomStream& random, const Draw& how) const = 0;
  /// The answer from the symbolic text alone, by the family's proper algorithm. Throws Error{kData} for text not of this family.
  virtual std::string solve(const Item& item) const = 0;
  /// The same by brute force (enumeration of models, exhaustive search, rewriting); shares no code with solve().
  virtual std::string solve_by_search(const Item& item) const = 0;
};

/// All families, in a fixed order: chains, boolean, order, quantifiers, sets, arithmetic, consistency, listops, tools, relay, keyvalue.
std::span<const std::unique_ptr<Family>> families();
/// Throws Error{kUsage} with the nearest name.
const Family& family(const std::string& name);

}  // namespace entrain::reasoning
