// Family arithmetic: equality, congruence and comparison of sums written digit by digit: "1 7 + 5 ≡ 2 2 ?", "1 7 + 5 ≡ 2 mod 1 0 ?",
// "1 7 - 5 < 8 + 9 ?". A group holds two arrangements of the same digits and signs on the left, before the same right side.

#include <algorithm>
#include <array>
#include <cstdlib>

#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/numbers.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

/// Knobs of a depth.
struct Size {
  int64_t n_terms, min_digits, max_digits, max_modulus;
};
constexpr std::array<Size, 6> kSizes = {{{2, 1, 2, 12}, {3, 1, 2, 12}, {3, 2, 3, 20}, {4, 2, 3, 20}, {4, 3, 4, 99}, {5, 3, 4, 99}}};

struct Term {
  bool minus = false;  ///< never for the first
  std::vector<int> digits = {};
  int64_t number() const {
    int64_t value = 0;
    for (const int digit : digits) value = 10 * value + digit;
    return value;
  }
};
using Sum = std::vector<Term>;

int64_t value_of(const Sum& sum) {
  int64_t value = 0;
  for (const Term& term : sum) value += term.minus ? -term.number() : term.number();
  return value;
}

bool is_well_formed(const Sum& sum) {
  return std::none_of(sum.begin(), sum.end(), [](const Term& term) { return term.digits.size() > 1 && term.digits[0] == 0; });
}

std::vector<int> draw_digits(RandomStream& random, int64_t n) {
  std::vector<int> digits;
  for (int64_t i = 0; i < n; ++i) digits.push_back(static_cast<int>(draw_between(random, i == 0 && n > 1 ? 1 : 0, 9)));
  return digits;
}

std::vector<int> digits_of(int64_t number) {
  std::vector<int> digits;
  for (const char digit : std::to_string(number)) digits.push_back(digit - '0');
  return digits;
}

/// A sum that is not negative. Label first: its value is uniform, the last term makes up for the others.
Sum draw_sum(RandomStream& random, const Size& size, Sampler sampler) {
  for (;;) {
    Sum sum;
    for (int64_t i = 0; i < size.n_terms; ++i) {
      int64_t n_digits = draw_between(random, size.min_digits, size.max_digits);
      if (i == 0) n_digits = size.max_digits;
      sum.push_back({.minus = i > 0 && draw_chance(random, 0.4), .digits = draw_digits(random, n_digits)});
    }
    if (sampler == Sampler::kLabelsFirst) {
      int64_t limit = 2;
      for (int64_t i = 0; i < size.max_digits; ++i) limit *= 10;
      Term& last = sum.back();
      last.digits = {0};
      int64_t missing = static_cast<int64_t>(random.next_below(static_cast<uint64_t>(limit))) - value_of(sum);
      last.minus = missing < 0;
      last.digits = digits_of(std::abs(missing));
      if (static_cast<int64_t>(last.digits.size()) > size.max_digits) continue;
    }
    if (value_of(sum) >= 0) return sum;
  }
}

/// The same digits and signs elsewhere: all anew, or one pair exchanged.
Sum rearrange(RandomStream& random, const Sum& sum) {
  Sum other = sum;
  std::vector<int*> digits;
  for (Term& term : other) {
    for (int& digit : term.digits) digits.push_back(&digit);
  }
  if (draw_chance(random, 0.3)) {
    for (size_t i = digits.size(); i > 1; --i) std::swap(*digits[i - 1], *digits[random.next_below(i)]);
  } else {
    std::swap(*digits[random.next_below(digits.size())], *digits[random.next_below(digits.size())]);
  }
  if (other.size() > 2 && draw_chance(random, 0.3)) {
    std::swap(other[1 + random.next_below(other.size() - 1)].minus, other[1 + random.next_below(other.size() - 1)].minus);
  }
  return other;
}

/// Two arrangements of other values (modulo `modulus`, where it is not 0), both not negative. Of some tries the nearest is
/// taken, one with the same last digit where there is one, or any, so that no one column and no estimate gives the answer away.
bool draw_pair(RandomStream& random, const Size& size, Sampler sampler, int64_t modulus, std::pair<Sum, Sum>& pair) {
  const Sum sum = draw_sum(random, size, sampler);
  const int64_t value = value_of(sum);
  const uint64_t wanted = random.next_below(3);
  int64_t best = INT64_MAX;
  for (int n = 0; n < 24; ++n) {
    Sum other = rearrange(random, sum);
    const int64_t other_value = value_of(other), distance = std::abs(value - other_value);
    if (other_value < 0 || !is_well_formed(other) || (modulus > 0 ? distance % modulus : distance) == 0) continue;
    int64_t penalty = distance;
    if (wanted == 0) penalty = n;
    if (wanted == 1 && distance % 10 != 0) penalty += 1000000;
    if (penalty >= best) continue;
    best = penalty;
    pair = {sum, std::move(other)};
  }
  return best < INT64_MAX;
}

std::string write(const Sum& sum, std::string (*number)(int64_t), std::string_view plus, std::string_view minus) {
  std::string text;
  for (const Term& term : sum) {
    if (!text.empty()) ((text += ' ') += term.minus ? minus : plus) += ' ';
    text += number(term.number());
  }
  return text;
}
std::string figures(const Sum& sum) { return write(sum, in_figures, "+", "-"); }
std::string words(const Sum& sum) { return write(sum, in_words, "plus", "minus"); }

std::string canonical_form(const Sum& sum) {
  std::vector<std::string> terms;
  for (const Term& term : sum) terms.push_back((term.minus ? "-" : "+") + std::to_string(term.number()));
  std::sort(terms.begin(), terms.end());
  return join(terms, "");
}

/// What stands behind the sum.
struct Question {
  std::string relation;  ///< ≡ < >
  Sum right;
  int64_t modulus = 0;   ///< 0: none
};

bool holds(int64_t left, const Question& question) {
  const int64_t right = value_of(question.right);
  if (question.relation == "<") return left < right;
  if (question.relation == ">") return left > right;
  return question.modulus > 0 ? (left - right) % question.modulus == 0 : left == right;
}

/// In figures a negative number on the way is "- 5".
std::string signed_figures(int64_t number) { return (number < 0 ? "- " : "") + in_figures(std::abs(number)); }

Item make_item(const Sum& left, const Question& question, int64_t depth) {
  const std::string modulus = question.modulus > 0 ? in_figures(question.modulus) : "";
  const std::string& relation = question.relation;
  Item item;
  item.depth = depth;
  item.symbolic = figures(left) + " " + relation + " " + figures(question.right) + (modulus.empty() ? "" : " mod " + modulus) + " ?";
  item.english = "Is " + words(left) + (relation == "<" ? " less than " : relation == ">" ? " greater than " : " equal to ") + words(question.right) +
                 (modulus.empty() ? "" : " modulo " + in_words(question.modulus)) + " ?";
  item.answer = holds(value_of(left), question) ? kTrue : kFalse;
  int64_t total = left[0].number();
  for (size_t i = 1; i < left.size(); ++i) item.steps.push_back(signed_figures(total += left[i].minus ? -left[i].number() : left[i].number()));
  if (question.modulus > 0) item.steps.push_back(in_figures(total %= question.modulus));
  item.steps.push_back(in_figures(total) + " " + relation + " " + in_figures(value_of(question.right)));
  item.canonical = sorted_symbols(item.symbolic) + "|" + canonical_form(left) + relation + canonical_form(question.right) + "mod" + std::to_string(question.modulus);
  return item;
}

[[noreturn]] void reject(const Item& item) {
  throw Error(ErrorKind::kData, "no question about sums: " + item.symbolic, "such questions read 1 7 + 5 ≡ 2 2 ? or 1 7 + 5 ≡ 2 mod 1 0 ? or 1 7 - 5 < 8 + 9 ?");
}

/// The sum from symbol `at` on, which moves behind it.
Sum parse_sum(const Item& item, const std::vector<std::string_view>& symbols, size_t& at) {
  Sum sum(1);
  for (; at < symbols.size(); ++at) {
    const int digit = digit_value(symbols[at]);
    if (digit >= 0 && sum.back().digits.size() < 15) {
      sum.back().digits.push_back(digit);
    } else if ((symbols[at] == "+" || symbols[at] == "-") && !sum.back().digits.empty()) {
      sum.push_back({.minus = symbols[at] == "-"});
    } else {
      break;
    }
  }
  if (sum.back().digits.empty()) reject(item);
  return sum;
}

/// Decimal numbers, last digit first, added and compared as at school.
using Decimal = std::vector<int>;

Decimal add(const Decimal& a, const Decimal& b) {
  Decimal sum;
  int carry = 0;
  for (size_t i = 0; i < std::max(a.size(), b.size()) || carry > 0; ++i) {
    const int column = carry + (i < a.size() ? a[i] : 0) + (i < b.size() ? b[i] : 0);
    sum.push_back(column % 10);
    carry = column / 10;
  }
  return sum;
}

/// -1, 0, 1 as a < b, a = b, a > b.
int compare(const Decimal& a, const Decimal& b) {
  for (size_t i = std::max(a.size(), b.size()); i-- > 0;) {
    const int da = i < a.size() ? a[i] : 0, db = i < b.size() ? b[i] : 0;
    if (da != db) return da < db ? -1 : 1;
  }
  return 0;
}

class Arithmetic : public Family {
 public:
  std::string name() const override { return "arithmetic"; }
  std::string description() const override { return "equality, congruence and comparison of sums of numbers written digit by digit"; }
  int64_t max_depth() const override { return static_cast<int64_t>(kSizes.size()); }
  double chance(int64_t) const override { return 0.5; }

  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    const Size& size = kSizes.at(static_cast<size_t>(how.depth - 1));
    for (;;) {
      const uint64_t kind = random.next_below(3);
      Question question{.relation = "≡", .right = Sum(1)};
      if (kind == 1) question.modulus = draw_between(random, 2, size.max_modulus);
      std::pair<Sum, Sum> pair;
      if (!draw_pair(random, size, how.sampler, question.modulus, pair)) continue;
      if (draw_chance(random, 0.5)) std::swap(pair.first, pair.second);
      int64_t right = value_of(pair.first);
      if (kind == 1) right %= question.modulus;
      if (kind == 2) {  // a number between the two values
        const int64_t low = std::min(right, value_of(pair.second)), high = std::max(right, value_of(pair.second));
        const bool less = draw_chance(random, 0.5);
        question.relation = less ? "<" : ">";
        right = less ? draw_between(random, low + 1, high) : draw_between(random, low, high - 1);
      }
      question.right[0].digits = digits_of(right);
      if (kind == 2 && draw_chance(random, 0.5)) {  // ... or a sum of two
        const int64_t part = draw_between(random, 0, right);
        question.right = {{.digits = digits_of(part)}, {.digits = digits_of(right - part)}};
      }
      return {make_item(pair.first, question, how.depth), make_item(pair.second, question, how.depth)};
    }
  }

  /// Integers.
  std::string solve(const Item& item) const override {
    const std::vector<std::string_view> symbols = split_views(item.symbolic);
    size_t at = 0;
    const Sum left = parse_sum(item, symbols, at);
    if (at == symbols.size()) reject(item);
    Question question{.relation = std::string(symbols[at++]), .right = {}};
    if (question.relation != "≡" && question.relation != "<" && question.relation != ">") reject(item);
    question.right = parse_sum(item, symbols, at);
    if (at < symbols.size() && symbols[at] == "mod") {
      question.modulus = value_of(parse_sum(item, symbols, ++at));
      if (question.modulus <= 0) reject(item);
    }
    if (at + 1 != symbols.size() || symbols[at] != "?") reject(item);
    return std::string(holds(value_of(left), question) ? kTrue : kFalse);
  }

  /// Columns of digits: terms with a minus go to the other side; the modulus is added to the lesser side until it is not less.
  std::string solve_by_search(const Item& item) const override {
    std::array<Decimal, 2> sides;
    Decimal modulus, number;
    std::string relation;
    int side = 0;
    bool minus = false, after_mod = false;
    for (const std::string& symbol : split_symbols(item.symbolic)) {
      if (symbol.size() == 1 && symbol[0] >= '0' && symbol[0] <= '9') {
        number.insert(number.begin(), symbol[0] - '0');
        continue;
      }
      if (number.empty()) reject(item);
      Decimal& goes_to = after_mod ? modulus : sides[static_cast<size_t>(minus ? 1 - side : side)];
      goes_to = add(goes_to, number);
      number.clear();
      minus = symbol == "-";
      if (symbol == "mod") {
        after_mod = true;
      } else if (symbol != "+" && symbol != "-" && symbol != "?") {
        relation = symbol;
        side = 1;
      }
    }
    int order = compare(sides[0], sides[1]);
    if (after_mod) {
      if (compare(modulus, {}) == 0) reject(item);
      const int before = order;
      Decimal& less = sides[order < 0 ? 0 : 1];
      while (order != 0 && order == before) {
        less = add(less, modulus);
        order = compare(sides[0], sides[1]);
      }
    }
    if (relation != "≡" && relation != "<" && relation != ">") reject(item);
    return std::string((relation == "≡" ? order == 0 : relation == "<" ? order < 0 : order > 0) ? kTrue : kFalse);
  }
};

}  // namespace

std::unique_ptr<Family> make_arithmetic() { return std::make_unique<Arithmetic>(); }

}  // namespace entrain::reasoning
