#pragma once
// Pairs of examples for path patching: the same question with one thing changed that matters, or with all names changed, which does not.

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "entrain/base/random.h"
#include "entrain/experts/causal_depth.h"
#include "entrain/reasoning/item.h"

namespace entrain::experts {

/// An item as the experts meet it: tokens of the views or of the symbolic text, the answer, the asker.
using MakeExample = std::function<Example(const reasoning::Item&)>;

/// What each letter becomes; letters that are not in it stay.
using LetterMap = std::map<char, char>;

/// A random permutation, without a letter that stays, of the single letters (symbols of one ASCII letter) in a text; capitals and small letters each among
/// themselves, so that names stay in their vocabulary. A case of which the text has one letter only is left alone.
LetterMap draw_letter_map(const std::string& text, RandomStream& random);

/// Every symbol of one letter renamed; all other symbols, two-letter codes and words among them, are as they were.
std::string rename_letters(const std::string& text, const LetterMap& map);

/// Two members of each group whose answers differ and whose token counts agree (in all views), the first such pair of the group in the order given. Groups are items
/// with equal family and group. Such items share symbols and question: what differs is which facts hold.
std::vector<ExamplePair> counterfactual_pairs(std::span<const reasoning::Item> items, const MakeExample& make);

/// Each item beside itself with its letters renamed in the symbolic text and the views (English, steps and hash stay; the answer is the same). Items without letters to
/// rename, or whose token count changes, are left out. The renaming of an item depends on the seed and its hash alone.
std::vector<ExamplePair> equivalent_pairs(std::span<const reasoning::Item> items, const MakeExample& make, uint64_t seed);

}  // namespace entrain::experts
