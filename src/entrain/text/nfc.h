#pragma once
// Unicode normalization form C, for tokenizers that ask for it (Qwen).

#include <string>
#include <string_view>

namespace entrain::text {

/// The text in normalization form C (Unicode Standard Annex 15) by the tables of Unicode 14; bytes that are not valid UTF-8 stay as
/// they are.
std::string to_nfc(std::string_view text);

}  // namespace entrain::text
