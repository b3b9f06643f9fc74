#include "entrain/reasoning/syllogisms.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "entrain/base/error.h"
#include "entrain/reasoning/graph.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

enum class Form { kAll, kSome, kNo };
constexpr std::array<std::string_view, 3> kFormWords = {"All", "Some", "No"};

struct Statement {
  Form form = Form::kAll;
  int first = 0, second = 0;
};

struct Argument {
  std::vector<Statement> premises;
  Statement conclusion;
  int n_terms = 0;
};

[[noreturn]] void not_syllogism(const std::string& text) {
  throw Error(ErrorKind::kData, "not an item of family quantifiers: \"" + text + "\"");
}

[[noreturn]] void contradictory(const std::string& text) {
  throw Error(ErrorKind::kData, "the premises contradict each other: \"" + text + "\"");
}

Argument parse(const std::string& text) {
  const auto halves = split_at(text, "?");
  if (halves.size() != 2) not_syllogism(text);
  Argument argument;
  std::map<std::string, int> numbers;
  const auto statement = [&](const std::string& words) -> Statement {
    const auto symbols = split_symbols(words);
    if (symbols.size() != 3) not_syllogism(text);
    const auto form = std::find(kFormWords.begin(), kFormWords.end(), symbols[0]);
    if (form == kFormWords.end()) not_syllogism(text);
    const int first = numbers.try_emplace(symbols[1], static_cast<int>(numbers.size())).first->second;
    const int second = numbers.try_emplace(symbols[2], static_cast<int>(numbers.size())).first->second;
    return {static_cast<Form>(form - kFormWords.begin()), first, second};
  };
  for (const std::string& words : split_at(halves[0], ";")) argument.premises.push_back(statement(words));
  argument.conclusion = statement(halves[1]);
  argument.n_terms = static_cast<int>(numbers.size());
  return argument;
}

/// A thing that has to exist: it is all of `is`, and not `is_not` (-1: nothing).
struct Witness {
  std::vector<int> is;
  int is_not = -1;
};

Witness witness_of(const Statement& some) { return {{some.first, some.second}, -1}; }

// The statement that says the contrary: of "All" a witness, of "Some" the "No".
struct Contrary {
  std::optional<Statement> universal;
  std::optional<Witness> witness;
};

Contrary contrary(const Statement& statement) {
  switch (statement.form) {
    case Form::kAll: return {std::nullopt, Witness{{statement.first}, statement.second}};
    case Form::kSome: return {Statement{Form::kNo, statement.first, statement.second}, std::nullopt};
    default: return {std::nullopt, witness_of(statement)};
  }
}

// Both solvers ask whether the premises go together with the conclusion and with its contrary. Universal premises restrict each thing
// by itself, so premises go together exactly if every witness can exist by itself.
template <class CanExist>
std::string decide(const Argument& argument, const std::string& text, const CanExist& can_exist) {
  std::vector<Statement> universals;
  std::vector<Witness> witnesses;
  for (const Statement& premise : argument.premises) {
    if (premise.form == Form::kSome) {
      witnesses.push_back(witness_of(premise));
    } else {
      universals.push_back(premise);
    }
  }
  const auto together = [&](const std::optional<Statement>& universal, const std::optional<Witness>& witness) {
    auto rules = universals;
    auto things = witnesses;
    if (universal) rules.push_back(*universal);
    if (witness) things.push_back(*witness);
    return std::all_of(things.begin(), things.end(), [&](const Witness& thing) { return can_exist(rules, thing, argument.n_terms); });
  };
  const Statement& conclusion = argument.conclusion;
  const Contrary opposite = contrary(conclusion);
  const bool may_hold = conclusion.form == Form::kSome ? together({}, witness_of(conclusion)) : together(conclusion, {});
  const bool may_fail = together(opposite.universal, opposite.witness);
  if (!may_hold && !may_fail) contradictory(text);
  return std::string(may_hold && may_fail ? kUncertain : may_hold ? kTrue : kFalse);
}

bool exists_by_closure(const std::vector<Statement>& rules, const Witness& thing, int n_terms) {
  std::vector<bool> is(static_cast<size_t>(n_terms), false);
  for (const int term : thing.is) is[static_cast<size_t>(term)] = true;
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [form, first, second] : rules) {
      if (form != Form::kAll || !is[static_cast<size_t>(first)] || is[static_cast<size_t>(second)]) continue;
      is[static_cast<size_t>(second)] = true;
      changed = true;
    }
  }
  if (thing.is_not >= 0 && is[static_cast<size_t>(thing.is_not)]) return false;
  return std::none_of(rules.begin(), rules.end(), [&](const Statement& rule) {
    return rule.form == Form::kNo && is[static_cast<size_t>(rule.first)] && is[static_cast<size_t>(rule.second)];
  });
}

bool exists_by_enumeration(const std::vector<Statement>& rules, const Witness& thing, int n_terms) {
  for (uint32_t kind = 0; kind < uint32_t{1} << n_terms; ++kind) {
    const auto has = [&](int term) { return (kind >> term & 1) != 0; };
    bool allowed = thing.is_not < 0 || !has(thing.is_not);
    for (const int term : thing.is) allowed = allowed && has(term);
    for (size_t i = 0; i < rules.size() && allowed; ++i) {
      const bool both = has(rules[i].first) && has(rules[i].second);
      allowed = rules[i].form == Form::kNo ? !both : !has(rules[i].first) || both;
    }
    if (allowed) return true;
  }
  return false;
}

/// Where "Some", "No" and the question stand over the graph of "All".
struct Roles {
  std::pair<int, int> some, no, asked;
};

class Builder {
 public:
  Builder(RandomStream& random, int n_premises, const Draw& how)
      : random_(random),
        n_premises_(n_premises),
        asked_form_(static_cast<Form>(random.next_below(3))),
        graph_(draw_graph(random, asked_form_ == Form::kAll ? n_premises : n_premises - 1,
                          std::max(n_premises + 2, 6) + static_cast<int>(random.next_below(3)), how.sampler)),
        distance_(graph_),
        degrees_(graph_) {}

  /// Roles for a true, an uncertain and a false item whose terms can be exchanged; nothing where none were met.
  std::optional<std::vector<Roles>> draw() {
    for (int tries = 0; tries < 20; ++tries) {
      const auto roles = proof(asked_form_ == Form::kNo ? kFalse : kTrue);
      if (!roles) continue;
      const auto opposite = matching(*roles, asked_form_ == Form::kNo ? kTrue : kFalse);
      if (!opposite) continue;
      const auto open = matching(*roles, kUncertain);
      if (!open) continue;
      if (asked_form_ == Form::kNo) return std::vector<Roles>{*opposite, *open, *roles};
      return std::vector<Roles>{*roles, *open, *opposite};
    }
    return {};
  }

  std::string_view answer(const Roles& roles) const {
    const auto [p, q] = roles.asked;
    const bool refuted = both_no(roles, {p, q});  // nothing is p and q
    const bool shown = is(roles, p) && is(roles, q);
    if (asked_form_ == Form::kSome) return shown ? kTrue : refuted ? kFalse : kUncertain;
    if (asked_form_ == Form::kNo) return shown ? kFalse : refuted ? kTrue : kUncertain;
    if (distance_.reaches(p, q) || both_no(roles, {p})) return kTrue;
    return is(roles, p) && both_no(roles, {roles.some.first, roles.some.second, q}) ? kFalse : kUncertain;
  }

  std::vector<int> counts(const Roles& roles) const {
    std::vector<int> count;
    for (int node = 0; node < graph_.n_nodes; ++node) {
      int n = degrees_.total(node);
      for (const auto& pair : {roles.some, roles.no, roles.asked}) n += (pair.first == node) + (pair.second == node);
      count.push_back(n);
    }
    return count;
  }

  std::vector<Item> items(const std::vector<Roles>& all_roles, const Draw& how) {
    const auto n = static_cast<size_t>(graph_.n_nodes);
    const auto letters = draw_names(random_, NameKind::kUpper, how.names, n);
    const auto nouns = draw_names(random_, NameKind::kNoun, how.names, n);
    std::vector<int> order = {-1, -2};  // "Some" and "No" among the rules
    for (size_t i = 0; i < graph_.edges.size(); ++i) order.push_back(static_cast<int>(i));
    shuffle(order, random_);
    const std::string skeleton = graph_form(graph_, {}, {}) + std::string(kFormWords[static_cast<size_t>(asked_form_)]);
    const Roles& first = all_roles.front();
    std::vector<Item> group;
    for (const Roles& roles : all_roles) {
      const std::vector<std::pair<int, int>> pinned = {{first.asked.first, roles.asked.first}, {first.asked.second, roles.asked.second}};
      const auto names = rename_nodes(letters, counts(first), counts(roles), pinned);
      const auto words = rename_nodes(nouns, counts(first), counts(roles), pinned);
      ENTRAIN_CHECK(!names.empty(), "terms of a group can be exchanged");
      Item item;
      item.depth = how.depth;
      for (const int statement : order) {
        const Form form = statement == -1 ? Form::kSome : statement == -2 ? Form::kNo : Form::kAll;
        const auto pair = statement == -1 ? roles.some : statement == -2 ? roles.no : graph_.edges[static_cast<size_t>(statement)];
        const std::string word(kFormWords[static_cast<size_t>(form)]);
        item.symbolic += (item.symbolic.empty() ? "" : " ; ") + word + " " + at(names, pair.first) + " " + at(names, pair.second);
        item.english += word + " " + at(words, pair.first) + "s are " + at(words, pair.second) + "s . ";
      }
      const std::string word(kFormWords[static_cast<size_t>(asked_form_)]);
      item.symbolic += " ? " + word + " " + at(names, roles.asked.first) + " " + at(names, roles.asked.second);
      item.english += "Is it so that " + word + " " + at(words, roles.asked.first) + "s are " + at(words, roles.asked.second) + "s ?";
      item.answer = answer(roles);
      item.steps = steps(roles, names);
      item.canonical = skeleton + "|" + form_of(roles);
      group.push_back(std::move(item));
    }
    return group;
  }

 private:
  static const std::string& at(const std::vector<std::string>& names, int node) { return names[static_cast<size_t>(node)]; }

  int random_node() { return static_cast<int>(random_.next_below(static_cast<uint64_t>(graph_.n_nodes))); }
  std::pair<int, int> random_pair() {
    const int first = random_node();
    int second = random_node();
    while (second == first) second = random_node();
    return {first, second};
  }
  // A node `steps` above (or below) another, -1 where there is none.
  int walk(int from, int steps, bool upwards) {
    std::vector<int> ends;
    for (int node = 0; node < graph_.n_nodes; ++node) {
      if ((upwards ? distance_(from, node) : distance_(node, from)) == steps) ends.push_back(node);
    }
    return ends.empty() ? -1 : pick(ends, random_);
  }

  // What the thing that exists is bound to be.
  bool is(const Roles& roles, int term) const {
    return distance_.reaches(roles.some.first, term) || distance_.reaches(roles.some.second, term);
  }
  // Whether a thing that is all of `terms` would be both of the "No".
  bool both_no(const Roles& roles, const std::vector<int>& terms) const {
    const auto bound = [&](int term) {
      return std::any_of(terms.begin(), terms.end(), [&](int from) { return distance_.reaches(from, term); });
    };
    return bound(roles.no.first) && bound(roles.no.second);
  }
  // Fewest "All" from any of `terms` to one of the pair and from any of them to the other.
  int steps_to_pair(const std::vector<int>& terms, const std::pair<int, int>& pair) const {
    const auto steps_to = [&](int term) {
      int fewest = 1000;
      for (const int from : terms) {
        if (distance_.reaches(from, term)) fewest = std::min(fewest, distance_(from, term));
      }
      return fewest;
    };
    return steps_to(pair.first) + steps_to(pair.second);
  }
  // Premises that the shortest proof of a certain answer uses.
  int n_used(const Roles& roles) const {
    const auto [p, q] = roles.asked;
    const auto [s, t] = roles.some;
    if (asked_form_ != Form::kAll) {
      return 1 + (is(roles, p) && is(roles, q) ? steps_to_pair({s, t}, roles.asked) : steps_to_pair({p, q}, roles.no));
    }
    if (answer(roles) == kTrue) return both_no(roles, {p}) ? -1 : distance_(p, q);  // p empty: true of nothing, left out
    return 2 + steps_to_pair({s, t}, {p, p}) / 2 + steps_to_pair({s, t, q}, roles.no);
  }
  bool sound(const Roles& roles) const {
    return roles.some.first != roles.some.second && roles.no.first != roles.no.second && roles.asked.first != roles.asked.second &&
           !both_no(roles, {roles.some.first, roles.some.second});
  }

  // A term asked about stands in "Some" or "No" itself: a hint at the answer where the proof is long.
  static bool touches(const Roles& roles) {
    const auto in = [&](const std::pair<int, int>& pair) {
      const auto is_asked = [&](int term) { return term == roles.asked.first || term == roles.asked.second; };
      return is_asked(pair.first) || is_asked(pair.second);
    };
    return in(roles.some) || in(roles.no);
  }

  // Roles whose answer is `wanted` by a proof of the right length, drawn along such a proof; nothing where this draw failed.
  std::optional<Roles> proof(std::string_view wanted) {
    Roles roles{random_pair(), random_pair(), random_pair()};
    if (wanted != kUncertain) {
      const int steps = asked_form_ == Form::kAll ? n_premises_ - 2 : n_premises_ - 1;
      const int margin = steps >= 2 ? 1 : 0;  // "All" at least between a term asked about and "Some" or "No"
      const int near = static_cast<int>(draw_between(random_, margin, steps - margin));
      if (asked_form_ == Form::kAll && wanted == kTrue) {
        roles.asked.second = walk(roles.asked.first, n_premises_, true);
      } else if (asked_form_ == Form::kAll) {
        roles.asked.first = walk(roles.some.first, near, true);
        roles.no = {roles.some.second, walk(roles.asked.second, steps - near, true)};
      } else if ((wanted == kTrue) == (asked_form_ == Form::kSome)) {
        roles.asked = {walk(roles.some.first, near, true), walk(roles.some.second, steps - near, true)};
      } else {
        roles.no = {walk(roles.asked.first, near, true), walk(roles.asked.second, steps - near, true)};
      }
      if (std::min({roles.asked.first, roles.asked.second, roles.no.first, roles.no.second}) < 0) return {};
    }
    if (!sound(roles) || answer(roles) != wanted || (n_premises_ >= 4 && touches(roles))) return {};
    if (wanted != kUncertain && n_used(roles) != n_premises_) return {};
    return roles;
  }

  // The same with terms as frequent as in `first`, so that the names can be exchanged.
  std::optional<Roles> matching(const Roles& first, std::string_view wanted) {
    const auto reference = counts(first);
    auto sorted = reference;
    std::sort(sorted.begin(), sorted.end());
    for (int tries = 0; tries < 60; ++tries) {
      const auto roles = proof(wanted);
      if (!roles) continue;
      auto count = counts(*roles);
      if (count[static_cast<size_t>(roles->asked.first)] != reference[static_cast<size_t>(first.asked.first)]) continue;
      if (count[static_cast<size_t>(roles->asked.second)] != reference[static_cast<size_t>(first.asked.second)]) continue;
      std::sort(count.begin(), count.end());
      if (count == sorted) return roles;
    }
    return {};
  }

  std::string form_of(const Roles& roles) const {
    std::vector<Relation> relations;
    for (const auto& [from, to] : graph_.edges) relations.push_back({"All", {from, to}});
    // "Some" and "No" are the same either way round.
    for (const auto& [a, b] : {roles.some, std::pair{roles.some.second, roles.some.first}}) relations.push_back({"Some", {a, b}});
    for (const auto& [a, b] : {roles.no, std::pair{roles.no.second, roles.no.first}}) relations.push_back({"No", {a, b}});
    relations.push_back({"?", {roles.asked.first, roles.asked.second}});
    if (asked_form_ != Form::kAll) relations.push_back({"?", {roles.asked.second, roles.asked.first}});
    const std::vector<std::string> labels(static_cast<size_t>(graph_.n_nodes));
    return structure_form(labels, relations);
  }

  // What the thing that exists is, and what a thing as asked about would be: the answer can be read off these and the "No".
  std::vector<std::string> steps(const Roles& roles, const std::vector<std::string>& names) const {
    const auto all_of = [&](std::string start, const std::vector<int>& terms) {
      start += " :";
      for (int node = 0; node < graph_.n_nodes; ++node) {
        const auto leads = [&](int from) { return distance_.reaches(from, node); };
        if (std::any_of(terms.begin(), terms.end(), leads)) start += " " + at(names, node);
      }
      return start;
    };
    const auto [p, q] = roles.asked;
    const auto [s, t] = roles.some;
    if (asked_form_ == Form::kAll) return {all_of(at(names, p), {p}), all_of("Some", {s, t}), all_of(at(names, q), {q})};
    return {all_of("Some", {s, t}), all_of(at(names, p) + " " + at(names, q), {p, q})};
  }

  RandomStream& random_;
  int n_premises_;
  Form asked_form_;
  Graph graph_;
  Distances distance_;
  Degrees degrees_;
};

}  // namespace

std::vector<Item> draw_syllogisms(RandomStream& random, int n_premises, const Draw& how) {
  for (;;) {
    Builder builder(random, n_premises, how);
    if (const auto roles = builder.draw()) return builder.items(*roles, how);
  }
}

std::string solve_syllogism(const std::string& symbolic) { return decide(parse(symbolic), symbolic, exists_by_closure); }

std::string search_syllogism(const std::string& symbolic) { return decide(parse(symbolic), symbolic, exists_by_enumeration); }

}  // namespace entrain::reasoning
