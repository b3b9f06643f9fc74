// Family sets: is a digit in an expression of unions, intersections and differences? "3 ∈ ( { 1 3 } ∪ { 2 } ) \ { 3 } ?"
// The depth is how deep parentheses nest. A group holds two arrangements of the same elements and operators in the same tree, a few
// exchanges apart.

#include <algorithm>
#include <array>
#include <set>

#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/numbers.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

constexpr std::array<std::string_view, 3> kOperators = {"∪", "∩", "\\"};
constexpr std::array<std::string_view, 3> kOperatorWords = {"joined with", "in common with", "without"};
constexpr int kUnion = 0, kIntersection = 1, kDifference = 2;

/// A leaf (left < 0) with its elements in the order of the text, or an operator over two nodes.
struct Node {
  int left = -1, right = -1;
  int op = kUnion;
  std::vector<int> elements = {};
  bool is_leaf() const { return left < 0; }
};

/// Nodes before those above them; the root is the last.
using Tree = std::vector<Node>;

bool apply(int op, bool left, bool right) {
  if (op == kUnion) return left || right;
  if (op == kIntersection) return left && right;
  return left && !right;
}

bool has(const std::vector<int>& elements, int x) { return std::find(elements.begin(), elements.end(), x) != elements.end(); }

/// Whether x is in each node's set.
std::vector<bool> memberships(const Tree& tree, int x) {
  std::vector<bool> member(tree.size());
  for (size_t i = 0; i < tree.size(); ++i) {
    const Node& node = tree[i];
    member[i] = node.is_leaf() ? has(node.elements, x)
                               : apply(node.op, member[static_cast<size_t>(node.left)], member[static_cast<size_t>(node.right)]);
  }
  return member;
}

int add_leaf(Tree& tree) {
  tree.push_back({});
  return static_cast<int>(tree.size()) - 1;
}

int add_operator(Tree& tree, RandomStream& random, int a, int b) {
  if (draw_chance(random, 0.5)) std::swap(a, b);
  tree.push_back({.left = a, .right = b, .op = static_cast<int>(random.next_below(3))});
  return static_cast<int>(tree.size()) - 1;
}

/// One path of depth + 1 operators; up to two of them have another operator beside the path.
Tree draw_shape(RandomStream& random, int64_t depth) {
  Tree tree;
  int left = add_leaf(tree), right = add_leaf(tree);
  int top = add_operator(tree, random, left, right);
  int64_t n_beside = 0;
  for (int64_t level = 1; level <= depth; ++level) {
    int beside = add_leaf(tree);
    if (n_beside < 2 && draw_chance(random, 0.3)) {
      const int other = add_leaf(tree);
      beside = add_operator(tree, random, beside, other);
      ++n_beside;
    }
    top = add_operator(tree, random, top, beside);
  }
  return tree;
}

/// Which leaves hold the asked element: any (structure first), or so that the root's set does or does not (label first).
std::vector<bool> draw_memberships(RandomStream& random, const Tree& tree, Sampler sampler) {
  std::vector<bool> member(tree.size());
  if (sampler == Sampler::kRulesFirst) {
    for (size_t i = 0; i < tree.size(); ++i) member[i] = draw_chance(random, 0.5);
    return member;
  }
  member.back() = draw_chance(random, 0.5);
  for (size_t i = tree.size(); i-- > 0;) {
    if (tree[i].is_leaf()) continue;
    std::vector<std::pair<bool, bool>> fitting;
    for (const bool left : {false, true}) {
      for (const bool right : {false, true}) {
        if (apply(tree[i].op, left, right) == member[i]) fitting.emplace_back(left, right);
      }
    }
    const auto [left, right] = pick(fitting, random);
    member[static_cast<size_t>(tree[i].left)] = left;
    member[static_cast<size_t>(tree[i].right)] = right;
  }
  return member;
}

void fill(RandomStream& random, Tree& tree, int x, const std::vector<bool>& member, int64_t max_size) {
  for (size_t i = 0; i < tree.size(); ++i) {
    if (!tree[i].is_leaf()) continue;
    std::vector<int>& elements = tree[i].elements;
    const size_t size = static_cast<size_t>(draw_between(random, 1, max_size));
    if (member[i]) elements.push_back(x);
    while (elements.size() < size) {
      const int element = static_cast<int>(random.next_below(10));
      if (element != x && !has(elements, element)) elements.push_back(element);
    }
    shuffle(elements, random);
  }
}

/// One exchange of two operators or of two elements of different sets; may turn out to change nothing.
void exchange(RandomStream& random, Tree& tree) {
  Node& a = tree[random.next_below(tree.size())];
  Node& b = tree[random.next_below(tree.size())];
  if (a.is_leaf() != b.is_leaf() || &a == &b) return;
  if (!a.is_leaf()) {
    std::swap(a.op, b.op);
    return;
  }
  const size_t i = random.next_below(a.elements.size()), j = random.next_below(b.elements.size());
  if (!has(a.elements, b.elements[j]) && !has(b.elements, a.elements[i])) std::swap(a.elements[i], b.elements[j]);
}

std::string write_symbols(const Tree& tree, int at) {
  const Node& node = tree[static_cast<size_t>(at)];
  std::string text;
  if (node.is_leaf()) {
    text = "{";
    for (const int element : node.elements) (text += ' ') += static_cast<char>('0' + element);
    return text += " }";
  }
  text = write_symbols(tree, node.left) + " ";
  (text += kOperators[static_cast<size_t>(node.op)]) += " " + write_symbols(tree, node.right);
  return at + 1 == static_cast<int>(tree.size()) ? text : "( " + text + " )";
}

std::string write_english(const Tree& tree, int at) {
  const Node& node = tree[static_cast<size_t>(at)];
  std::string text;
  if (node.is_leaf()) {
    for (const int element : node.elements) text += (text.empty() ? "( " : " and ") + in_words(element);
    return text += " )";
  }
  text = write_english(tree, node.left) + " ";
  (text += kOperatorWords[static_cast<size_t>(node.op)]) += " " + write_english(tree, node.right);
  return at + 1 == static_cast<int>(tree.size()) ? text : "( " + text + " )";
}

std::string canonical_form(const Tree& tree, int at) {
  const Node& node = tree[static_cast<size_t>(at)];
  if (node.is_leaf()) {
    std::string text = "{}";
    for (const int element : node.elements) text.insert(text.end() - 1, static_cast<char>('0' + element));
    std::sort(text.begin() + 1, text.end() - 1);
    return text;
  }
  std::string left = canonical_form(tree, node.left), right = canonical_form(tree, node.right);
  if (node.op != kDifference && right < left) std::swap(left, right);
  return "(" + left + std::string(kOperators[static_cast<size_t>(node.op)]) + right + ")";
}

Item make_item(const Tree& tree, int x, int64_t depth) {
  const int root = static_cast<int>(tree.size()) - 1;
  const std::vector<bool> member = memberships(tree, x);
  Item item;
  item.depth = depth;
  item.symbolic = in_figures(x) + " ∈ " + write_symbols(tree, root) + " ?";
  item.english = "Is " + in_words(x) + " in " + write_english(tree, root) + " ?";
  item.answer = member.back() ? kTrue : kFalse;
  const auto symbol = [&](int at) { return std::string(member[static_cast<size_t>(at)] ? kTrue : kFalse); };
  for (int i = 0; i <= root; ++i) {
    const Node& node = tree[static_cast<size_t>(i)];
    const std::string read = node.is_leaf() ? write_symbols(tree, i) : symbol(node.left) + " " + std::string(kOperators[static_cast<size_t>(node.op)]) + " " + symbol(node.right);
    item.steps.push_back(read + " : " + symbol(i));
  }
  item.canonical = sorted_symbols(item.symbolic) + "|" + in_figures(x) + "∈" + canonical_form(tree, root);
  return item;
}

[[noreturn]] void reject(const Item& item) {
  throw Error(ErrorKind::kData, "no question about sets: " + item.symbolic, "such questions read 3 ∈ ( { 1 3 } ∪ { 2 } ) \\ { 3 } ?");
}

/// Recursive descent over bit masks.
class Parser {
 public:
  explicit Parser(const Item& item) : item_(item), symbols_(split_views(item.symbolic)) {}

  bool answer() {
    const int x = digit_value(next());
    if (x < 0 || next() != "∈") reject(item_);
    const unsigned set = expression();
    if (next() != "?" || at_ != symbols_.size()) reject(item_);
    return (set >> x & 1u) != 0;
  }

 private:
  std::string_view next() {
    if (at_ == symbols_.size()) reject(item_);
    return symbols_[at_++];
  }
  unsigned operand() {
    const std::string_view opening = next();
    unsigned set = 0;
    if (opening == "(") {
      set = expression();
      if (next() != ")") reject(item_);
    } else if (opening == "{") {
      for (std::string_view symbol = next(); symbol != "}"; symbol = next()) {
        const int element = digit_value(symbol);
        if (element < 0) reject(item_);
        set |= 1u << element;
      }
    } else {
      reject(item_);
    }
    return set;
  }
  unsigned expression() {
    unsigned left = operand();
    if (at_ == symbols_.size() || symbols_[at_] == ")" || symbols_[at_] == "?") return left;
    const std::string_view op = next();
    const unsigned right = operand();
    if (op == "∪") return left | right;
    if (op == "∩") return left & right;
    if (op == "\\") return left & ~right;
    reject(item_);
  }

  const Item& item_;
  std::vector<std::string_view> symbols_;
  size_t at_ = 0;
};

/// A set or any other symbol, for rewriting.
struct Piece {
  std::string symbol;  ///< empty for a set
  std::set<std::string> elements = {};
  bool is_set() const { return symbol.empty(); }
};

std::vector<Piece> pieces_of(const Item& item) {
  std::vector<Piece> pieces;
  bool inside = false;
  for (const std::string& symbol : split_symbols(item.symbolic)) {
    if (symbol == "{") pieces.push_back({""});
    else if (inside && symbol != "}") pieces.back().elements.insert(symbol);
    else if (symbol != "}") pieces.push_back({symbol});
    inside = symbol == "{" || (inside && symbol != "}");
  }
  return pieces;
}

class Sets : public Family {
 public:
  std::string name() const override { return "sets"; }
  std::string description() const override { return "membership of a digit in nested unions, intersections and differences"; }
  int64_t max_depth() const override { return 4; }
  double chance(int64_t) const override { return 0.5; }

  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    for (;;) {
      Tree tree = draw_shape(random, how.depth);
      const int x = static_cast<int>(random.next_below(10));
      fill(random, tree, x, draw_memberships(random, tree, how.sampler), how.depth <= 2 ? 4 : 3);
      const bool answer = memberships(tree, x).back();
      Tree other = tree;
      for (int n = 0; n < 60; ++n) {
        exchange(random, other);
        if (memberships(other, x).back() != answer) return {make_item(tree, x, how.depth), make_item(other, x, how.depth)};
      }
    }
  }

  std::string solve(const Item& item) const override { return std::string(Parser(item).answer() ? kTrue : kFalse); }

  /// Rewrites "{ } op { }" and "( { } )" to one set wherever they stand, until one set is left.
  std::string solve_by_search(const Item& item) const override {
    std::vector<Piece> pieces = pieces_of(item);
    if (pieces.size() < 4 || pieces[1].symbol != "∈" || pieces.back().symbol != "?") reject(item);
    const std::string asked = pieces[0].symbol;
    pieces.pop_back();
    pieces.erase(pieces.begin(), pieces.begin() + 2);
    while (pieces.size() > 1) {
      bool changed = false;
      for (size_t i = 0; i + 2 < pieces.size() && !changed; ++i) {
        Piece result;
        if (pieces[i].symbol == "(" && pieces[i + 1].is_set() && pieces[i + 2].symbol == ")") {
          result = pieces[i + 1];
        } else if (pieces[i].is_set() && pieces[i + 2].is_set()) {
          const Piece &a = pieces[i], &b = pieces[i + 2];
          const std::string& op = pieces[i + 1].symbol;
          if (op != "∪" && op != "∩" && op != "\\") reject(item);
          for (int digit = 0; digit < 10; ++digit) {
            const std::string element = std::to_string(digit);
            const bool in_a = a.elements.contains(element), in_b = b.elements.contains(element);
            if ((op == "∪" && (in_a || in_b)) || (op == "∩" && in_a && in_b) || (op == "\\" && in_a && !in_b)) result.elements.insert(element);
          }
        } else {
          continue;
        }
        pieces[i] = result;
        pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(i) + 1, pieces.begin() + static_cast<std::ptrdiff_t>(i) + 3);
        changed = true;
      }
      if (!changed) reject(item);
    }
    return std::string(pieces[0].elements.contains(asked) ? kTrue : kFalse);
  }
};

}  // namespace

std::unique_ptr<Family> make_sets() { return std::make_unique<Sets>(); }

}  // namespace entrain::reasoning
