#include "entrain/reasoning/tool_question.h"

#include "entrain/base/error.h"
#include "entrain/reasoning/numbers.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

constexpr std::string_view kArrow = "→";

std::string symbols_of(const Path& path) {
  std::string text = path.name;
  for (int64_t hop = 0; hop < path.n_hops; ++hop) (text += ' ') += kArrow;
  return text;
}

std::string english_of(const Path& path) { return path.name + " after " + in_words(path.n_hops) + (path.n_hops == 1 ? " hop" : " hops"); }

bool is_operator(std::string_view symbol) {
  for (const std::string_view known : {"+", "-", "*", "<", ">", "≡", ":", ";", "?"}) {
    if (symbol == known) return true;
  }
  return false;
}

}  // namespace

std::string ToolQuestion::to_symbols() const {
  std::string text = symbols_of(paths[0]);
  if (paths.size() > 1) text += " " + op + " " + symbols_of(paths[1]);
  if (paths.size() > 2) text += " : " + symbols_of(paths[2]) + " ; " + symbols_of(paths[3]);
  return text + " ?";
}

std::string ToolQuestion::to_english() const {
  const auto word = [this] {
    return op == "+" ? " plus " : op == "-" ? " minus " : op == "*" ? " times " : op == "<" ? " is less than " : op == ">" ? " is greater than " : " is equal to ";
  };
  if (paths.size() == 1) return "What is " + english_of(paths[0]) + " ?";
  const std::string joined = english_of(paths[0]) + word() + english_of(paths[1]);
  if (paths.size() == 2) return "What is " + joined + " , modulo ten ?";
  return "If " + joined + " , what is " + english_of(paths[2]) + " , and if not , " + english_of(paths[3]) + " ?";
}

ToolQuestion parse_tool_question(const std::string& symbolic) {
  ToolQuestion question;
  std::string between;  // the operators in turn
  for (const std::string_view symbol : split_views(symbolic)) {
    if (is_operator(symbol)) {
      if (question.op.empty() && symbol != "?") question.op = symbol;
      between += symbol.size() > 1 || symbol == "<" || symbol == ">" ? std::string("c") : std::string(symbol);
      question.paths.emplace_back();
      continue;
    }
    if (question.paths.empty()) question.paths.emplace_back();
    Path& path = question.paths.back();
    if (symbol == kArrow) ++path.n_hops;
    else if (path.name.empty() && path.n_hops == 0) path.name = symbol;
    else between += "!";
  }
  if (!question.paths.empty()) question.paths.pop_back();  // what begins behind "?"
  bool good = between == "?" || between == "+?" || between == "-?" || between == "*?" || between == "c:;?";
  for (const Path& path : question.paths) good = good && !path.name.empty() && path.n_hops > 0;
  if (!good || !symbolic.ends_with(" ?")) {
    throw Error(ErrorKind::kData, "no question for tools: " + symbolic, "such questions read a → → ? or a → + b → ? or a → < b → : c → ; d → ?");
  }
  return question;
}

}  // namespace entrain::reasoning
