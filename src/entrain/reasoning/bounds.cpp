#include "entrain/reasoning/bounds.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "entrain/base/error.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

constexpr std::array<std::string_view, 3> kRelations = {"<", ">", "≡"};
constexpr std::array<std::string_view, 3> kRelationWords = {"less than", "more than", "equal to"};
constexpr std::array<std::string_view, 2> kVariables = {"x", "y"};

using Sets = std::vector<std::vector<int>>;

/// A variable (0, 1) or a number.
struct Term {
  int variable = -1;
  int number = 0;
  int value(const std::vector<int>& variables) const { return variable < 0 ? number : variables[static_cast<size_t>(variable)]; }
};

struct Atom {
  Term left, right;
  size_t relation = 0;
  bool holds(const std::vector<int>& variables) const {
    const int a = left.value(variables), b = right.value(variables);
    return relation == 0 ? a < b : relation == 1 ? a > b : a == b;
  }
};

struct Binder {
  bool all = true;
  size_t set = 0;
};

/// Binders from the outside in, then one atom or two joined.
struct Formula {
  std::vector<Binder> binders;
  std::vector<Atom> atoms;
  bool both = true;  // two atoms: ∧ or ∨

  bool matrix(const std::vector<int>& variables) const {
    const bool first = atoms.front().holds(variables);
    if (atoms.size() == 1) return first;
    return both ? first && atoms[1].holds(variables) : first || atoms[1].holds(variables);
  }
};

struct Question {
  Sets sets;
  Formula formula;
};

[[noreturn]] void not_bounds(const std::string& text) {
  throw Error(ErrorKind::kData, "not an item of family quantifiers: \"" + text + "\"");
}

int digit(const std::string& symbol, const std::string& text) {
  if (symbol.size() != 1 || symbol[0] < '0' || symbol[0] > '9') not_bounds(text);
  return symbol[0] - '0';
}

Question parse(const std::string& text) {
  const auto halves = split_at(text, "?");
  if (halves.size() != 2) not_bounds(text);
  Question question;
  std::map<std::string, size_t> numbers;
  for (const std::string& statement : split_at(halves[0], ";")) {
    const auto symbols = split_symbols(statement);  // S : { 3 5 }
    if (symbols.size() < 4 || symbols[1] != ":" || symbols[2] != "{" || symbols.back() != "}") not_bounds(text);
    numbers.emplace(symbols[0], question.sets.size());
    question.sets.emplace_back();
    for (size_t i = 3; i + 1 < symbols.size(); ++i) question.sets.back().push_back(digit(symbols[i], text));
  }
  const auto parts = split_at(halves[1], ":");
  std::map<std::string, int> variables;
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    const auto symbols = split_symbols(parts[i]);  // ∀ x ∈ S
    if (symbols.size() != 4 || symbols[2] != "∈" || !numbers.contains(symbols[3])) not_bounds(text);
    if (symbols[0] != "∀" && symbols[0] != "∃") not_bounds(text);
    variables.emplace(symbols[1], static_cast<int>(i));
    question.formula.binders.push_back({symbols[0] == "∀", numbers.at(symbols[3])});
  }
  std::vector<std::string> matrix = split_symbols(parts.back());
  if (matrix.size() == 9 && matrix.front() == "(" && matrix.back() == ")") matrix = {matrix.begin() + 1, matrix.end() - 1};
  if (question.formula.binders.empty() || (matrix.size() != 3 && matrix.size() != 7)) not_bounds(text);
  for (size_t i = 0; i < matrix.size(); i += 4) {
    const auto term = [&](const std::string& symbol) -> Term {
      const auto variable = variables.find(symbol);
      return variable != variables.end() ? Term{variable->second, 0} : Term{-1, digit(symbol, text)};
    };
    const auto relation = std::find(kRelations.begin(), kRelations.end(), matrix[i + 1]);
    if (relation == kRelations.end()) not_bounds(text);
    question.formula.atoms.push_back({term(matrix[i]), term(matrix[i + 2]), static_cast<size_t>(relation - kRelations.begin())});
  }
  if (matrix.size() == 7) {
    if (matrix[3] != "∧" && matrix[3] != "∨") not_bounds(text);
    question.formula.both = matrix[3] == "∧";
  }
  return question;
}

bool holds(const Formula& formula, const Sets& sets, std::vector<int>& variables) {
  if (variables.size() == formula.binders.size()) return formula.matrix(variables);
  const Binder& binder = formula.binders[variables.size()];
  for (const int element : sets[binder.set]) {
    variables.push_back(element);
    const bool found = holds(formula, sets, variables);
    variables.pop_back();
    if (found != binder.all) return found;
  }
  return binder.all;
}

bool holds(const Formula& formula, const Sets& sets) {
  std::vector<int> variables;
  return holds(formula, sets, variables);
}

Formula draw_formula(RandomStream& random, int level) {
  Formula formula;
  for (int i = 0; i < (level == 1 ? 1 : 2); ++i) formula.binders.push_back({draw_chance(random, 0.5), static_cast<size_t>(i)});
  const auto relation = [&] { return draw_chance(random, 0.2) ? size_t{2} : random.next_below(2); };
  const auto bound = [&](int variable) {
    return Atom{{variable, 0}, {-1, static_cast<int>(random.next_below(10))}, relation()};
  };
  if (level == 1) {
    formula.atoms = {bound(0)};
  } else {
    formula.atoms = {{{0, 0}, {1, 0}, relation()}};
    if (level == 3) formula.atoms.push_back(bound(static_cast<int>(random.next_below(2))));
    formula.both = draw_chance(random, 0.5);
  }
  return formula;
}

Sets draw_sets(RandomStream& random, int level) {
  Sets sets(level == 1 ? 2 : 2 + random.next_below(2));
  for (auto& set : sets) {
    std::vector<int> digits = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    shuffle(digits, random);
    digits.resize(static_cast<size_t>(draw_between(random, 2, sets.size() == 2 ? 5 : 4)));
    set = digits;
  }
  return sets;
}

// The same numbers in sets of the same sizes, none twice in one set; empty where this deal has one twice.
Sets dealt(const Sets& sets, RandomStream& random) {
  std::vector<int> all;
  for (const auto& set : sets) all.insert(all.end(), set.begin(), set.end());
  shuffle(all, random);
  Sets result;
  size_t next = 0;
  for (const auto& set : sets) {
    std::vector<int> numbers(all.begin() + static_cast<int64_t>(next), all.begin() + static_cast<int64_t>(next + set.size()));
    next += set.size();
    auto sorted = numbers;
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return {};
    result.push_back(std::move(numbers));
  }
  return result;
}

std::string term_text(const Term& term) {
  return term.variable < 0 ? std::to_string(term.number) : std::string(kVariables[static_cast<size_t>(term.variable)]);
}

std::string atom_text(const Atom& atom) {
  return term_text(atom.left) + " " + std::string(kRelations[atom.relation]) + " " + term_text(atom.right);
}

std::string question_text(const Formula& formula, const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < formula.binders.size(); ++i) {
    const auto& [all, set] = formula.binders[i];
    text += std::string(all ? "∀ " : "∃ ") + std::string(kVariables[i]) + " ∈ " + names[set] + " : ";
  }
  if (formula.atoms.size() == 1) return text + atom_text(formula.atoms[0]);
  return text + "( " + atom_text(formula.atoms[0]) + (formula.both ? " ∧ " : " ∨ ") + atom_text(formula.atoms[1]) + " )";
}

std::string english_question(const Formula& formula, const std::vector<std::string>& people) {
  std::string text = "Is it so that";
  for (size_t i = 0; i < formula.binders.size(); ++i) {
    const auto& [all, set] = formula.binders[i];
    text += std::string(all ? " for every " : " for some ") + std::string(kVariables[i]) + " of " + people[set];
  }
  const auto atom = [](const Atom& of) {
    return term_text(of.left) + " is " + std::string(kRelationWords[of.relation]) + " " + term_text(of.right);
  };
  if (formula.atoms.size() == 1) return text + " " + atom(formula.atoms[0]) + " ?";
  text += (formula.both ? " both " : " either ") + atom(formula.atoms[0]);
  return text + (formula.both ? " and " : " or ") + atom(formula.atoms[1]) + " ?";
}

// One comparison a value of the outer variable: the deciding inner one, and the truth value it gives.
std::vector<std::string> steps_of(const Formula& formula, const Sets& sets) {
  std::vector<std::string> steps;
  const Binder& outer = formula.binders.front();
  for (const int element : sets[outer.set]) {
    std::vector<int> variables = {element};
    const bool value = holds(formula, sets, variables);
    std::string step = std::to_string(element);
    if (formula.binders.size() == 2) {
      for (const int inner : sets[formula.binders[1].set]) {
        if (formula.matrix({element, inner}) == formula.binders[1].all) continue;
        step += " " + std::to_string(inner);  // the witness, or the exception
        break;
      }
    }
    steps.push_back(step + " : " + std::string(value ? kTrue : kFalse));
    if (value != outer.all) break;
  }
  return steps;
}

}  // namespace

std::vector<Item> draw_bounds(RandomStream& random, int level, const Draw& how) {
  Sets sets;
  Formula formula;
  std::optional<Sets> when_true, when_false;
  while (!when_true || !when_false) {
    // Labels first: a question is sought for the sets that gives the label.
    const bool label = draw_chance(random, 0.5);
    sets = draw_sets(random, level);
    do {
      formula = draw_formula(random, level);
    } while (how.sampler == Sampler::kLabelsFirst && holds(formula, sets) != label);
    when_true.reset();
    when_false.reset();
    for (int tries = 0; tries < 16 && !(when_true && when_false); ++tries) {
      auto& place = holds(formula, sets) ? when_true : when_false;
      if (!place) place = sets;
      if (Sets other = dealt(sets, random); !other.empty()) sets = std::move(other);
    }
  }
  const auto names = draw_names(random, NameKind::kUpper, how.names, sets.size());
  const auto people = draw_names(random, NameKind::kPerson, how.names, sets.size());
  std::vector<size_t> order;
  for (size_t i = 0; i < sets.size(); ++i) order.push_back(i);
  shuffle(order, random);
  const std::string question = question_text(formula, names);
  // Sets in the order of their variables, those not asked about sorted.
  const auto form = [&](Sets of) {
    for (auto& set : of) std::sort(set.begin(), set.end());
    std::sort(of.begin() + static_cast<int64_t>(formula.binders.size()), of.end());
    std::string text;
    for (const auto& set : of) {
      for (const int element : set) text += std::to_string(element);
      text += ",";
    }
    return text;
  };
  std::vector<int> all;
  std::string skeleton = question_text(formula, {"0", "1", "2"}) + " ";
  for (const auto& set : sets) {
    all.insert(all.end(), set.begin(), set.end());
    skeleton += std::to_string(set.size());
  }
  std::sort(all.begin(), all.end());
  skeleton += " ";
  for (const int element : all) skeleton += std::to_string(element);
  std::vector<Item> group;
  for (const Sets& content : {*when_true, *when_false}) {
    Item item;
    item.depth = how.depth;
    for (const size_t i : order) {
      std::string numbers;
      for (const int element : content[i]) numbers += std::to_string(element) + " ";
      item.symbolic += (item.symbolic.empty() ? "" : " ; ") + names[i] + " : { " + numbers + "}";
      item.english += people[i] + " has " + numbers + ". ";
    }
    item.symbolic += " ? " + question;
    item.english += english_question(formula, people);
    item.answer = group.empty() ? kTrue : kFalse;
    item.steps = steps_of(formula, content);
    item.canonical = skeleton + "|" + form(content);
    group.push_back(std::move(item));
  }
  return group;
}

bool is_bounds(const std::string& symbolic) { return symbolic.find('{') != std::string::npos; }

std::string solve_bounds(const std::string& symbolic) {
  const Question question = parse(symbolic);
  return std::string(holds(question.formula, question.sets) ? kTrue : kFalse);
}

std::string search_bounds(const std::string& symbolic) {
  const Question question = parse(symbolic);
  const auto& binders = question.formula.binders;
  // Tuples with the last variable fastest.
  std::vector<std::vector<int>> tuples = {{}};
  for (const Binder& binder : binders) {
    std::vector<std::vector<int>> longer;
    for (const auto& tuple : tuples) {
      for (const int element : question.sets[binder.set]) {
        longer.push_back(tuple);
        longer.back().push_back(element);
      }
    }
    tuples = std::move(longer);
  }
  std::vector<bool> table;
  for (const auto& tuple : tuples) {
    std::vector<bool> atoms;
    for (const Atom& atom : question.formula.atoms) {
      const int difference = atom.left.value(tuple) - atom.right.value(tuple);
      atoms.push_back(atom.relation == (difference < 0 ? 0u : difference > 0 ? 1u : 2u));
    }
    const auto n_true = std::count(atoms.begin(), atoms.end(), true);
    table.push_back(question.formula.both ? n_true == static_cast<int64_t>(atoms.size()) : n_true > 0);
  }
  for (size_t i = binders.size(); i-- > 0;) {
    const size_t width = question.sets[binders[i].set].size();
    std::vector<bool> folded;
    for (size_t row = 0; row < table.size(); row += width) {
      const auto n_true = std::count(table.begin() + static_cast<int64_t>(row), table.begin() + static_cast<int64_t>(row + width), true);
      folded.push_back(binders[i].all ? n_true == static_cast<int64_t>(width) : n_true > 0);
    }
    table = std::move(folded);
  }
  return std::string(table.front() ? kTrue : kFalse);
}

}  // namespace entrain::reasoning
