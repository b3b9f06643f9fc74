// Family quantifiers: "for all" and "there is" over given sets of numbers, then syllogisms over terms.

#include "entrain/reasoning/bounds.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/symbols.h"
#include "entrain/reasoning/syllogisms.h"

namespace entrain::reasoning {
namespace {

constexpr int64_t kBoundLevels = 3;

class Quantifiers : public Family {
 public:
  std::string name() const override { return "quantifiers"; }
  std::string description() const override {
    return "all and some: depths 1-3 one or two bound variables over sets of numbers, depths 4-7 syllogisms that need 2-5 premises";
  }
  int64_t max_depth() const override { return 7; }
  double chance(int64_t depth) const override { return depth <= kBoundLevels ? 0.5 : 1.0 / 3; }
  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    if (how.depth <= kBoundLevels) return draw_bounds(random, static_cast<int>(how.depth), how);
    return draw_syllogisms(random, static_cast<int>(how.depth) - 2, how);
  }
  std::string solve(const Item& item) const override {
    return is_bounds(item.symbolic) ? solve_bounds(item.symbolic) : solve_syllogism(item.symbolic);
  }
  std::string solve_by_search(const Item& item) const override {
    return is_bounds(item.symbolic) ? search_bounds(item.symbolic) : search_syllogism(item.symbolic);
  }
};

}  // namespace

std::unique_ptr<Family> make_quantifiers() { return std::make_unique<Quantifiers>(); }

}  // namespace entrain::reasoning
