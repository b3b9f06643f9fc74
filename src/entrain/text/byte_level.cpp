#include "entrain/text/byte_level.h"

#include <algorithm>
#include <array>

namespace entrain::text {
namespace {

struct Alphabet {
  std::array<uint32_t, 256> code_point{};
  std::array<std::string, 256> character;
  std::array<int, 512> byte{};  // of a code point, or -1
};

Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  uint32_t next = 256;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    const uint32_t code = prints ? b : next++;
    alphabet.code_point[b] = code;
    alphabet.byte[code] = static_cast<int>(b);
    std::string& character = alphabet.character[b];
    if (code < 0x80) {
      character = {static_cast<char>(code)};
    } else {
      character = {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
    }
  }
  return alphabet;
}

const Alphabet& alphabet() {
  static const Alphabet instance = make_alphabet();
  return instance;
}

}  // namespace

const std::string& byte_character(unsigned char byte) { return alphabet().character[byte]; }

std::string to_byte_level(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += byte_character(static_cast<unsigned char>(c));
  return out;
}

std::string from_byte_level(std::string_view spelling) {
  std::string out;
  for (size_t i = 0; i < spelling.size(); ++i) {
    const auto lead = static_cast<unsigned char>(spelling[i]);
    uint32_t code = lead;
    if (lead >= 0x80) {
      if (lead >= 0xE0 || i + 1 >= spelling.size()) return std::string(spelling);
      code = (uint32_t{lead} & 0x1F) << 6 | (static_cast<unsigned char>(spelling[++i]) & 0x3F);
    }
    if (code >= alphabet().byte.size() || alphabet().byte[code] < 0) return std::string(spelling);
    out += static_cast<char>(alphabet().byte[code]);
  }
  return out;
}

std::vector<unsigned char> bytes_in_alphabet_order() {
  std::vector<unsigned char> bytes(256);
  for (size_t b = 0; b < 256; ++b) bytes[b] = static_cast<unsigned char>(b);
  std::sort(bytes.begin(), bytes.end(),
            [](unsigned char a, unsigned char b) { return alphabet().code_point[a] < alphabet().code_point[b]; });
  return bytes;
}

}  // namespace entrain::text
