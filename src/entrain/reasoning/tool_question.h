#pragma once
// Questions of family tools: what follows from names by arrows of a store that the prompt does not show.
//
//   a → → ?                          the digit after two hops from a
//   a → + b → → ?                    ... joined by + - *, modulo ten
//   a → < b → : c → ; d → → ?        if the check (< > ≡) holds, what follows from c, else what follows from d

#include <cstdint>
#include <string>
#include <vector>

#include "entrain/reasoning/item.h"

namespace entrain::reasoning {

/// A name and how many arrows to follow from it.
struct Path {
  std::string name;
  int64_t n_hops = 0;
};

struct ToolQuestion {
  std::vector<Path> paths;  ///< one, two, or four for a check
  std::string op;           ///< "" for one path, else + - * or < > ≡
  std::string to_symbols() const;
  std::string to_english() const;
};

/// Throws Error{kData} for any other text.
ToolQuestion parse_tool_question(const std::string& symbolic);

}  // namespace entrain::reasoning
