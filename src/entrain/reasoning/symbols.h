#pragma once
// What the families share: texts as symbols between single spaces, names to draw, shuffles. English texts set punctuation apart by
// spaces too ("Is the wug red ?"), so that permuting words keeps the multiset of symbols there as well.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "entrain/base/random.h"
#include "entrain/reasoning/family.h"

namespace entrain::reasoning {

constexpr std::string_view kTrue = "●", kUncertain = "◑", kFalse = "⊥";

/// The pieces between single spaces; no pieces for "".
std::vector<std::string> split_symbols(std::string_view text);
std::vector<std::string_view> split_views(std::string_view text);  ///< the same as views into `text`

/// Pieces joined by `separator`.
std::string join(std::span<const std::string> pieces, std::string_view separator = " ");

/// Pieces of `text` between whole symbols `separator` (say ";"), trimmed of spaces: split_at("a b ; c", ";") is {"a b", "c"}.
std::vector<std::string> split_at(std::string_view text, std::string_view separator);

/// The symbols of a text in sorted order: what all items of a group have in common.
std::string sorted_symbols(std::string_view text);

enum class NameKind {
  kLower,      ///< a b c ...; two-letter codes ("ab") when the letters are used up
  kUpper,      ///< A B C ...; likewise ("AB")
  kNoun,       ///< wug blicket ...; the plural is regular with s
  kAdjective,  ///< red old ...
  kPerson,     ///< Ann Bo ...
};

/// All names of a kind and vocabulary, the common ones first. Vocabularies are disjoint; at least 40 trained and 24 unseen of each kind.
std::span<const std::string> name_pool(NameKind kind, Names names);

/// n distinct names in random order. Letters are used before any two-letter code is.
std::vector<std::string> draw_names(RandomStream& random, NameKind kind, Names names, size_t n);

/// Uniform integer in [low, high].
inline int64_t draw_between(RandomStream& random, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random.next_below(static_cast<uint64_t>(high - low + 1)));
}

/// True with probability p.
inline bool draw_chance(RandomStream& random, double p) { return random.next_uniform() < p; }

/// Fisher-Yates in place.
template <class T>
void shuffle(std::vector<T>& values, RandomStream& random) {
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.next_below(i)]);
}

template <class T>
const T& pick(const std::vector<T>& values, RandomStream& random) {
  return values[random.next_below(values.size())];
}

/// A statement about numbered objects, for structure_form(): a label and the objects in order.
struct Relation {
  std::string label;
  std::vector<int> objects;
};

/// Canonical form of a set of statements: neither the numbering of the objects nor the order of the statements matters. Equal
/// structures always give equal forms (colour refinement); unequal ones nearly always give unequal forms, which errs on the side of
/// calling two structures the same. labels[i] marks object i ("" for none, "?" for the one asked about, a digit that means itself).
/// For an item's `canonical`: skeleton + "|" + form, where all items of a group have the same skeleton (item.h, canonical_hash);
/// a group whose items lack a common skeleton is kept only where all its items happen to fall into the wanted split.
std::string structure_form(std::span<const std::string> labels, std::span<const Relation> relations);

}  // namespace entrain::reasoning
