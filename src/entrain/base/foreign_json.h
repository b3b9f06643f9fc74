#pragma once
// JSON of files that anyone may have written.

#include <string_view>

#include "entrain/base/json.h"

namespace entrain {

/// Copying and printing a document recurse: one level more than a stack holds would end the program.
inline constexpr int kMaxJsonDepth = 64;

/// The document, of the type Json or OrderedJson. Throws nlohmann's exception where the text is no JSON, holds a number that no
/// double does, or nests deeper than kMaxJsonDepth.
template <typename AnyJson>
AnyJson parse_foreign(std::string_view text);

}  // namespace entrain
