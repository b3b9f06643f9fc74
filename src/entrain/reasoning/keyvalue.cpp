#include "entrain/reasoning/keyvalue.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/numbers.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

constexpr std::string_view kKeySymbols = "abcdefghijklmnopqr0123456789";
constexpr uint64_t kDictionary = 2401'02412;  // the dictionary never changes: it is what models know

struct Dictionary {
  std::array<std::vector<std::string>, 2> keys;          ///< by KeySet
  std::unordered_map<std::string, std::pair<int, KeySet>> entries;
};

/// Keys in the order of their hashes: the first quarter is held out; digits go round.
const Dictionary& dictionary() {
  static const Dictionary made = [] {
    std::vector<std::pair<uint64_t, std::string>> order;
    for (const char a : kKeySymbols) {
      for (const char b : kKeySymbols) {
        const std::string key = {a, ' ', b};
        order.emplace_back(stream(kDictionary, key).next_u64(), key);
      }
    }
    std::sort(order.begin(), order.end());
    Dictionary result;
    for (size_t i = 0; i < order.size(); ++i) {
      const KeySet set = i < order.size() / 4 ? KeySet::kHeldOut : KeySet::kJoint;
      std::vector<std::string>& of_set = result.keys[static_cast<size_t>(set)];
      result.entries[order[i].second] = {static_cast<int>(of_set.size() % 10), set};
      of_set.push_back(order[i].second);
    }
    return result;
  }();
  return made;
}

[[noreturn]] void reject(std::string_view text) {
  throw Error(ErrorKind::kData, "no question about key values: " + std::string(text), "such questions read k a 3 + k c d ?");
}

Item make_item(const std::vector<std::string>& terms) {
  std::vector<std::string> sorted = terms;
  std::sort(sorted.begin(), sorted.end());
  Item item;
  item.family = "keyvalue";
  item.depth = static_cast<int64_t>(terms.size()) - 1;
  int total = 0;
  for (const std::string& key : terms) {
    const int value = key_value(key);
    item.symbolic += (item.symbolic.empty() ? "k " : " + k ") + key;
    item.english += (item.english.empty() ? "What is the last digit of the value of " : " plus the value of ") + key;
    item.steps.push_back("k " + key + " : " + in_figures(value));
    total += value;
  }
  item.symbolic += " ?";
  item.english += " ?";
  int sum = key_value(terms[0]);
  for (size_t i = 1; i < terms.size(); ++i) {
    const int value = key_value(terms[i]);
    item.steps.push_back(in_figures(sum) + " + " + in_figures(value) + " : " + in_figures((sum + value) % 10));
    sum = (sum + value) % 10;
  }
  item.answer = in_figures(total % 10);
  // Keys mean themselves: they are not renamed.
  item.canonical = sorted_symbols(item.symbolic) + "|" + join(sorted, "+");
  return item;
}

std::optional<KeySet> set_of(const std::string& key) {
  const auto found = dictionary().entries.find(key);
  return found == dictionary().entries.end() ? std::nullopt : std::optional(found->second.second);
}

/// Other pairings of the same symbols, one exchange away, whose keys are all of `set`.
std::vector<std::vector<std::string>> exchanged(const std::vector<std::string>& terms, KeySet set) {
  std::vector<std::vector<std::string>> found;
  const size_t n = 2 * terms.size();
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i + 1; j < n; ++j) {
      std::vector<std::string> other = terms;
      char &a = other[i / 2][2 * (i % 2)], &b = other[j / 2][2 * (j % 2)];
      if (a == b) continue;
      std::swap(a, b);
      if (set_of(other[i / 2]) == set && set_of(other[j / 2]) == set) found.push_back(std::move(other));
    }
  }
  return found;
}

/// Keys between "k" and "+" or "?".
std::vector<std::string> parse(const Item& item) {
  const std::vector<std::string> parts = split_at(item.symbolic, "?");
  if (parts.size() != 2 || !parts[1].empty()) reject(item.symbolic);
  std::vector<std::string> terms;
  for (const std::string& part : split_at(parts[0], "+")) {
    if (part.size() != 5 || !part.starts_with("k ") || !set_of(part.substr(2))) reject(item.symbolic);
    terms.push_back(part.substr(2));
  }
  return terms;
}

class KeyValue : public Family {
 public:
  std::string name() const override { return "keyvalue"; }
  std::string description() const override { return "sums of digits that a fixed dictionary gives to keys and no prompt shows"; }
  int64_t max_depth() const override { return 4; }
  double chance(int64_t) const override { return 0.1; }

  /// Label first: the last key is taken among those that make the sum a digit drawn before.
  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    const KeySet set = how.names == Names::kTrained ? KeySet::kJoint : KeySet::kHeldOut;
    const std::span<const std::string> known = keys(set);
    for (;;) {
      std::vector<std::string> terms;
      int total = 0;
      while (static_cast<int64_t>(terms.size()) <= how.depth) {
        terms.push_back(known[random.next_below(known.size())]);
        total += key_value(terms.back());
      }
      if (how.sampler == Sampler::kLabelsFirst) {
        const uint64_t missing = (random.next_below(10) + 100 - static_cast<uint64_t>(total - key_value(terms.back()))) % 10;
        const uint64_t n_fitting = (known.size() + 9 - missing) / 10;  // digits go round in keys()
        terms.back() = known[10 * random.next_below(n_fitting) + missing];
      }
      std::map<std::string, Item> by_answer;
      Item first = make_item(terms);
      by_answer.emplace(first.answer, first);
      auto others = exchanged(terms, set);
      shuffle(others, random);
      for (const auto& other : others) {
        Item item = make_item(other);
        by_answer.emplace(item.answer, std::move(item));
        if (by_answer.size() == 4) break;
      }
      if (by_answer.size() < 2) continue;
      std::vector<Item> group;
      for (auto& [answer, item] : by_answer) group.push_back(std::move(item));
      shuffle(group, random);
      return group;
    }
  }

  std::string solve(const Item& item) const override {
    int total = 0;
    for (const std::string& key : parse(item)) total += key_value(key);
    return in_figures(total % 10);
  }

  /// Looks every key up in the list of all keys, digit by digit, and counts on.
  std::string solve_by_search(const Item& item) const override {
    const std::vector<std::string> symbols = split_symbols(item.symbolic);
    int counted = 0;
    for (size_t i = 0; i + 3 < symbols.size(); i += 4) {
      bool found = false;
      for (const KeySet set : {KeySet::kJoint, KeySet::kHeldOut}) {
        const auto known = keys(set);
        for (size_t at = 0; at < known.size() && !found; ++at) {
          if (known[at][0] != symbols[i + 1][0] || known[at][2] != symbols[i + 2][0]) continue;
          found = true;
          for (size_t step = 0; step < at % 10; ++step) counted = counted == 9 ? 0 : counted + 1;
        }
      }
      if (!found || symbols[i] != "k" || symbols[i + 3] != (i + 4 == symbols.size() ? "?" : "+")) reject(item.symbolic);
    }
    if (symbols.size() < 4 || symbols.size() % 4 != 0) reject(item.symbolic);
    return std::to_string(counted);
  }
};

}  // namespace

std::span<const std::string> keys(KeySet set) { return dictionary().keys[static_cast<size_t>(set)]; }

int key_value(std::string_view key) {
  const auto found = dictionary().entries.find(std::string(key));
  return found == dictionary().entries.end() ? -1 : found->second.first;
}

Item key_question(std::string_view key) {
  const int value = key_value(key);
  if (value < 0) reject("k " + std::string(key) + " ?");
  Item item;
  item.family = "keyvalue";
  item.depth = 1;
  item.symbolic = "k " + std::string(key) + " ?";
  item.english = "What is the value of " + std::string(key) + " ?";
  item.answer = in_figures(value);
  item.canonical = "k " + std::string(key);
  item.hash = canonical_hash(item.family, item.canonical);
  return item;
}

Item sum_question(int a, int b) {
  ENTRAIN_CHECK(a >= 0 && a <= 9 && b >= 0 && b <= 9, std::to_string(a) + " + " + std::to_string(b));
  Item item;
  item.family = "keyvalue";
  item.depth = 1;
  item.symbolic = in_figures(a) + " + " + in_figures(b) + " ?";
  item.english = "What is the last digit of " + in_words(a) + " plus " + in_words(b) + " ?";
  item.answer = in_figures((a + b) % 10);
  item.canonical = in_figures(std::min(a, b)) + " + " + in_figures(std::max(a, b));
  item.hash = canonical_hash(item.family, item.canonical);
  return item;
}

std::unique_ptr<Family> make_keyvalue() { return std::make_unique<KeyValue>(); }

}  // namespace entrain::reasoning
