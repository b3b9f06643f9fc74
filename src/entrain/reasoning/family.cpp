#include "entrain/reasoning/family.h"

#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"

namespace entrain::reasoning {

std::span<const std::unique_ptr<Family>> families() {
  static const std::vector<std::unique_ptr<Family>> all = [] {
    std::vector<std::unique_ptr<Family>> made;
    for (const auto maker : {make_chains, make_boolean, make_order, make_quantifiers, make_sets, make_arithmetic, make_consistency,
                             make_listops, make_tools, make_relay, make_keyvalue}) {
      made.push_back(maker());
    }
    return made;
  }();
  return all;
}

const Family& family(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& candidate : families()) {
    if (candidate->name() == name) return *candidate;
    known.push_back(candidate->name());
  }
  const std::string nearest = nearest_name(name, known);
  std::string list;
  for (const std::string& candidate : known) list += (list.empty() ? "" : ", ") + candidate;
  throw Error(ErrorKind::kUsage, "no family is called \"" + name + "\"",
              nearest.empty() ? "families: " + list : "did you mean " + nearest + "?");
}

}  // namespace entrain::reasoning
