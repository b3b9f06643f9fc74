// Family boolean: the value of a formula whose letters are given, in strong Kleene logic (true, uncertain, false).

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

constexpr std::array<std::string_view, 5> kOperators = {"∧", "∨", "⊻", "↔", "→"};
// Prefix words, so that English needs no brackets.
constexpr std::array<std::array<std::string_view, 2>, 5> kOperatorWords = {
    {{"both", "and"}, {"either", "or"}, {"exactly", "xor"}, {"alike", "as"}, {"if", "then"}}};

/// Values are 0 false, 1 uncertain, 2 true.
constexpr std::array<std::string_view, 3> kValues = {kFalse, kUncertain, kTrue};
constexpr std::array<std::string_view, 3> kValueWords = {"false", "unknown", "true"};

int combine(size_t op, int a, int b) {
  switch (op) {
    case 0: return std::min(a, b);
    case 1: return std::max(a, b);
    case 2: return std::max(std::min(a, 2 - b), std::min(2 - a, b));
    case 3: return std::min(std::max(2 - a, b), std::max(a, 2 - b));
    default: return std::max(2 - a, b);
  }
}

/// A formula as nodes: a letter, or an operator on two others; each possibly negated.
struct Formula {
  struct Node {
    bool negated = false;
    int letter = -1;
    size_t op = 0;
    int left = -1, right = -1;
  };
  std::vector<Node> nodes = {};
  int root = -1;

  int add(const Node& node) {
    nodes.push_back(node);
    return static_cast<int>(nodes.size()) - 1;
  }
  const Node& at(int i) const { return nodes[static_cast<size_t>(i)]; }

  int value(int i, const std::vector<int>& letters) const {
    const Node& node = at(i);
    const int plain = node.letter >= 0 ? letters[static_cast<size_t>(node.letter)]
                                       : combine(node.op, value(node.left, letters), value(node.right, letters));
    return node.negated ? 2 - plain : plain;
  }
};

[[noreturn]] void not_boolean(const std::string& text) {
  throw Error(ErrorKind::kData, "not an item of family boolean: \"" + text + "\"");
}

struct Question {
  std::map<std::string, int> values;
  std::vector<std::string> formula;  // symbols
};

Question parse(const std::string& text) {
  const auto halves = split_at(text, "?");
  if (halves.size() != 2) not_boolean(text);
  Question question;
  for (const std::string& fact : split_at(halves[0], ";")) {
    const auto symbols = split_symbols(fact);
    if (symbols.size() != 3 || symbols[1] != ":") not_boolean(text);
    const auto value = std::find(kValues.begin(), kValues.end(), symbols[2]);
    if (value == kValues.end()) not_boolean(text);
    question.values[symbols[0]] = static_cast<int>(value - kValues.begin());
  }
  question.formula = split_symbols(halves[1]);
  return question;
}

/// Evaluates while reading, by recursive descent: formula = operand [operator operand]; operand = [¬] (letter | "(" formula ")").
class Evaluator {
 public:
  Evaluator(const Question& question, const std::string& text) : question_(question), text_(text) {}
  int evaluate() {
    const int value = formula();
    if (next_ != question_.formula.size()) not_boolean(text_);
    return value;
  }

 private:
  const std::string& peek() const {
    static const std::string kNothing;
    return next_ < question_.formula.size() ? question_.formula[next_] : kNothing;
  }
  int formula() {
    const int left = operand();
    const auto op = std::find(kOperators.begin(), kOperators.end(), peek());
    if (op == kOperators.end()) return left;
    ++next_;
    return combine(static_cast<size_t>(op - kOperators.begin()), left, operand());
  }
  int operand() {
    const std::string symbol = peek();
    ++next_;
    if (symbol == "¬") return 2 - operand();
    if (symbol == "(") {
      const int value = formula();
      if (peek() != ")") not_boolean(text_);
      ++next_;
      return value;
    }
    const auto letter = question_.values.find(symbol);
    if (letter == question_.values.end()) not_boolean(text_);
    return letter->second;
  }

  const Question& question_;
  const std::string& text_;
  size_t next_ = 0;
};

// Truth tables as written in a book: rows are the left value, columns the right, in the order ⊥ ◑ ●.
const std::map<std::string_view, std::array<std::string_view, 9>> kTables = {
    {"∧", {"⊥", "⊥", "⊥", "⊥", "◑", "◑", "⊥", "◑", "●"}}, {"∨", {"⊥", "◑", "●", "◑", "◑", "●", "●", "●", "●"}},
    {"⊻", {"⊥", "◑", "●", "◑", "◑", "◑", "●", "◑", "⊥"}}, {"↔", {"●", "◑", "⊥", "◑", "◑", "◑", "⊥", "◑", "●"}},
    {"→", {"●", "●", "●", "◑", "◑", "●", "⊥", "◑", "●"}}};

class Boolean : public Family {
 public:
  std::string name() const override { return "boolean"; }
  std::string description() const override {
    return "the value of a formula whose letters are given, in Kleene's three values; depth is the nesting of connectives less one";
  }
  int64_t max_depth() const override { return 5; }
  double chance(int64_t) const override { return 1.0 / 3; }

  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    for (;;) {
      const auto n_letters = static_cast<int>(draw_between(random, how.depth > 2 ? 4 : 3, how.depth > 3 ? 5 : 6));
      std::vector<int> values = {0, 1, 2};
      while (static_cast<int>(values.size()) < n_letters) values.push_back(static_cast<int>(random.next_below(3)));
      shuffle(values, random);
      Formula formula;
      int n_spare = 2 + static_cast<int>(random.next_below(2));  // leaves beyond those that the depth needs
      const int target = static_cast<int>(random.next_below(3));
      formula.root = grow(formula, how.depth + 1, n_spare, random, values, how.sampler == Sampler::kLabelsFirst ? target : -1);
      // The values are dealt anew until every answer has come up.
      std::array<std::vector<int>, 3> dealt;
      for (int tries = 0; tries < 24; ++tries) {
        auto& place = dealt[static_cast<size_t>(formula.value(formula.root, values))];
        if (place.empty()) place = values;
        if (std::none_of(dealt.begin(), dealt.end(), [](const auto& letters) { return letters.empty(); })) {
          return items(formula, {dealt[2], dealt[1], dealt[0]}, how, random);
        }
        shuffle(values, random);
      }
    }
  }

  std::string solve(const Item& item) const override {
    const Question question = parse(item.symbolic);
    return std::string(kValues[static_cast<size_t>(Evaluator(question, item.symbolic).evaluate())]);
  }

  std::string solve_by_search(const Item& item) const override {
    // Rewriting: letters by their values, then ( v ) by v, ¬ v and v op v by the tables, until one symbol is left.
    const Question question = parse(item.symbolic);
    std::vector<std::string> text = {"("};
    for (const std::string& symbol : question.formula) {
      const auto letter = question.values.find(symbol);
      text.push_back(letter == question.values.end() ? symbol : std::string(kValues[static_cast<size_t>(letter->second)]));
    }
    text.push_back(")");
    const auto is_value = [&](size_t i) { return std::find(kValues.begin(), kValues.end(), text[i]) != kValues.end(); };
    const auto row = [&](size_t i) { return static_cast<size_t>(std::find(kValues.begin(), kValues.end(), text[i]) - kValues.begin()); };
    const auto replace = [&](size_t begin, size_t count, std::string_view value) {
      text[begin] = value;
      text.erase(text.begin() + static_cast<int64_t>(begin) + 1, text.begin() + static_cast<int64_t>(begin + count));
    };
    while (text.size() > 1) {
      bool changed = false;
      for (size_t i = 0; i < text.size() && !changed; ++i) {
        changed = true;
        if (i + 1 < text.size() && text[i] == "¬" && is_value(i + 1)) {
          replace(i, 2, kValues[2 - row(i + 1)]);
        } else if (i + 2 < text.size() && text[i] == "(" && is_value(i + 1) && text[i + 2] == ")") {
          replace(i, 3, std::string(text[i + 1]));
        } else if (i + 4 < text.size() && text[i] == "(" && is_value(i + 1) && kTables.contains(text[i + 2]) && is_value(i + 3) &&
                   text[i + 4] == ")") {
          replace(i, 5, kTables.at(text[i + 2])[3 * row(i + 1) + row(i + 3)]);
        } else {
          changed = false;
        }
      }
      if (!changed) not_boolean(item.symbolic);
    }
    return text.front();
  }

 private:
  // A formula nested `depth` deep on at least one side. wanted: its value under `values`, or -1 for any.
  static int grow(Formula& formula, int64_t depth, int& n_spare, RandomStream& random, const std::vector<int>& values, int wanted) {
    Formula::Node node;
    node.negated = draw_chance(random, 0.3);
    const int plain = wanted < 0 ? -1 : node.negated ? 2 - wanted : wanted;
    if (depth == 0) {
      node.letter = static_cast<int>(random.next_below(values.size()));
      while (plain >= 0 && values[static_cast<size_t>(node.letter)] != plain) {
        node.letter = static_cast<int>(random.next_below(values.size()));
      }
      return formula.add(node);
    }
    std::array<int, 2> parts = {-1, -1};
    do {
      node.op = random.next_below(kOperators.size());
      for (int& part : parts) part = plain < 0 ? -1 : static_cast<int>(random.next_below(3));
    } while (plain >= 0 && combine(node.op, parts[0], parts[1]) != plain);
    const bool deep_left = draw_chance(random, 0.5);
    int64_t shallow = 0;
    while (n_spare > 0 && shallow < depth - 1 && draw_chance(random, depth > 2 ? 0.35 : 0.75)) ++shallow, --n_spare;
    node.left = grow(formula, deep_left ? depth - 1 : shallow, n_spare, random, values, parts[0]);
    node.right = grow(formula, deep_left ? shallow : depth - 1, n_spare, random, values, parts[1]);
    return formula.add(node);
  }

  static std::vector<Item> items(const Formula& formula, const std::vector<std::vector<int>>& dealt, const Draw& how,
                                 RandomStream& random) {
    const size_t n_letters = dealt.front().size();
    const auto letters = draw_names(random, NameKind::kUpper, how.names, n_letters);
    const auto adjectives = draw_names(random, NameKind::kAdjective, how.names, n_letters);
    std::vector<size_t> order;
    for (size_t i = 0; i < n_letters; ++i) order.push_back(i);
    shuffle(order, random);
    std::vector<int> sorted = dealt.front();
    std::sort(sorted.begin(), sorted.end());
    std::string skeleton;
    for (const int value : sorted) skeleton += kValues[static_cast<size_t>(value)];
    skeleton += canonical(formula, std::vector<int>(n_letters, -1));
    std::vector<Item> group;
    for (const auto& values : dealt) {
      Item item;
      item.depth = how.depth;
      for (size_t i = 0; i < n_letters; ++i) {
        const auto value = static_cast<size_t>(values[order[i]]);
        item.symbolic += letters[order[i]] + " : " + std::string(kValues[value]) + (i + 1 < n_letters ? " ; " : " ? ");
        item.english += adjectives[order[i]] + " is " + std::string(kValueWords[value]) + " . ";
      }
      item.symbolic += symbolic(formula, formula.root, letters, true);
      item.english += "Is it so that " + english(formula, formula.root, adjectives) + " ?";
      item.answer = kValues[static_cast<size_t>(formula.value(formula.root, values))];
      collect_steps(formula, formula.root, values, letters, item.steps);
      item.canonical = skeleton + "|" + canonical(formula, values);
      group.push_back(std::move(item));
    }
    return group;
  }

  static std::string symbolic(const Formula& formula, int i, const std::vector<std::string>& letters, bool outermost) {
    const auto& node = formula.at(i);
    std::string text;
    if (node.letter >= 0) {
      text = letters[static_cast<size_t>(node.letter)];
    } else {
      text = symbolic(formula, node.left, letters, false) + " " + std::string(kOperators[node.op]) + " " +
             symbolic(formula, node.right, letters, false);
      if (!outermost || node.negated) text = "( " + text + " )";
    }
    return node.negated ? "¬ " + text : text;
  }

  static std::string english(const Formula& formula, int i, const std::vector<std::string>& words) {
    const auto& node = formula.at(i);
    const std::string negation = node.negated ? "not " : "";
    if (node.letter >= 0) return negation + words[static_cast<size_t>(node.letter)];
    return negation + std::string(kOperatorWords[node.op][0]) + " " + english(formula, node.left, words) + " " +
           std::string(kOperatorWords[node.op][1]) + " " + english(formula, node.right, words);
  }

  // Shape with commutative parts sorted, first without regard to names, then letters numbered by first use. Values of -1 are left out;
  // letters that the formula does not use do not matter beyond their number.
  static std::string canonical(const Formula& formula, const std::vector<int>& values) {
    std::map<int, size_t> numbers;
    std::string text;
    write_canonical(formula, formula.root, values, numbers, text);
    return text;
  }

  static std::string shape(const Formula& formula, int i, const std::vector<int>& values) {
    const auto& node = formula.at(i);
    const std::string negation = node.negated ? "¬" : "";
    if (node.letter >= 0) return negation + "x" + std::to_string(values[static_cast<size_t>(node.letter)]);
    std::string left = shape(formula, node.left, values), right = shape(formula, node.right, values);
    if (kOperators[node.op] != "→" && right < left) left.swap(right);
    return negation + "(" + left + std::string(kOperators[node.op]) + right + ")";
  }

  static void write_canonical(const Formula& formula, int i, const std::vector<int>& values, std::map<int, size_t>& numbers,
                              std::string& text) {
    const auto& node = formula.at(i);
    if (node.negated) text += "¬";
    if (node.letter >= 0) {
      const int value = values[static_cast<size_t>(node.letter)];
      text += "x" + std::to_string(numbers.try_emplace(node.letter, numbers.size()).first->second);
      if (value >= 0) text += kValues[static_cast<size_t>(value)];
      return;
    }
    const bool swap = kOperators[node.op] != "→" && shape(formula, node.right, values) < shape(formula, node.left, values);
    text += "(";
    write_canonical(formula, swap ? node.right : node.left, values, numbers, text);
    text += kOperators[node.op];
    write_canonical(formula, swap ? node.left : node.right, values, numbers, text);
    text += ")";
  }

  // From the inside out, every line read off the prompt or off lines before it: "D : ●" for a letter, "¬ ● : ⊥" for a negation, "● ∧ ⊥ : ⊥" for a connective.
  static int collect_steps(const Formula& formula, int i, const std::vector<int>& values, const std::vector<std::string>& letters, std::vector<std::string>& steps) {
    const auto& node = formula.at(i);
    const auto symbol = [](int v) { return std::string(kValues[static_cast<size_t>(v)]); };
    int value = 0;
    if (node.letter >= 0) {
      value = values[static_cast<size_t>(node.letter)];
      steps.push_back(letters[static_cast<size_t>(node.letter)] + " : " + symbol(value));
    } else {
      const int left = collect_steps(formula, node.left, values, letters, steps), right = collect_steps(formula, node.right, values, letters, steps);
      value = combine(node.op, left, right);
      steps.push_back(symbol(left) + " " + std::string(kOperators[node.op]) + " " + symbol(right) + " : " + symbol(value));
    }
    if (!node.negated) return value;
    steps.push_back("¬ " + symbol(value) + " : " + symbol(2 - value));
    return 2 - value;
  }
};

}  // namespace

std::unique_ptr<Family> make_boolean() { return std::make_unique<Boolean>(); }

}  // namespace entrain::reasoning
