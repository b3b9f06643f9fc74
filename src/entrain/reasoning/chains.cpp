// Family chains: what follows from rules "if P then Q" and two facts, in an open world (true, false, or not said).
// The rules are a graph of literals. Every literal stands for one letter, affirmed or denied throughout, and a rule is written as it
// is or as its contrapositive; so facts spread forwards along the graph where they hold and backwards where they do not.

#include <algorithm>
#include <map>
#include <optional>

#include "entrain/base/error.h"
#include "entrain/reasoning/graph.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

struct Literal {
  int name = 0;
  bool denied = false;
  bool operator==(const Literal&) const = default;
};

Literal operator!(const Literal& literal) { return {literal.name, !literal.denied}; }

/// Rules between literals, facts and the question as parsed from the text.
struct Theory {
  std::vector<std::pair<Literal, Literal>> rules;
  std::vector<Literal> facts;
  int n_names = 0, asked = 0;
};

[[noreturn]] void not_chains(const std::string& text) {
  throw Error(ErrorKind::kData, "not an item of family chains: \"" + text + "\"");
}

[[noreturn]] void contradictory(const std::string& text) {
  throw Error(ErrorKind::kData, "the rules contradict the facts: \"" + text + "\"");
}

Theory parse(const std::string& text) {
  const auto halves = split_at(text, "?");
  if (halves.size() != 2 || split_views(halves[1]).size() != 1) not_chains(text);
  Theory theory;
  std::map<std::string, int> numbers;
  const auto number = [&](const std::string& name) {
    return numbers.try_emplace(name, static_cast<int>(numbers.size())).first->second;
  };
  const auto literal = [&](const std::string& words) -> Literal {
    const auto symbols = split_symbols(words);
    if (symbols.size() == 1) return {number(symbols[0]), false};
    if (symbols.size() == 2 && symbols[0] == "¬") return {number(symbols[1]), true};
    not_chains(text);
  };
  for (const std::string& statement : split_at(halves[0], ";")) {
    if (const auto sides = split_at(statement, "→"); sides.size() == 2) {
      const Literal premise = literal(sides[0]);
      theory.rules.emplace_back(premise, literal(sides[1]));
    } else if (const auto parts = split_at(statement, ":"); parts.size() == 2 && (parts[1] == kTrue || parts[1] == kFalse)) {
      theory.facts.push_back({number(parts[0]), parts[1] == kFalse});
    } else {
      not_chains(text);
    }
  }
  theory.asked = number(halves[1]);
  theory.n_names = static_cast<int>(numbers.size());
  return theory;
}

// Everything that follows step by step from the facts and one assumption; false where that contradicts itself. Rules have one premise
// each (2-SAT), so an assumption that propagates without contradiction can be completed to a model.
bool propagates(const Theory& theory, std::optional<Literal> assumption) {
  std::vector<int> values(static_cast<size_t>(theory.n_names), -1);
  std::vector<Literal> queue = theory.facts;
  if (assumption) queue.push_back(*assumption);
  for (size_t i = 0; i < queue.size(); ++i) {
    const Literal now = queue[i];
    int& value = values[static_cast<size_t>(now.name)];
    if (value == static_cast<int>(now.denied)) return false;
    if (value >= 0) continue;
    value = now.denied ? 0 : 1;
    for (const auto& [premise, conclusion] : theory.rules) {
      if (premise == now) queue.push_back(conclusion);
      if (conclusion == !now) queue.push_back(!premise);
    }
  }
  return true;
}

// Whether values (-1: open) can be completed to a model, by trying values name by name.
bool has_model(const Theory& theory, std::vector<int>& values, size_t next) {
  const auto value = [&](const Literal& literal) {
    const int at = values[static_cast<size_t>(literal.name)];
    return at < 0 ? -1 : at != static_cast<int>(literal.denied) ? 1 : 0;
  };
  for (const auto& [premise, conclusion] : theory.rules) {
    if (value(premise) == 1 && value(conclusion) == 0) return false;
  }
  while (next < values.size() && values[next] >= 0) ++next;
  if (next == values.size()) return true;
  for (const int tried : {0, 1}) {
    values[next] = tried;
    if (has_model(theory, values, next + 1)) return true;
  }
  values[next] = -1;
  return false;
}

/// Which nodes of the graph are said to hold, said not to hold, and asked for.
struct Roles {
  int held = 0, refused = 0, asked = 0;
};

/// What all items of a group share: the graph and how its nodes and edges are written.
struct Frame {
  Graph graph;
  std::vector<bool> denied;     // by node: its literal is a denied letter
  std::vector<bool> contraposed;  // by edge: written as contrapositive
  Distances distance;
  Degrees degrees;
};

class Chains : public Family {
 public:
  std::string name() const override { return "chains"; }
  std::string description() const override {
    return "what follows from implications and two facts, forwards and backwards, in an open world; depth is the number of rules needed";
  }
  int64_t max_depth() const override { return 12; }
  double chance(int64_t) const override { return 1.0 / 3; }

  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    const int depth = static_cast<int>(how.depth);
    for (;;) {
      const int n_spare = depth > 8 ? 4 : 4 + static_cast<int>(random.next_below(2));
      const Frame frame = draw_frame(random, depth, std::max(depth + n_spare, 7), how.sampler);
      if (const auto roles = draw_roles(frame, depth, random)) return items(frame, *roles, how, random);
    }
  }

  std::string solve(const Item& item) const override {
    const Theory theory = parse(item.symbolic);
    if (!propagates(theory, {})) contradictory(item.symbolic);
    if (!propagates(theory, Literal{theory.asked, true})) return std::string(kTrue);
    if (!propagates(theory, Literal{theory.asked, false})) return std::string(kFalse);
    return std::string(kUncertain);
  }

  std::string solve_by_search(const Item& item) const override {
    const Theory theory = parse(item.symbolic);
    const auto possible = [&](int value) {
      std::vector<int> values(static_cast<size_t>(theory.n_names), -1);
      values[static_cast<size_t>(theory.asked)] = value;
      for (const auto& [name, denied] : theory.facts) {
        int& at = values[static_cast<size_t>(name)];
        if (at == static_cast<int>(denied)) return false;
        at = denied ? 0 : 1;
      }
      return has_model(theory, values, 0);
    };
    const bool may_hold = possible(1), may_fail = possible(0);
    if (!may_hold && !may_fail) contradictory(item.symbolic);
    return std::string(may_hold && may_fail ? kUncertain : may_hold ? kTrue : kFalse);
  }

 private:
  static Frame draw_frame(RandomStream& random, int depth, int n_edges, Sampler sampler) {
    Graph graph = draw_graph(random, depth, n_edges, sampler);
    // A few denied letters and rules turned round, fewer where the chain is long: prompts stay short.
    const double share = (depth > 8 ? 1.2 : 1.5) / n_edges;
    std::vector<bool> denied, contraposed;
    for (int i = 0; i < graph.n_nodes; ++i) denied.push_back(draw_chance(random, share));
    for (int i = 0; i < n_edges; ++i) contraposed.push_back(draw_chance(random, share));
    Distances distance(graph);
    Degrees degrees(graph);
    return {std::move(graph), std::move(denied), std::move(contraposed), std::move(distance), std::move(degrees)};
  }

  // Does the literal of the asked node hold?
  static std::string_view answer_of(const Frame& frame, const Roles& roles) {
    const bool denied = frame.denied[static_cast<size_t>(roles.asked)];
    if (frame.distance.reaches(roles.held, roles.asked)) return denied ? kFalse : kTrue;
    if (frame.distance.reaches(roles.asked, roles.refused)) return denied ? kTrue : kFalse;
    return kUncertain;
  }

  // Three choices of roles over one graph, one for each answer: an asked node that follows, one that is refuted, an open one. All
  // stand at letters that occur equally often, so that letters can be exchanged.
  static std::optional<std::vector<Roles>> draw_roles(const Frame& frame, int depth, RandomStream& random) {
    const int n = frame.graph.n_nodes;
    const auto alike = [&](int a, int b) {
      return frame.degrees.total(a) == frame.degrees.total(b) &&
             frame.denied[static_cast<size_t>(a)] == frame.denied[static_cast<size_t>(b)];
    };
    std::vector<std::pair<int, int>> paths;
    for (int from = 0; from < n; ++from) {
      for (int to = 0; to < n; ++to) {
        if (frame.distance(from, to) == depth && alike(from, to) && frame.degrees.alike(from, to)) paths.emplace_back(from, to);
      }
    }
    if (paths.empty()) return {};
    const auto [start, end] = pick(paths, random);
    std::vector<int> places;
    for (int node = 0; node < n; ++node) {
      if (alike(node, start)) places.push_back(node);
    }
    enum class Asked { kFollows, kRefuted, kOpen };
    const auto fits = [&](const Roles& roles, Asked wanted) {
      if (roles.held == roles.refused || roles.held == roles.asked || roles.refused == roles.asked) return false;
      if (frame.distance.reaches(roles.held, roles.refused)) return false;  // a contradiction
      const Asked is = frame.distance.reaches(roles.held, roles.asked)      ? Asked::kFollows
                       : frame.distance.reaches(roles.asked, roles.refused) ? Asked::kRefuted
                                                                            : Asked::kOpen;
      return is == wanted;
    };
    // The remaining role at any place where it changes nothing.
    const auto completed = [&](Roles roles, int Roles::*remaining, Asked wanted) -> std::optional<Roles> {
      std::vector<Roles> fitting;
      for (const int node : places) {
        roles.*remaining = node;
        if (fits(roles, wanted)) fitting.push_back(roles);
      }
      if (fitting.empty()) return {};
      return pick(fitting, random);
    };
    const auto follows = completed({start, 0, end}, &Roles::refused, Asked::kFollows);
    const auto refuted = completed({0, end, start}, &Roles::held, Asked::kRefuted);
    if (!follows || !refuted) return {};
    // Open: the consequent affirmed or the antecedent denied along the whole chain, or anything unrelated.
    std::optional<Roles> open;
    const double kind = random.next_uniform();
    if (kind < 0.3) open = completed({end, 0, start}, &Roles::refused, Asked::kOpen);
    if (kind >= 0.3 && kind < 0.6) open = completed({0, start, end}, &Roles::held, Asked::kOpen);
    for (int tries = 0; !open && tries < 30; ++tries) {
      const Roles roles{pick(places, random), pick(places, random), pick(places, random)};
      if (fits(roles, Asked::kOpen)) open = roles;
    }
    if (!open) return {};
    return std::vector<Roles>{*follows, *open, *refuted};
  }

  static std::vector<Item> items(const Frame& frame, const std::vector<Roles>& all_roles, const Draw& how, RandomStream& random) {
    const auto n = static_cast<size_t>(frame.graph.n_nodes);
    const auto letters = draw_names(random, NameKind::kUpper, how.names, n);
    const auto words = draw_names(random, NameKind::kAdjective, how.names, n);
    std::vector<int> order = {-1, -2};  // statements in one order for all items; -1 and -2 are the facts
    for (size_t i = 0; i < frame.graph.edges.size(); ++i) order.push_back(static_cast<int>(i));
    shuffle(order, random);
    const auto counts = [&](const Roles& roles) {
      std::vector<int> count;
      for (int node = 0; node < frame.graph.n_nodes; ++node) {
        count.push_back(frame.degrees.total(node) + (node == roles.held) + (node == roles.refused) + (node == roles.asked));
      }
      return count;
    };
    const auto rules = written(frame);
    const std::string skeleton = form(frame, rules, {});
    std::vector<Item> group;
    for (const Roles& roles : all_roles) {
      const std::vector<std::pair<int, int>> pinned = {{all_roles.front().asked, roles.asked}};
      const auto names = rename_nodes(letters, counts(all_roles.front()), counts(roles), pinned);
      const auto adjectives = rename_nodes(words, counts(all_roles.front()), counts(roles), pinned);
      ENTRAIN_CHECK(!names.empty(), "nodes of a group are alike");
      Item item;
      item.depth = how.depth;
      for (const int statement : order) {
        if (!item.symbolic.empty()) item.symbolic += " ; ", item.english += " ";
        if (statement >= 0) {
          const auto& [premise, conclusion] = rules[static_cast<size_t>(statement)];
          item.symbolic += text(premise, names, "¬ ") + " → " + text(conclusion, names, "¬ ");
          item.english += "If " + text(premise, adjectives, "not ") + " then " + text(conclusion, adjectives, "not ") + " .";
        } else {
          const Literal fact = fact_at(frame, statement == -1 ? roles.held : roles.refused, statement == -1);
          item.symbolic += text({fact.name, false}, names, "") + " : " + std::string(fact.denied ? kFalse : kTrue);
          item.english += "It is " + text(fact, adjectives, "not ") + " .";
        }
      }
      item.symbolic += " ? " + names[static_cast<size_t>(roles.asked)];
      item.english += " Is it " + adjectives[static_cast<size_t>(roles.asked)] + " ?";
      item.answer = answer_of(frame, roles);
      item.steps = steps(frame, roles, rules, order, names);
      const auto sign = [&](int node, bool holds) { return std::string(fact_at(frame, node, holds).denied ? kFalse : kTrue); };
      const std::vector<std::pair<int, std::string>> marks = {
          {roles.held, sign(roles.held, true)}, {roles.refused, sign(roles.refused, false)}, {roles.asked, "?"}};
      item.canonical = skeleton + "|" + form(frame, rules, marks);
      group.push_back(std::move(item));
    }
    return group;
  }

  // The literal that says that a node's literal holds, or does not.
  static Literal fact_at(const Frame& frame, int node, bool holds) {
    const Literal literal{node, frame.denied[static_cast<size_t>(node)]};
    return holds ? literal : !literal;
  }

  static std::vector<std::pair<Literal, Literal>> written(const Frame& frame) {
    std::vector<std::pair<Literal, Literal>> rules;
    for (size_t i = 0; i < frame.graph.edges.size(); ++i) {
      const Literal from = fact_at(frame, frame.graph.edges[i].first, true), to = fact_at(frame, frame.graph.edges[i].second, true);
      rules.push_back(frame.contraposed[i] ? std::pair{!to, !from} : std::pair{from, to});
    }
    return rules;
  }

  static std::string form(const Frame& frame, const std::vector<std::pair<Literal, Literal>>& rules,
                          const std::vector<std::pair<int, std::string>>& marks) {
    Graph as_written{frame.graph.n_nodes};
    std::vector<std::string> labels;
    for (const auto& [premise, conclusion] : rules) {
      as_written.edges.emplace_back(premise.name, conclusion.name);
      labels.push_back(std::string(premise.denied ? "¬" : "") + "→" + (conclusion.denied ? "¬" : ""));
    }
    return graph_form(as_written, labels, marks);
  }

  // Forwards from the fact that holds until the question is met, then backwards from the one that does not: the fact itself, then every rule used and what it gives.
  static std::vector<std::string> steps(const Frame& frame, const Roles& roles, const std::vector<std::pair<Literal, Literal>>& rules, const std::vector<int>& order,
                                        const std::vector<std::string>& names) {
    std::vector<std::string> steps;
    const auto fact = [&](int node, bool holds) { steps.push_back(names[static_cast<size_t>(node)] + " : " + std::string(fact_at(frame, node, holds).denied ? kFalse : kTrue)); };
    const auto spread = [&](int start, bool forwards) {
      fact(start, forwards);
      std::vector<int> queue = {start};
      for (size_t i = 0; i < queue.size(); ++i) {
        for (const int statement : order) {  // rules as they are read
          if (statement < 0) continue;
          const auto& [from, to] = frame.graph.edges[static_cast<size_t>(statement)];
          const int near = forwards ? from : to, far = forwards ? to : from;
          if (near != queue[i] || std::find(queue.begin(), queue.end(), far) != queue.end()) continue;
          queue.push_back(far);
          const auto& [premise, conclusion] = rules[static_cast<size_t>(statement)];
          steps.push_back(text(premise, names, "¬ ") + " → " + text(conclusion, names, "¬ "));
          fact(far, forwards);
          if (far == roles.asked) return true;
        }
      }
      return false;
    };
    if (!spread(roles.held, true) && !spread(roles.refused, false)) {
      steps.push_back(names[static_cast<size_t>(roles.asked)] + " : " + std::string(kUncertain));
    }
    return steps;
  }

  static std::string text(const Literal& literal, const std::vector<std::string>& of, std::string_view negation) {
    return std::string(literal.denied ? negation : "") + of[static_cast<size_t>(literal.name)];
  }
};

}  // namespace

std::unique_ptr<Family> make_chains() { return std::make_unique<Chains>(); }

}  // namespace entrain::reasoning
