#include "entrain/eval/gsm8k.h"

#include <algorithm>

namespace entrain::eval {
namespace {

constexpr const char* kInvalid = "[invalid]";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_numeric(char c) { return is_digit(c) || c == '.' || c == ','; }

/// Characters from `at` on that satisfy the predicate.
template <typename Predicate>
size_t run(std::string_view text, size_t at, Predicate good) {
  size_t n = 0;
  while (at + n < text.size() && good(text[at + n])) ++n;
  return n;
}

std::string compared(std::string_view text) {
  std::string out;
  std::copy_if(text.begin(), text.end(), std::back_inserter(out), [](char c) { return c != ',' && c != '$'; });
  if (const size_t mark = out.rfind("#### "); mark != std::string::npos) out.erase(0, mark + 5);
  if (out.ends_with(".\n")) {
    out.erase(out.size() - 2, 1);
  } else if (out.ends_with('.')) {
    out.pop_back();
  }
  std::transform(out.begin(), out.end(), out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

}  // namespace

std::string strict_match(std::string_view text) {
  constexpr std::string_view kMark = "#### ";
  for (size_t mark = text.find(kMark); mark != std::string_view::npos; mark = text.find(kMark, mark + 1)) {
    const size_t begin = mark + kMark.size(), sign = begin < text.size() && text[begin] == '-' ? 1 : 0;
    if (const size_t n = run(text, begin + sign, is_numeric)) return std::string(text.substr(begin, sign + n));
  }
  return kInvalid;
}

std::string flexible_extract(std::string_view text) {
  std::string_view last;
  for (size_t at = 0; at < text.size();) {
    const size_t sign = text[at] == '-' ? 1 : 0;
    size_t n = run(text, at + sign, [](char c) { return is_numeric(c) || c == '$'; });
    if (n < 2) n = run(text, at + sign, is_digit);
    if (n == 0) {
      ++at;
      continue;
    }
    last = text.substr(at, sign + n);
    at += sign + n;
  }
  return last.empty() ? kInvalid : std::string(last);
}

bool same_answer(std::string_view prediction, std::string_view reference) { return compared(prediction) == compared(reference); }

}  // namespace entrain::eval
