#include "entrain/reasoning/legacy.h"

#include <array>
#include <string>

namespace entrain::reasoning {
namespace {

struct Question {
  std::string_view category, symbolic, english, answer;
};

constexpr std::array<Question, 27> kQuestions = {{
    {"basic logic", "P → Q ; P : ● ? Q", "If red then old . red is true . Is it old ?", "●"},
    {"basic logic", "P → Q ; P : ◑ ? Q", "If red then old . red is unknown . Is it old ?", "◑"},
    {"basic logic", "P → Q ; Q : ⊥ ? P", "If red then old . old is false . Is it red ?", "⊥"},
    {"negation", "A : ● ? ¬ A", "red is true . Is it not red ?", "⊥"},
    {"negation", "A : ⊥ ? ¬ A", "red is false . Is it not red ?", "●"},
    {"negation", "A : ◑ ? ¬ A", "red is unknown . Is it not red ?", "◑"},
    {"conjunction", "A : ● ; B : ● ? A ∧ B", "red is true . old is true . Is it so that both red and old ?", "●"},
    {"conjunction", "A : ● ; B : ◑ ? A ∧ B", "red is true . old is unknown . Is it so that both red and old ?", "◑"},
    {"conjunction", "A : ⊥ ; B : ● ? A ∧ B", "red is false . old is true . Is it so that both red and old ?", "⊥"},
    {"disjunction", "A : ● ; B : ⊥ ? A ∨ B", "red is true . old is false . Is it so that either red or old ?", "●"},
    {"disjunction", "A : ⊥ ; B : ⊥ ? A ∨ B", "red is false . old is false . Is it so that either red or old ?", "⊥"},
    {"disjunction", "A : ◑ ; B : ⊥ ? A ∨ B", "red is unknown . old is false . Is it so that either red or old ?", "◑"},
    {"chains", "P → Q ; Q → R ; P : ● ? R", "If red then old . If old then cold . red is true . Is it cold ?", "●"},
    {"chains", "P → Q ; Q → R ; R → S ; P : ● ? S",
     "If red then old . If old then cold . If cold then big . red is true . Is it big ?", "●"},
    {"chains", "P → Q ; Q → R ; P : ◑ ? R", "If red then old . If old then cold . red is unknown . Is it cold ?", "◑"},
    {"sets", "3 ∈ { 1 2 3 4 5 } ?", "Is three in one two three four five ?", "●"},
    {"sets", "7 ∈ { 1 2 3 4 5 } ?", "Is seven in one two three four five ?", "⊥"},
    {"domain", "e 4 ∈ chess ?", "Is e four a square of a chess board ?", "●"},
    {"domain", "e 9 ∈ chess ?", "Is e nine a square of a chess board ?", "⊥"},
    {"contradiction", "P ; ¬ P ? ∃", "It is red . It is not red . Can all of this be true ?", "⊥"},
    {"contradiction", "P ; Q ? ∃", "It is red . It is old . Can all of this be true ?", "●"},
    {"biconditional", "A : ● ; B : ● ? A ↔ B", "red is true . old is true . Is it so that alike red as old ?", "●"},
    {"biconditional", "A : ● ; B : ⊥ ? A ↔ B", "red is true . old is false . Is it so that alike red as old ?", "⊥"},
    {"quantifiers", "S : { 2 4 7 } ? ∃ x ∈ S : x > 5", "Ann has 2 4 7 . Is it so that for some x of Ann x is more than 5 ?", "●"},
    {"quantifiers", "S : { 1 2 3 } ? ∃ x ∈ S : x > 8", "Ann has 1 2 3 . Is it so that for some x of Ann x is more than 8 ?", "⊥"},
    {"quantifiers", "S : { 1 2 3 } ? ∀ x ∈ S : x > 0", "Ann has 1 2 3 . Is it so that for every x of Ann x is more than 0 ?", "●"},
    {"quantifiers", "S : { 1 2 3 } ? ∀ x ∈ S : x > 2", "Ann has 1 2 3 . Is it so that for every x of Ann x is more than 2 ?", "⊥"},
}};

}  // namespace

std::vector<Item> legacy_items() {
  std::vector<Item> items;
  for (const auto& [category, symbolic, english, answer] : kQuestions) {
    Item item{"legacy", 1, std::string(symbolic), std::string(english), std::string(answer)};
    item.canonical = std::string(category) + " " + std::to_string(items.size() + 1);
    item.hash = canonical_hash(item.family, item.canonical);
    item.group = items.size() + 1;
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace entrain::reasoning
