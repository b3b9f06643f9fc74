#pragma once
// The Unicode facts normalization needs.

#include <cstdint>
#include <span>

namespace entrain::text {

/// Code points [first, last] have the canonical combining class `combining_class`; all others have 0.
struct CombiningRange {
  uint32_t first, last;
  uint8_t combining_class;
};
/// code decomposes into first, second (second is 0 for a single character); composes: the pair composes back to it.
struct Decomposition {
  uint32_t code, first, second;
  uint8_t composes;
};

/// Both sorted by code point.
std::span<const CombiningRange> combining_ranges();
std::span<const Decomposition> decompositions();

}  // namespace entrain::text
