#include "entrain/experts/action_grammar.h"

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/reasoning/item.h"

namespace entrain::experts {
namespace {

const std::vector<std::string> kTools = {"LOOKUP", "CALC", "CHECK", "FINISH"};

std::vector<std::string> digits() {
  std::vector<std::string> all;
  for (char c = '0'; c <= '9'; ++c) all.emplace_back(1, c);
  return all;
}

bool is_name(std::string_view word) {
  const auto all = [&](char low, char high) { return std::all_of(word.begin(), word.end(), [&](char c) { return low <= c && c <= high; }); };
  return !word.empty() && (all('a', 'z') || all('A', 'Z'));
}

/// Calls `each` with every piece of `text` between separators.
template <class Each>
void split(std::string_view text, char separator, const Each& each) {
  for (;;) {
    const size_t end = std::min(text.find(separator), text.size());
    each(text.substr(0, end));
    if (end == text.size()) return;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::vector<std::string> names_in(std::string_view transcript) {
  std::vector<std::string> names;
  bool first = true;
  split(transcript, '\n', [&](std::string_view line) {
    const bool observed = line.starts_with("Obs: ") && !line.starts_with("Obs: error");
    if (!first && !observed) return;
    if (!first) line.remove_prefix(5);
    first = false;
    split(line, ' ', [&](std::string_view word) {
      if (is_name(word) && std::find(names.begin(), names.end(), word) == names.end()) names.emplace_back(word);
    });
  });
  return names;
}

ActionGrammar::ActionGrammar(const text::Tokenizer& tokenizer, std::string_view transcript) : tokenizer_(tokenizer), names_(names_in(transcript)) {
  const std::vector<int32_t> line_break = tokenizer.encode("\n", text::Specials::kAsText);
  ENTRAIN_CHECK(line_break.size() == 1, "bytes are tokens of every byte-level tokenizer");
  line_break_ = line_break[0];
  stages_.push_back(stage(kTools));
}

ActionGrammar::Stage ActionGrammar::stage(const std::vector<std::string>& words) const {
  Stage pieces;
  for (const std::string& word : words) {
    const std::vector<int32_t> ids = tokenizer_.encode(" " + word, text::Specials::kAsText);
    pieces.emplace_back(ids.begin(), ids.end());
  }
  return pieces;
}

bool ActionGrammar::complete() const { return std::find(stages_.front().begin(), stages_.front().end(), written_) != stages_.front().end(); }

std::vector<int64_t> ActionGrammar::allowed() const {
  std::vector<int64_t> tokens;
  if (done()) return tokens;
  for (const Piece& piece : stages_.front()) {
    if (piece.size() > written_.size() && std::equal(written_.begin(), written_.end(), piece.begin())) tokens.push_back(piece[written_.size()]);
  }
  if (complete() && stages_.size() == 1) tokens.push_back(line_break_);
  if (complete() && stages_.size() > 1) {
    for (const Piece& piece : stages_[1]) tokens.push_back(piece[0]);
  }
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

void ActionGrammar::take(int64_t token) {
  // Pieces begin with a space and hold no other, so a token goes on with this piece or begins the next, never both.
  const auto begins_with = [](const Piece& piece, const Piece& start) { return piece.size() >= start.size() && std::equal(start.begin(), start.end(), piece.begin()); };
  Piece longer = written_;
  longer.push_back(token);
  const Stage& current = stages_.front();
  if (std::any_of(current.begin(), current.end(), [&](const Piece& piece) { return begins_with(piece, longer); })) {
    written_ = longer;
  } else {
    ENTRAIN_CHECK(complete(), "token " + std::to_string(token) + " is not allowed here");
    advance();
    if (!done()) take(token);
    return;
  }
  const auto n_open = std::count_if(current.begin(), current.end(), [&](const Piece& piece) { return begins_with(piece, written_); });
  if (complete() && n_open == 1) advance();
}

void ActionGrammar::advance() {
  if (tool_is_open_) {
    const Stage& tools = stages_.front();
    const auto tool = static_cast<size_t>(std::find(tools.begin(), tools.end(), written_) - tools.begin());
    tool_is_open_ = false;
    if (tool == 0) {
      stages_.push_back(stage(names_.empty() ? digits() : names_));
    } else if (tool == 3) {
      stages_.push_back(stage({reasoning::kAnswers.begin(), reasoning::kAnswers.end()}));
    } else {
      stages_.push_back(stage(digits()));
      stages_.push_back(stage(tool == 1 ? std::vector<std::string>{"+", "-", "*"} : std::vector<std::string>{"<", ">", "≡"}));
      stages_.push_back(stages_[1]);
    }
  }
  stages_.erase(stages_.begin());
  written_.clear();
}

}  // namespace entrain::experts
