#include "entrain/eval/prompt.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <set>

#include "entrain/base/error.h"

namespace entrain::eval {
namespace {

/// Bytes of white space that `text` ends with: 0, or the length of one character.
size_t space_at_end(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = static_cast<unsigned char>(text.back());
  if (byte == ' ' || (byte >= 9 && byte <= 13) || (byte >= 28 && byte <= 31)) return 1;
  for (const std::string_view space : {"\u0085", "\u00a0"}) {
    if (text.ends_with(space)) return 2;
  }
  for (const std::string_view space : {"\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
                                       "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"}) {
    if (text.ends_with(space)) return 3;
  }
  return 0;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

}  // namespace

std::string_view stripped_right(std::string_view text) {
  while (const size_t n = space_at_end(text)) text.remove_suffix(n);
  return text;
}

std::string_view stripped(std::string_view text) {
  text = stripped_right(text);
  for (bool again = true; again;) {
    again = false;
    for (size_t n = 1; n <= 3 && n <= text.size(); ++n) {
      if (space_at_end(text.substr(0, n)) != n) continue;
      text.remove_prefix(n);
      again = true;
      break;
    }
  }
  return text;
}

int64_t n_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

std::string capitalized(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), lower);
  if (!text.empty()) text[0] = upper(text[0]);
  return text;
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t at = 0;;) {
    const size_t found = text.find(from, at);
    out += text.substr(at, found - at);
    if (found == std::string_view::npos) return out;
    out += to;
    at = found + from.size();
  }
}

PythonRandom::PythonRandom(uint32_t seed) {
  state_[0] = 19650218u;
  for (uint32_t i = 1; i < 624; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  uint32_t i = 1;
  const auto step = [&] {
    if (++i == 624) {
      state_[0] = state_[623];
      i = 1;
    }
  };
  for (int k = 0; k < 624; ++k, step()) state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525u)) + seed;
  for (int k = 0; k < 623; ++k, step()) state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941u)) - i;
  state_[0] = 0x80000000u;
}

uint32_t PythonRandom::next() {
  if (at_ == 624) {
    for (size_t i = 0; i < 624; ++i) {
      const uint32_t y = (state_[i] & 0x80000000u) | (state_[(i + 1) % 624] & 0x7fffffffu);
      state_[i] = state_[(i + 397) % 624] ^ (y >> 1) ^ ((y & 1u) != 0 ? 0x9908b0dfu : 0u);
    }
    at_ = 0;
  }
  uint32_t y = state_[at_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

int64_t PythonRandom::below(int64_t n) {
  const int bits = std::bit_width(static_cast<uint64_t>(n));
  while (true) {
    const int64_t r = next() >> (32 - bits);
    if (r < n) return r;
  }
}

std::vector<int64_t> PythonRandom::sample(int64_t n, int64_t k) {
  ENTRAIN_CHECK(k >= 0 && k <= n, "sample of " + std::to_string(k) + " from " + std::to_string(n));
  std::vector<int64_t> out;
  double set_size = 21;
  if (k > 5) set_size += std::pow(4.0, std::ceil(std::log(3.0 * static_cast<double>(k)) / std::log(4.0)));
  if (static_cast<double>(n) <= set_size) {
    std::vector<int64_t> pool(static_cast<size_t>(n));
    std::iota(pool.begin(), pool.end(), int64_t{0});
    for (int64_t i = 0; i < k; ++i) {
      const auto j = static_cast<size_t>(below(n - i));
      out.push_back(pool[j]);
      pool[j] = pool[static_cast<size_t>(n - i - 1)];
    }
    return out;
  }
  std::set<int64_t> taken;
  while (std::ssize(out) < k) {
    const int64_t j = below(n);
    if (taken.insert(j).second) out.push_back(j);
  }
  return out;
}

}  // namespace entrain::eval
