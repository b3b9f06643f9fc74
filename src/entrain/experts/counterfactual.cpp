#include "entrain/experts/counterfactual.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

namespace entrain::experts {
namespace {

bool is_letter(std::string_view symbol) { return symbol.size() == 1 && std::isalpha(static_cast<unsigned char>(symbol[0])) != 0; }

/// Calls `use` with each piece of `text` between spaces.
template <class Use>
void each_symbol(std::string_view text, const Use& use) {
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    use(text.substr(begin, end - begin));
    begin = end + 1;
  }
}

bool same_lengths(const Example& a, const Example& b) {
  return std::equal(a.prompts.begin(), a.prompts.end(), b.prompts.begin(), b.prompts.end(), [](const auto& x, const auto& y) { return x.size() == y.size(); });
}

}  // namespace

LetterMap draw_letter_map(const std::string& text, RandomStream& random) {
  std::set<char> capitals, small;
  each_symbol(text, [&](std::string_view symbol) {
    if (is_letter(symbol)) (std::isupper(static_cast<unsigned char>(symbol[0])) != 0 ? capitals : small).insert(symbol[0]);
  });
  LetterMap map;
  for (const std::set<char>& letters : {capitals, small}) {
    if (letters.size() < 2) continue;
    // One cycle through a random order: no letter stays.
    const std::vector<char> sorted(letters.begin(), letters.end());
    const std::vector<uint32_t> order = permutation(random, static_cast<uint32_t>(sorted.size()));
    for (size_t k = 0; k < order.size(); ++k) map[sorted[order[k]]] = sorted[order[(k + 1) % order.size()]];
  }
  return map;
}

std::string rename_letters(const std::string& text, const LetterMap& map) {
  std::string out;
  each_symbol(text, [&](std::string_view symbol) {
    if (!out.empty() || symbol.data() != text.data()) out += ' ';
    const auto found = is_letter(symbol) ? map.find(symbol[0]) : map.end();
    if (found != map.end()) {
      out += found->second;
    } else {
      out += symbol;
    }
  });
  return out;
}

std::vector<ExamplePair> counterfactual_pairs(std::span<const reasoning::Item> items, const MakeExample& make) {
  std::map<std::pair<std::string, uint64_t>, std::vector<const reasoning::Item*>> groups;
  std::vector<std::pair<std::string, uint64_t>> order;  // of first appearance
  for (const reasoning::Item& item : items) {
    auto& group = groups[{item.family, item.group}];
    if (group.empty()) order.emplace_back(item.family, item.group);
    group.push_back(&item);
  }
  std::vector<ExamplePair> pairs;
  for (const auto& key : order) {
    const auto& group = groups[key];
    std::vector<Example> examples;
    for (const reasoning::Item* item : group) examples.push_back(make(*item));
    bool found = false;
    for (size_t a = 0; a < group.size() && !found; ++a) {
      for (size_t b = a + 1; b < group.size() && !found; ++b) {
        found = group[a]->answer != group[b]->answer && same_lengths(examples[a], examples[b]);
        if (found) pairs.push_back({examples[a], examples[b]});
      }
    }
  }
  return pairs;
}

std::vector<ExamplePair> equivalent_pairs(std::span<const reasoning::Item> items, const MakeExample& make, uint64_t seed) {
  std::vector<ExamplePair> pairs;
  for (const reasoning::Item& item : items) {
    RandomStream random = stream(seed, "depth/rename", item.hash.high, item.hash.low);
    const LetterMap map = draw_letter_map(item.symbolic, random);
    if (map.empty()) continue;
    reasoning::Item renamed = item;
    renamed.symbolic = rename_letters(item.symbolic, map);
    for (std::string& view : renamed.views) view = rename_letters(view, map);
    ExamplePair pair{make(item), make(renamed)};
    if (same_lengths(pair.clean, pair.other)) pairs.push_back(std::move(pair));
  }
  return pairs;
}

}  // namespace entrain::experts
