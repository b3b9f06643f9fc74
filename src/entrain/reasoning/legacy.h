#pragma once
// The 27 questions of the ASL test in our notation.

#include <vector>

#include "entrain/reasoning/item.h"

namespace entrain::reasoning {

/// A smoke test and nothing more: 27 items are far too few to tell models apart, and a constant ● gets 12 of them (44 %). Categories and
/// answers as in the test that was run (12 ●, 5 ◑, 10 ⊥); wording, notation and strict answers are ours. `family` is "legacy", depth 1,
/// `canonical` the category and number.
std::vector<Item> legacy_items();

}  // namespace entrain::reasoning
