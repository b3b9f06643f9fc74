#include "entrain/reasoning/relay.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/numbers.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

struct Fact {
  std::string from, to;
};

struct Question {
  std::vector<Fact> facts;
  std::string asked;
};

[[noreturn]] void reject(const Item& item) {
  throw Error(ErrorKind::kData, "no relay question: " + item.symbolic, "such questions read a → b ; b → 7 ? a");
}

Question parse(const Item& item) {
  const std::vector<std::string> symbols = split_symbols(item.symbolic);
  if (symbols.size() < 5 || symbols.size() % 4 != 1 || symbols[symbols.size() - 2] != "?") reject(item);
  Question question{.facts = {}, .asked = symbols.back()};
  for (size_t i = 0; i + 2 < symbols.size(); i += 4) {
    if (symbols[i + 1] != "→" || symbols[i + 3] != (i + 5 == symbols.size() ? "?" : ";")) reject(item);
    question.facts.push_back({symbols[i], symbols[i + 2]});
  }
  return question;
}

/// The facts' numbers chain by chain in order, the asked chain first. A chain begins at a name that no fact leads to, or at the asked one.
std::vector<std::vector<size_t>> chains_of(const Item& item, const Question& question) {
  std::map<std::string, size_t> from;
  std::map<std::string, int> n_to;
  for (size_t i = 0; i < question.facts.size(); ++i) {
    from[question.facts[i].from] = i;
    ++n_to[question.facts[i].to];
  }
  std::vector<std::string> heads = {question.asked};
  for (const Fact& fact : question.facts) {
    if (fact.from != question.asked && !n_to.contains(fact.from)) heads.push_back(fact.from);
  }
  std::vector<std::vector<size_t>> chains;
  for (const std::string& head : heads) {
    chains.emplace_back();
    for (auto at = from.find(head); at != from.end(); at = from.find(question.facts[at->second].to)) {
      if (chains.back().size() == question.facts.size()) reject(item);  // a circle
      chains.back().push_back(at->second);
    }
  }
  return chains;
}

/// holds[i][f]: expert i holds fact f.
std::vector<std::string> write_views(const Question& question, const std::vector<std::vector<bool>>& holds) {
  std::vector<std::string> views;
  for (const std::vector<bool>& held : holds) {
    std::string view;
    for (size_t f = 0; f < held.size(); ++f) {
      const Fact& fact = question.facts[f];
      view += (f == 0 ? "" : " ; ") + (held[f] ? fact.from + " → " + fact.to : std::string("· → ·"));
    }
    views.push_back(view + " ? " + question.asked);
  }
  return views;
}

/// n experts out of [first, first + count), neighbours different where count > 1.
std::vector<size_t> draw_holders(RandomStream& random, size_t n, size_t first, size_t count) {
  std::vector<size_t> holders;
  for (size_t i = 0; i < n; ++i) {
    if (i == 0 || count == 1) {
      holders.push_back(first + random.next_below(count));
    } else {
      const size_t other = first + random.next_below(count - 1);
      holders.push_back(other + (other >= holders.back() ? 1 : 0));
    }
  }
  return holders;
}

Item make_item(const std::vector<Fact>& facts, const std::map<std::string, std::string>& nouns, const std::string& asked, int64_t depth) {
  Item item;
  item.depth = depth;
  std::vector<std::string> sorted, named;
  std::string digits;
  std::map<std::string, const std::string*> next;
  const auto word = [&](const std::string& symbol) { return nouns.contains(symbol) ? nouns.at(symbol) : in_words(digit_value(symbol)); };
  for (const Fact& fact : facts) {
    item.symbolic += (item.symbolic.empty() ? "" : " ; ") + fact.from + " → " + fact.to;
    item.english += word(fact.from) + " leads to " + word(fact.to) + " . ";
    sorted.push_back(fact.from + "→" + fact.to);
    named.push_back(nouns.contains(fact.to) ? sorted.back() : fact.from);
    if (!nouns.contains(fact.to)) digits += fact.to;
    next[fact.from] = &fact.to;
  }
  item.symbolic += " ? " + asked;
  item.english += "Where does " + word(asked) + " end ?";
  for (const std::string* at = &asked; next.contains(*at); at = next.at(*at)) {
    item.answer = *next.at(*at);
    item.steps.push_back(*at + " → " + item.answer);
  }
  // All structures of a depth are alike: the names are what there is to tell apart, so they stay; the order goes.
  std::sort(sorted.begin(), sorted.end());
  std::sort(named.begin(), named.end());
  std::sort(digits.begin(), digits.end());
  item.canonical = join(named, ";") + ";" + digits + "?" + asked + "|" + join(sorted, ";");
  return item;
}

class Relay : public Family {
 public:
  std::string name() const override { return "relay"; }
  std::string description() const override { return "following arrows to a digit, the facts divided over experts"; }
  int64_t max_depth() const override { return 6; }
  double chance(int64_t) const override { return 1.0 / static_cast<double>(kRelayChains); }

  /// Both samplers are the same here: label and structure are drawn independently of each other.
  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    const size_t n_chains = static_cast<size_t>(kRelayChains), depth = static_cast<size_t>(how.depth);
    const std::vector<std::string> names = draw_names(random, NameKind::kLower, how.names, n_chains * depth);
    const std::vector<std::string> words = draw_names(random, NameKind::kNoun, how.names, names.size());
    std::map<std::string, std::string> nouns;
    for (size_t i = 0; i < names.size(); ++i) nouns[names[i]] = words[i];
    const std::vector<uint32_t> digits = permutation(random, 10);
    const std::vector<uint32_t> order = permutation(random, static_cast<uint32_t>(names.size()));

    std::vector<Item> group;
    for (size_t turn = 0; turn < n_chains; ++turn) {
      std::vector<Fact> facts(names.size());
      for (size_t chain = 0; chain < n_chains; ++chain) {
        for (size_t hop = 0; hop < depth; ++hop) {
          const size_t at = chain * depth + hop;
          const bool last = hop + 1 == depth;
          facts[order[at]] = {names[at], last ? std::to_string(digits[(chain + turn) % n_chains]) : names[at + 1]};
        }
      }
      Item item = make_item(facts, nouns, names[0], how.depth);
      item.family = name();
      item.views = relay_views(item, 3, 0, random);
      group.push_back(std::move(item));
    }
    return group;
  }

  /// Follows the arrows.
  std::string solve(const Item& item) const override {
    const Question question = parse(item);
    const auto chains = chains_of(item, question);
    if (chains[0].empty()) reject(item);
    const std::string& end = question.facts[chains[0].back()].to;
    if (digit_value(end) < 0) reject(item);
    return end;
  }

  /// Closure by rewriting: every right side that is some fact's left side is replaced, all at once, until nothing changes.
  std::string solve_by_search(const Item& item) const override {
    std::vector<std::string> pieces = split_at(item.symbolic, "?");
    if (pieces.size() != 2) reject(item);
    std::vector<std::vector<std::string>> facts;
    for (const std::string& fact : split_at(pieces[0], ";")) facts.push_back(split_at(fact, "→"));
    for (size_t round = 0; round <= facts.size(); ++round) {
      bool changed = false;
      for (auto& fact : facts) {
        if (fact.size() != 2) reject(item);
        for (const auto& other : facts) {
          if (other[0] != fact[1]) continue;
          fact[1] = other.at(1);
          changed = true;
          break;
        }
      }
      if (!changed) break;
    }
    for (const auto& fact : facts) {
      if (fact[0] == pieces[1] && digit_value(fact[1]) >= 0) return fact[1];
    }
    reject(item);
  }
};

}  // namespace

std::vector<std::string> relay_views(const Item& item, int64_t n_experts, double overlap, RandomStream& random) {
  ENTRAIN_CHECK(n_experts >= 2 && overlap >= 0 && overlap <= 1, std::to_string(n_experts) + " experts, overlap " + std::to_string(overlap));
  const Question question = parse(item);
  const auto chains = chains_of(item, question);
  const size_t n = static_cast<size_t>(n_experts);
  size_t longest = 0;
  for (const auto& chain : chains) longest = std::max(longest, chain.size());
  const std::vector<size_t> holders = draw_holders(random, longest, 1, n - 1);
  std::vector<std::vector<bool>> holds(n, std::vector<bool>(question.facts.size()));
  for (size_t c = 0; c < chains.size(); ++c) {
    for (size_t hop = 0; hop < chains[c].size(); ++hop) {
      const size_t fact = chains[c][hop], holder = c > 0 && hop == 0 ? 0 : holders[hop];
      holds[holder][fact] = true;
      if (!draw_chance(random, overlap)) continue;
      // One further: any of 1 .. n - 1 but the holder.
      const size_t n_others = holder == 0 ? n - 1 : n - 2;
      if (n_others == 0) continue;
      const size_t other = 1 + random.next_below(n_others);
      holds[holder > 0 && other >= holder ? other + 1 : other][fact] = true;
    }
  }
  return write_views(question, holds);
}

std::vector<std::string> relay_views_by_thirds(const Item& item, int64_t n_experts, RandomStream& random) {
  ENTRAIN_CHECK(n_experts >= 2, std::to_string(n_experts) + " experts");
  const Question question = parse(item);
  const size_t n = static_cast<size_t>(n_experts);
  std::vector<std::vector<bool>> holds(n, std::vector<bool>(question.facts.size()));
  for (const auto& chain : chains_of(item, question)) {
    const std::vector<size_t> holders = draw_holders(random, chain.size(), 0, n);
    for (size_t hop = 0; hop < chain.size(); ++hop) holds[holders[hop]][chain[hop]] = true;
  }
  return write_views(question, holds);
}

std::unique_ptr<Family> make_relay() { return std::make_unique<Relay>(); }

}  // namespace entrain::reasoning
