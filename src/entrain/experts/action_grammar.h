#pragma once
// The actions that can be written behind "Act:", token by token.

#include <string>
#include <string_view>
#include <vector>

#include "entrain/text/tokenizer.h"

namespace entrain::experts {

/// Names that a transcript holds and a lookup may ask for: words of small or capital letters in its first line and in its observations but for errors, in order of first use.
std::vector<std::string> names_in(std::string_view transcript);

/// Walks through one action: a tool, then its arguments (names of the transcript for LOOKUP, digits and operators for CALC and CHECK, an answer for FINISH).
class ActionGrammar {
 public:
  /// The transcript ends with "Act:".
  ActionGrammar(const text::Tokenizer& tokenizer, std::string_view transcript);
  /// Tokens that can follow; none once it is done. An action that could end or go on ends with a line break.
  std::vector<int64_t> allowed() const;
  /// token: one of those.
  void take(int64_t token);
  bool done() const { return stages_.empty(); }

 private:
  using Piece = std::vector<int64_t>;
  using Stage = std::vector<Piece>;  // one of these is written
  Stage stage(const std::vector<std::string>& words) const;
  void advance();
  bool complete() const;

  const text::Tokenizer& tokenizer_;
  std::vector<std::string> names_;
  std::vector<Stage> stages_;  // the current one first
  bool tool_is_open_ = true;   // the arguments' stages follow from it
  Piece written_;              // of the current stage
  int64_t line_break_ = -1;
};

}  // namespace entrain::experts
