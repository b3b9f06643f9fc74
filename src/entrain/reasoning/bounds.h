#pragma once
// Questions of family quantifiers about given sets of numbers: "S : { 3 5 } ; T : { 1 9 } ? ∀ x ∈ S : ∃ y ∈ T : x < y".

#include <string>
#include <vector>

#include "entrain/reasoning/family.h"

namespace entrain::reasoning {

/// Level 1: one bound variable and a number; 2: two variables; 3: two variables and two comparisons joined by ∧ or ∨.
/// A group of two, one true and one false, which differ by which number is in which set.
std::vector<Item> draw_bounds(RandomStream& random, int level, const Draw& how);

/// True for the text of such a question.
bool is_bounds(const std::string& symbolic);

/// By recursion over the quantifiers.
std::string solve_bounds(const std::string& symbolic);
/// By a table of all tuples, folded from the innermost quantifier.
std::string search_bounds(const std::string& symbolic);

}  // namespace entrain::reasoning
