#pragma once
// Numbers in items: written digit by digit between spaces, in figures ("1 7") or words ("one seven"), so that permuting the digits of
// a text permutes its symbols.

#include <cstdint>
#include <string>
#include <string_view>

namespace entrain::reasoning {

/// "1 7"; number >= 0.
std::string in_figures(int64_t number);
/// "one seven"; number >= 0.
std::string in_words(int64_t number);
/// "1" .. "9" and "0" to their values, anything else to -1.
int digit_value(std::string_view symbol);

}  // namespace entrain::reasoning
