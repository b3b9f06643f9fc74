#pragma once
// The byte-level alphabet of GPT-2 (Radford et al., 2019), in which tokenizer.json spells bytes: each of the 256 bytes has a
// printable character. Bytes that print as themselves in Latin-1 keep their character; the others get U+0100 upwards.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace entrain::text {

/// The character (UTF-8) that spells a byte.
const std::string& byte_character(unsigned char byte);
/// Bytes spelled in the alphabet.
std::string to_byte_level(std::string_view bytes);
/// The bytes a spelling stands for. A spelling with a character outside the alphabet stands for itself.
std::string from_byte_level(std::string_view spelling);
/// All bytes in the order of their characters' code points: the order in which a trained vocabulary lists them.
std::vector<unsigned char> bytes_in_alphabet_order();

}  // namespace entrain::text
