#pragma once
// What lm-evaluation-harness takes from a solution of GSM8K and how it compares it.

#include <string>
#include <string_view>

namespace entrain::eval {

/// First match of `#### (-?[0-9.,]+)`; "[invalid]" without one.
std::string strict_match(std::string_view text);
/// Last match of `(-?[$0-9.,]{2,})|(-?[0-9]+)`; "[invalid]" without one.
std::string flexible_extract(std::string_view text);
/// exact_match: equal after removing `,`, `$`, everything up to the last "#### ", a final ".", and case.
bool same_answer(std::string_view prediction, std::string_view reference);

}  // namespace entrain::eval
