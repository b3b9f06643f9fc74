#include "entrain/reasoning/numbers.h"

#include <array>

#include "entrain/base/error.h"

namespace entrain::reasoning {
namespace {

constexpr std::array<std::string_view, 10> kWords = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"};

}  // namespace

std::string in_figures(int64_t number) {
  ENTRAIN_CHECK(number >= 0, std::to_string(number));
  std::string text;
  for (const char digit : std::to_string(number)) {
    if (!text.empty()) text += ' ';
    text += digit;
  }
  return text;
}

std::string in_words(int64_t number) {
  ENTRAIN_CHECK(number >= 0, std::to_string(number));
  std::string text;
  for (const char digit : std::to_string(number)) {
    if (!text.empty()) text += ' ';
    text += kWords[static_cast<size_t>(digit - '0')];
  }
  return text;
}

int digit_value(std::string_view symbol) { return symbol.size() == 1 && symbol[0] >= '0' && symbol[0] <= '9' ? symbol[0] - '0' : -1; }

}  // namespace entrain::reasoning
