#include "entrain/text/nfc.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "entrain/text/nfc_tables.h"
#include "entrain/text/pretokenizer.h"

namespace entrain::text {
namespace {

// Hangul syllables decompose by arithmetic (Unicode Standard, section 3.12).
constexpr uint32_t kSyllable = 0xAC00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11A7;
constexpr uint32_t kVowels = 21, kTails = 28, kSyllables = 19 * kVowels * kTails;

const std::unordered_map<uint64_t, uint32_t>& compositions() {
  static const auto* map = [] {
    auto* pairs = new std::unordered_map<uint64_t, uint32_t>;
    for (const Decomposition& d : decompositions()) {
      if (d.composes) (*pairs)[uint64_t{d.first} << 32 | d.second] = d.code;
    }
    return pairs;
  }();
  return *map;
}

uint8_t combining_class(uint32_t code) {
  const auto ranges = combining_ranges();
  const auto it = std::upper_bound(ranges.begin(), ranges.end(), code,
                                   [](uint32_t value, const CombiningRange& range) { return value < range.first; });
  return it != ranges.begin() && code <= (it - 1)->last ? (it - 1)->combining_class : 0;
}

void decompose(uint32_t code, std::vector<uint32_t>& out) {
  if (code >= kSyllable && code < kSyllable + kSyllables) {
    const uint32_t index = code - kSyllable;
    out.push_back(kLead + index / (kVowels * kTails));
    out.push_back(kVowel + index % (kVowels * kTails) / kTails);
    if (index % kTails != 0) out.push_back(kTail + index % kTails);
    return;
  }
  const auto all = decompositions();
  const auto it = std::lower_bound(all.begin(), all.end(), code,
                                   [](const Decomposition& d, uint32_t value) { return d.code < value; });
  if (it == all.end() || it->code != code) {
    out.push_back(code);
    return;
  }
  decompose(it->first, out);
  if (it->second != 0) decompose(it->second, out);
}

// The character a pair composes to, or 0.
uint32_t compose(uint32_t first, uint32_t second) {
  if (first >= kLead && first < kLead + 19 && second >= kVowel && second < kVowel + kVowels) {
    return kSyllable + ((first - kLead) * kVowels + (second - kVowel)) * kTails;
  }
  if (first >= kSyllable && first < kSyllable + kSyllables && (first - kSyllable) % kTails == 0 && second > kTail &&
      second < kTail + kTails) {
    return first + (second - kTail);
  }
  const auto it = compositions().find(uint64_t{first} << 32 | second);
  return it == compositions().end() ? 0 : it->second;
}

void append_utf8(uint32_t code, std::string& out) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6), put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 0x3F)), put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
  }
}

void append_nfc(std::string_view valid, std::string& out) {
  std::vector<uint32_t> codes;
  for (size_t i = 0; i < valid.size();) {
    const auto lead = static_cast<unsigned char>(valid[i++]);
    const int n_more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    uint32_t code = n_more == 0 ? lead : lead & (0x3Fu >> n_more);
    for (int k = 0; k < n_more; ++k) code = code << 6 | (static_cast<unsigned char>(valid[i++]) & 0x3F);
    decompose(code, codes);
  }
  // Canonical order: marks between two starters sorted by class, stably.
  for (size_t i = 0; i < codes.size();) {
    if (combining_class(codes[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < codes.size() && combining_class(codes[end]) != 0) ++end;
    std::stable_sort(codes.begin() + static_cast<std::ptrdiff_t>(i), codes.begin() + static_cast<std::ptrdiff_t>(end),
                     [](uint32_t a, uint32_t b) { return combining_class(a) < combining_class(b); });
    i = end;
  }
  // Each character joins the last starter unless one of the same or higher class, or another starter, stands between.
  size_t n = 0, starter = 0;
  bool has_starter = false;
  int last_class = -1;  // of the character before, -1 when that is the starter itself
  for (size_t i = 0; i < codes.size(); ++i) {
    const uint32_t code = codes[i];
    const int own_class = combining_class(code);
    if (has_starter && last_class < own_class) {
      if (const uint32_t joined = compose(codes[starter], code)) {
        codes[starter] = joined;
        continue;
      }
    }
    if (own_class == 0) {
      has_starter = true;
      starter = n;
      last_class = -1;
    } else {
      last_class = own_class;
    }
    codes[n++] = code;
  }
  for (size_t i = 0; i < n; ++i) append_utf8(codes[i], out);
}

}  // namespace

std::string to_nfc(std::string_view text) {
  // Nothing below U+0300 (lead byte 0xCC) changes: composed Latin letters included.
  if (std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xCC; })) {
    return std::string(text);
  }
  std::string out;
  while (!text.empty()) {
    const size_t n = valid_utf8_prefix(text);
    append_nfc(text.substr(0, n), out);
    text.remove_prefix(n);
    if (!text.empty()) {
      out += text[0];
      text.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace entrain::text
