#include "entrain/base/foreign_json.h"

#include <string>

namespace entrain {
namespace {

/// Where the text is nested too deep, told without a tree; its size where nowhere. Brackets in strings are none.
size_t too_deep_at(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if ((c == '[' || c == '{') && ++depth > kMaxJsonDepth) return i;
    if (c == ']' || c == '}') --depth;
  }
  return text.size();
}

}  // namespace

template <typename AnyJson>
AnyJson parse_foreign(std::string_view text) {
  const size_t at = too_deep_at(text);
  if (at < text.size()) throw nlohmann::detail::parse_error::create(101, at, "nested deeper than " + std::to_string(kMaxJsonDepth) + " levels", nullptr);
  return AnyJson::parse(text.begin(), text.end());
}

template Json parse_foreign<Json>(std::string_view text);
template OrderedJson parse_foreign<OrderedJson>(std::string_view text);

}  // namespace entrain
