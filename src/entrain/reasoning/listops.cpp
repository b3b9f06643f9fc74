// Family listops: nested lists under an operator, "[ MAX 2 [ MIN 4 7 ] 0 ] ≡ 4 ?" (ListOps, arXiv 1804.06028, whose operators these are).
// The depth is the number of levels below the outermost list. A group holds two arrangements of the same digits and operators in the same
// tree, a few exchanges apart, and asks both for the value of one of them.

#include <algorithm>
#include <array>

#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/numbers.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

constexpr std::array<std::string_view, 4> kOperators = {"MIN", "MAX", "MED", "SM"};
constexpr std::array<std::string_view, 4> kOperatorWords = {"the smallest of", "the largest of", "the lower median of", "the sum modulo ten of"};
constexpr int kMin = 0, kMax = 1, kMed = 2, kSum = 3;

/// A digit (no children) or an operator over children that stand before it; the root is the last.
struct Node {
  std::vector<int> children = {};
  int value = 0;  ///< of a digit
  int op = kMin;
  bool is_digit() const { return children.empty(); }
};
using Tree = std::vector<Node>;

/// Of two in the middle the median is the lower one.
int apply(int op, std::vector<int> values) {
  if (op == kSum) {
    int sum = 0;
    for (const int value : values) sum += value;
    return sum % 10;
  }
  std::sort(values.begin(), values.end());
  return op == kMin ? values.front() : op == kMax ? values.back() : values[(values.size() - 1) / 2];
}

std::vector<int> values_of(const Tree& tree) {
  std::vector<int> values(tree.size()), below;
  for (size_t i = 0; i < tree.size(); ++i) {
    below.clear();
    for (const int child : tree[i].children) below.push_back(values[static_cast<size_t>(child)]);
    values[i] = tree[i].is_digit() ? tree[i].value : apply(tree[i].op, below);
  }
  return values;
}

/// A path of depth + 1 lists with digits beside it; up to two shorter lists as well.
Tree draw_shape(RandomStream& random, int64_t depth) {
  Tree tree;
  const auto add_digit = [&tree] {
    tree.push_back({});
    return static_cast<int>(tree.size()) - 1;
  };
  const auto add_list = [&](std::vector<int> children, int64_t arity) {
    while (static_cast<int64_t>(children.size()) < arity) children.push_back(add_digit());
    shuffle(children, random);
    tree.push_back({.children = std::move(children), .op = static_cast<int>(random.next_below(4))});
    return static_cast<int>(tree.size()) - 1;
  };
  const auto draw_arity = [&] { return draw_between(random, 2, depth <= 2 ? 5 : draw_chance(random, 0.2) ? 5 : 3); };
  int top = add_list({}, draw_arity());
  int64_t n_beside = 0;
  for (int64_t level = 1; level <= depth; ++level) {
    std::vector<int> children = {top};
    if (n_beside < 2 && draw_chance(random, 0.25)) {
      children.push_back(add_list({}, draw_between(random, 2, 3)));
      ++n_beside;
    }
    top = add_list(std::move(children), draw_arity());
  }
  return tree;
}

/// Values of n children under `op` that give `value`.
std::vector<int> draw_below(RandomStream& random, int op, int value, size_t n) {
  std::vector<int> values;
  const auto low = [&] { return static_cast<int>(draw_between(random, 0, value)); };
  const auto high = [&] { return static_cast<int>(draw_between(random, value, 9)); };
  const size_t n_low = op == kMax ? n - 1 : op == kMed ? (n - 1) / 2 : 0;
  int rest = value;
  while (values.size() + 1 < n) {
    values.push_back(op == kSum ? static_cast<int>(random.next_below(10)) : values.size() < n_low ? low() : high());
    rest += 10 - values.back();
  }
  values.push_back(op == kSum ? rest % 10 : value);
  shuffle(values, random);
  return values;
}

void fill(RandomStream& random, Tree& tree, Sampler sampler) {
  if (sampler == Sampler::kRulesFirst) {
    for (Node& node : tree) node.value = static_cast<int>(random.next_below(10));
    return;
  }
  tree.back().value = static_cast<int>(random.next_below(10));
  for (size_t i = tree.size(); i-- > 0;) {  // for lists, `value` holds what they are to give
    const std::vector<int> values = tree[i].is_digit() ? std::vector<int>() : draw_below(random, tree[i].op, tree[i].value, tree[i].children.size());
    for (size_t c = 0; c < values.size(); ++c) tree[static_cast<size_t>(tree[i].children[c])].value = values[c];
  }
}

/// Exchanges two digits or two operators, not always different ones.
void exchange(RandomStream& random, Tree& tree) {
  Node& a = tree[random.next_below(tree.size())];
  Node& b = tree[random.next_below(tree.size())];
  if (a.is_digit() && b.is_digit()) std::swap(a.value, b.value);
  if (!a.is_digit() && !b.is_digit()) std::swap(a.op, b.op);
}

std::string write_symbols(const Tree& tree, int at) {
  const Node& node = tree[static_cast<size_t>(at)];
  if (node.is_digit()) return in_figures(node.value);
  std::string text = "[ " + std::string(kOperators[static_cast<size_t>(node.op)]);
  for (const int child : node.children) text += " " + write_symbols(tree, child);
  return text + " ]";
}

std::string write_english(const Tree& tree, int at) {
  const Node& node = tree[static_cast<size_t>(at)];
  if (node.is_digit()) return in_words(node.value);
  std::string text = std::string(kOperatorWords[static_cast<size_t>(node.op)]) + " (";
  for (const int child : node.children) text += " " + write_english(tree, child);
  return text + " )";
}

std::string canonical_form(const Tree& tree, int at) {
  const Node& node = tree[static_cast<size_t>(at)];
  if (node.is_digit()) return std::to_string(node.value);
  std::vector<std::string> below;
  for (const int child : node.children) below.push_back(canonical_form(tree, child));
  std::sort(below.begin(), below.end());
  return "[" + std::string(kOperators[static_cast<size_t>(node.op)]) + join(below, ",") + "]";
}

Item make_item(const Tree& tree, int candidate, int64_t depth) {
  const int root = static_cast<int>(tree.size()) - 1;
  const std::vector<int> values = values_of(tree);
  Item item;
  item.depth = depth;
  item.symbolic = write_symbols(tree, root) + " ≡ " + in_figures(candidate) + " ?";
  item.english = "Is " + write_english(tree, root) + " equal to " + in_words(candidate) + " ?";
  item.answer = values.back() == candidate ? kTrue : kFalse;
  for (size_t i = 0; i < tree.size(); ++i) {
    if (tree[i].is_digit()) continue;
    std::string step(kOperators[static_cast<size_t>(tree[i].op)]);
    for (const int child : tree[i].children) step += " " + in_figures(values[static_cast<size_t>(child)]);
    item.steps.push_back(step + " : " + in_figures(values[i]));
  }
  item.canonical = sorted_symbols(item.symbolic) + "|" + canonical_form(tree, root) + "≡" + std::to_string(candidate);
  return item;
}

[[noreturn]] void reject(const Item& item) {
  throw Error(ErrorKind::kData, "no question about nested lists: " + item.symbolic, "such questions read [ MAX 2 [ MIN 4 7 ] 0 ] ≡ 4 ?");
}

int operator_of(std::string_view symbol) {
  const auto found = std::find(kOperators.begin(), kOperators.end(), symbol);
  return found == kOperators.end() ? -1 : static_cast<int>(found - kOperators.begin());
}

/// Value of the list or digit at `at`, which moves behind it.
int value_at(const Item& item, const std::vector<std::string_view>& symbols, size_t& at) {
  if (at + 1 >= symbols.size()) reject(item);
  if (symbols[at] != "[") {
    const int digit = digit_value(symbols[at++]);
    if (digit < 0) reject(item);
    return digit;
  }
  const int op = operator_of(symbols[at + 1]);
  if (op < 0) reject(item);
  std::vector<int> values;
  for (at += 2; at < symbols.size() && symbols[at] != "]";) values.push_back(value_at(item, symbols, at));
  if (values.empty() || at == symbols.size()) reject(item);
  ++at;
  return apply(op, std::move(values));
}

/// Value of a list of digits by trying all ten, without sorting or adding up.
int value_by_trial(const std::string& op, const std::vector<std::string>& digits) {
  if (op == "SM") {  // counting on, one step after the other
    int counted = 0;
    for (const std::string& digit : digits) {
      for (char c = '0'; c != digit[0]; ++c) counted = counted == 9 ? 0 : counted + 1;
    }
    return counted;
  }
  for (int trial = 0; trial < 10; ++trial) {
    int n_below = 0, n_equal = 0, n_above = 0;
    for (const std::string& digit : digits) ++(digit[0] - '0' < trial ? n_below : digit[0] - '0' == trial ? n_equal : n_above);
    const int n = n_below + n_equal + n_above;
    if (n_equal == 0) continue;
    if (op == "MIN" && n_below == 0) return trial;
    if (op == "MAX" && n_above == 0) return trial;
    // The lower median: fewer than half lie below, and it with those below makes at least half.
    if (op == "MED" && 2 * n_below < n && 2 * (n_below + n_equal) >= n) return trial;
  }
  return -1;
}

class ListOps : public Family {
 public:
  std::string name() const override { return "listops"; }
  std::string description() const override { return "value of nested lists of digits under minimum, maximum, median and sum modulo ten"; }
  int64_t max_depth() const override { return 6; }
  double chance(int64_t) const override { return 0.5; }

  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    for (;;) {
      Tree tree = draw_shape(random, how.depth);
      fill(random, tree, how.sampler);
      const int value = values_of(tree).back();
      Tree other = tree;
      for (int n = 0; n < 60; ++n) {
        exchange(random, other);
        const int other_value = values_of(other).back();
        if (other_value == value) continue;
        const int candidate = draw_chance(random, 0.5) ? value : other_value;
        return {make_item(tree, candidate, how.depth), make_item(other, candidate, how.depth)};
      }
    }
  }

  std::string solve(const Item& item) const override {
    const std::vector<std::string_view> symbols = split_views(item.symbolic);
    size_t at = 0;
    const int value = value_at(item, symbols, at);
    if (at + 3 != symbols.size() || symbols[at] != "≡" || symbols[at + 2] != "?" || digit_value(symbols[at + 1]) < 0) reject(item);
    return std::string(value == digit_value(symbols[at + 1]) ? kTrue : kFalse);
  }

  /// Rewrites the first list that holds digits alone to its value, until no list is left.
  std::string solve_by_search(const Item& item) const override {
    std::vector<std::string> symbols = split_symbols(item.symbolic);
    for (;;) {
      const auto closing = std::find(symbols.begin(), symbols.end(), "]");
      if (closing == symbols.end()) break;
      auto opening = closing;
      while (opening != symbols.begin() && *opening != "[") --opening;
      if (*opening != "[" || closing - opening < 3) reject(item);
      const std::vector<std::string> digits(opening + 2, closing);
      if (std::any_of(digits.begin(), digits.end(), [](const std::string& digit) { return digit.size() != 1 || digit[0] < '0' || digit[0] > '9'; })) reject(item);
      const int value = value_by_trial(*(opening + 1), digits);
      if (value < 0) reject(item);
      *opening = static_cast<char>('0' + value);
      symbols.erase(opening + 1, closing + 1);
    }
    if (symbols.size() != 4 || symbols[1] != "≡" || symbols[3] != "?" || symbols[2].size() != 1 || symbols[2] < "0" || symbols[2] > "9") reject(item);
    return std::string(symbols[0] == symbols[2] ? kTrue : kFalse);
  }
};

}  // namespace

std::unique_ptr<Family> make_listops() { return std::make_unique<ListOps>(); }

}  // namespace entrain::reasoning
