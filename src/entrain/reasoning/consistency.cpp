// Family consistency: can some clauses all be true? The answers of a group differ by where the negations stand.

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

struct Literal {
  int variable = 0;
  bool negated = false;
  auto operator<=>(const Literal&) const = default;
};

using Clause = std::vector<Literal>;

struct Problem {
  std::vector<Clause> clauses;
  int n_variables = 0;
};

[[noreturn]] void not_consistency(const std::string& text) {
  throw Error(ErrorKind::kData, "not an item of family consistency: \"" + text + "\"");
}

Problem parse(const std::string& text) {
  const auto halves = split_at(text, "?");
  if (halves.size() != 2 || halves[1] != "∃") not_consistency(text);
  Problem problem;
  std::map<std::string, int> numbers;
  for (const std::string& clause_text : split_at(halves[0], ";")) {
    Clause clause;
    for (const std::string& literal : split_at(clause_text, "∨")) {
      const auto symbols = split_symbols(literal);
      const bool negated = symbols.size() == 2 && symbols[0] == "¬";
      if (symbols.size() != 1 && !negated) not_consistency(text);
      clause.push_back({numbers.try_emplace(symbols.back(), static_cast<int>(numbers.size())).first->second, negated});
    }
    problem.clauses.push_back(std::move(clause));
  }
  problem.n_variables = static_cast<int>(numbers.size());
  return problem;
}

constexpr int kOpen = -1;

bool holds(const Literal& literal, const std::vector<int>& values) {
  return values[static_cast<size_t>(literal.variable)] == (literal.negated ? 0 : 1);
}

/// Davis-Putnam-Logemann-Loveland: sets what is forced, else tries the first open variable of the first open clause, its literal true
/// first. `trail` gets every value as it is set, and nothing ("no variable") at a contradiction.
bool satisfiable(const std::vector<Clause>& clauses, std::vector<int> values, std::vector<std::optional<Literal>>* trail) {
  const auto set = [&](const Literal& literal) {
    values[static_cast<size_t>(literal.variable)] = literal.negated ? 0 : 1;
    if (trail != nullptr) trail->push_back(literal);
  };
  Literal choice{kOpen, false};
  for (bool forced = true; forced;) {
    forced = false;
    choice.variable = kOpen;
    for (const Clause& clause : clauses) {
      if (std::any_of(clause.begin(), clause.end(), [&](const Literal& literal) { return holds(literal, values); })) continue;
      std::vector<Literal> open;
      for (const Literal& literal : clause) {
        if (values[static_cast<size_t>(literal.variable)] == kOpen) open.push_back(literal);
      }
      if (open.empty()) {
        if (trail != nullptr) trail->push_back(std::nullopt);
        return false;
      }
      if (open.size() == 1) {
        set(open.front());
        forced = true;
        break;
      }
      if (choice.variable == kOpen) choice = open.front();
    }
  }
  if (choice.variable == kOpen) return true;
  for (const bool negated : {choice.negated, !choice.negated}) {
    auto tried = values;
    tried[static_cast<size_t>(choice.variable)] = negated ? 0 : 1;
    if (trail != nullptr) trail->push_back(Literal{choice.variable, negated});
    if (satisfiable(clauses, std::move(tried), trail)) return true;
  }
  return false;
}

/// Rows of a truth table over up to ten variables, as bits; decides a drawn problem in a few instructions a literal.
using Rows = std::array<uint64_t, 16>;

uint64_t rows_of(const Literal& literal, size_t word) {
  constexpr std::array<uint64_t, 6> kPatterns = {0xAAAAAAAAAAAAAAAAull, 0xCCCCCCCCCCCCCCCCull, 0xF0F0F0F0F0F0F0F0ull,
                                                 0xFF00FF00FF00FF00ull, 0xFFFF0000FFFF0000ull, 0xFFFFFFFF00000000ull};
  const auto variable = static_cast<size_t>(literal.variable);
  const uint64_t bits = variable < 6 ? kPatterns[variable] : (word >> (variable - 6) & 1) != 0 ? ~uint64_t{0} : 0;
  return literal.negated ? ~bits : bits;
}

bool has_true_row(const std::vector<Clause>& clauses, int n_variables) {
  const size_t n_words = size_t{1} << std::max(0, n_variables - 6);  // fewer than six variables: rows repeat within the word
  Rows all;
  all.fill(~uint64_t{0});
  for (const Clause& clause : clauses) {
    for (size_t word = 0; word < n_words; ++word) {
      uint64_t any = 0;
      for (const Literal& literal : clause) any |= rows_of(literal, word);
      all[word] &= any;
    }
  }
  return std::any_of(all.begin(), all.begin() + static_cast<int64_t>(n_words), [](uint64_t word) { return word != 0; });
}

class Consistency : public Family {
 public:
  std::string name() const override { return "consistency"; }
  std::string description() const override {
    return "whether clauses can all be true, near the threshold where half of them cannot; depth + 2 is the number of variables";
  }
  int64_t max_depth() const override { return 8; }
  double chance(int64_t) const override { return 0.5; }

  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    const int n_variables = static_cast<int>(how.depth) + 2;
    for (;;) {
      std::vector<Clause> clauses = draw_skeleton(random, n_variables);
      const auto values = draw_values(random, n_variables);
      // Negations are dealt anew over the same letters, their number fixed, until both answers have come up.
      std::optional<std::vector<Clause>> consistent, inconsistent;
      int n_negations = -1;
      for (int tries = 0; tries < 40 && !(consistent && inconsistent); ++tries) {
        if (n_negations < 0) {
          n_negations = how.sampler == Sampler::kLabelsFirst ? satisfy(clauses, values, random) : negate_some(clauses, random);
        } else {
          deal_negations(clauses, n_negations, random);
        }
        auto& place = has_true_row(clauses, n_variables) ? consistent : inconsistent;
        if (!place && !has_doubles(clauses) && n_steps(clauses, n_variables) <= 2 * n_variables) place = clauses;
      }
      if (consistent && inconsistent) return items({*consistent, *inconsistent}, n_variables, how, random);
    }
  }

  std::string solve(const Item& item) const override {
    const Problem problem = parse(item.symbolic);
    const std::vector<int> open(static_cast<size_t>(problem.n_variables), kOpen);
    return std::string(satisfiable(problem.clauses, open, nullptr) ? kTrue : kFalse);
  }

  std::string solve_by_search(const Item& item) const override {
    const Problem problem = parse(item.symbolic);
    for (uint64_t row = 0; row < uint64_t{1} << problem.n_variables; ++row) {
      bool all = true;
      for (size_t i = 0; i < problem.clauses.size() && all; ++i) {
        bool any = false;
        for (const Literal& literal : problem.clauses[i]) any = any || ((row >> literal.variable & 1) != 0) != literal.negated;
        all = any;
      }
      if (all) return std::string(kTrue);
    }
    return std::string(kFalse);
  }

 private:
  // Clauses of one to three different variables, without negations; every variable is used.
  static std::vector<Clause> draw_skeleton(RandomStream& random, int n_variables) {
    for (;;) {
      const int n_clauses = n_variables + (n_variables < 4 ? 3 : 2) + static_cast<int>(random.next_below(n_variables > 6 ? 2 : 3));
      std::vector<Clause> clauses;
      std::vector<bool> used(static_cast<size_t>(n_variables), false);
      for (int i = 0; i < n_clauses; ++i) {
        const double kind = random.next_uniform();
        const size_t size = kind < 0.12 ? 1 : kind < 0.82 ? 2 : 3;
        Clause clause;
        while (clause.size() < size) {
          const int variable = static_cast<int>(random.next_below(static_cast<uint64_t>(n_variables)));
          if (std::any_of(clause.begin(), clause.end(), [&](const Literal& literal) { return literal.variable == variable; })) continue;
          clause.push_back({variable, false});
          used[static_cast<size_t>(variable)] = true;
        }
        clauses.push_back(std::move(clause));
      }
      if (std::all_of(used.begin(), used.end(), [](bool is_used) { return is_used; })) return clauses;
    }
  }

  static std::vector<bool> draw_values(RandomStream& random, int n) {
    std::vector<bool> values;
    for (int i = 0; i < n; ++i) values.push_back(draw_chance(random, 0.5));
    return values;
  }

  template <class Visit>
  static void each_literal(std::vector<Clause>& clauses, const Visit& visit) {
    for (Clause& clause : clauses) {
      for (Literal& literal : clause) visit(literal);
    }
  }

  static int negate_some(std::vector<Clause>& clauses, RandomStream& random) {
    int n_negations = 0;
    each_literal(clauses, [&](Literal& literal) { n_negations += literal.negated = draw_chance(random, 0.45); });
    return n_negations;
  }

  // Signs with which every clause is true under `values`: at least one literal of each holds.
  static int satisfy(std::vector<Clause>& clauses, const std::vector<bool>& values, RandomStream& random) {
    int n_negations = 0;
    for (Clause& clause : clauses) {
      const size_t sure = random.next_below(clause.size());
      for (size_t i = 0; i < clause.size(); ++i) {
        const bool value = values[static_cast<size_t>(clause[i].variable)];
        clause[i].negated = i == sure ? !value : draw_chance(random, 0.45);
        n_negations += clause[i].negated;
      }
    }
    return n_negations;
  }

  static void deal_negations(std::vector<Clause>& clauses, int n_negations, RandomStream& random) {
    int n_literals = 0;
    each_literal(clauses, [&](Literal&) { ++n_literals; });
    each_literal(clauses, [&](Literal& literal) {
      literal.negated = static_cast<int>(random.next_below(static_cast<uint64_t>(n_literals--))) < n_negations;
      n_negations -= literal.negated;
    });
  }

  static bool has_doubles(std::vector<Clause> clauses) {
    for (Clause& clause : clauses) std::sort(clause.begin(), clause.end());
    std::sort(clauses.begin(), clauses.end());
    return std::adjacent_find(clauses.begin(), clauses.end()) != clauses.end();
  }

  static std::vector<Item> items(const std::vector<std::vector<Clause>>& problems, int n_variables, const Draw& how, RandomStream& random) {
    const auto letters = draw_names(random, NameKind::kUpper, how.names, static_cast<size_t>(n_variables));
    const auto adjectives = draw_names(random, NameKind::kAdjective, how.names, static_cast<size_t>(n_variables));
    int64_t n_negations = 0;
    for (const Clause& clause : problems.front()) {
      n_negations += std::count_if(clause.begin(), clause.end(), [](const Literal& literal) { return literal.negated; });
    }
    const std::string skeleton = form(problems.front(), n_variables, false) + "¬" + std::to_string(n_negations) + "|";
    std::vector<Item> group;
    for (const auto& clauses : problems) {
      Item item;
      item.depth = how.depth;
      for (size_t i = 0; i < clauses.size(); ++i) {
        for (size_t j = 0; j < clauses[i].size(); ++j) {
          const auto& [variable, negated] = clauses[i][j];
          const std::string before = j == 0 ? "" : " ∨ ";
          item.symbolic += before + (negated ? "¬ " : "") + letters[static_cast<size_t>(variable)];
          item.english += (j == 0 ? "It is " : " or ") + std::string(negated ? "not " : "") + adjectives[static_cast<size_t>(variable)];
        }
        item.symbolic += i + 1 < clauses.size() ? " ; " : " ? ∃";
        item.english += " . ";
      }
      item.english += "Can all of this be true ?";
      item.answer = item_answer(clauses, n_variables, letters, item.steps);
      item.canonical = skeleton + form(clauses, n_variables, true);
      group.push_back(std::move(item));
    }
    return group;
  }

  // Long searches make long scratchpads; such problems are left out.
  static int n_steps(const std::vector<Clause>& clauses, int n_variables) {
    std::vector<std::optional<Literal>> trail;
    satisfiable(clauses, std::vector<int>(static_cast<size_t>(n_variables), kOpen), &trail);
    return static_cast<int>(trail.size());
  }

  // The answer and the search for it: "A : ●" for a value forced or tried, "⊥" for a contradiction, after which the last value tried
  // changes.
  static std::string item_answer(const std::vector<Clause>& clauses, int n_variables, const std::vector<std::string>& letters,
                                 std::vector<std::string>& steps) {
    std::vector<std::optional<Literal>> trail;
    const bool found = satisfiable(clauses, std::vector<int>(static_cast<size_t>(n_variables), kOpen), &trail);
    for (const auto& entry : trail) {
      steps.push_back(!entry ? std::string(kFalse)
                             : letters[static_cast<size_t>(entry->variable)] + " : " + std::string(entry->negated ? kFalse : kTrue));
    }
    return std::string(found ? kTrue : kFalse);
  }

  // Variables and clauses as objects; a literal joins one of each.
  static std::string form(const std::vector<Clause>& clauses, int n_variables, bool with_negations) {
    std::vector<std::string> labels(static_cast<size_t>(n_variables), "");
    std::vector<Relation> relations;
    for (const Clause& clause : clauses) {
      const int number = static_cast<int>(labels.size());
      labels.push_back("");
      for (const auto& [variable, negated] : clause) relations.push_back({with_negations && negated ? "¬" : "", {variable, number}});
    }
    return structure_form(labels, relations);
  }
};

}  // namespace

std::unique_ptr<Family> make_consistency() { return std::make_unique<Consistency>(); }

}  // namespace entrain::reasoning
