#pragma once
// Syllogisms of family quantifiers: "All A B ; Some C A ; No B D ? Some C B". Terms may be empty (modern reading).

#include <string>
#include <vector>

#include "entrain/reasoning/family.h"

namespace entrain::reasoning {

/// A group of three (true, uncertain, false) whose certain answers need `n_premises` >= 2 of the premises.
std::vector<Item> draw_syllogisms(RandomStream& random, int n_premises, const Draw& how);

/// By what a thing is bound to be, following "All".
std::string solve_syllogism(const std::string& symbolic);
/// By enumeration of all kinds of things (subsets of the terms) that the universal premises allow.
std::string search_syllogism(const std::string& symbolic);

}  // namespace entrain::reasoning
