#include "family_properties.h"

namespace entrain::reasoning {
namespace {

TEST(Quantifiers, Properties) { expect_properties(family("quantifiers"), 60, 60); }

TEST(Quantifiers, BoundsByHand) {
  const Family& quantifiers = family("quantifiers");
  expect_solved(quantifiers, "S : { 3 5 } ? ∀ x ∈ S : x > 2", kTrue);
  expect_solved(quantifiers, "S : { 3 5 } ; T : { 1 } ? ∀ x ∈ S : x > 3", kFalse);
  expect_solved(quantifiers, "S : { 3 5 } ? ∃ x ∈ S : x ≡ 5", kTrue);
  expect_solved(quantifiers, "S : { 3 5 } ? ∃ x ∈ S : x < 3", kFalse);
  expect_solved(quantifiers, "S : { 3 5 } ; T : { 4 6 } ? ∀ x ∈ S : ∃ y ∈ T : x < y", kTrue);
  expect_solved(quantifiers, "S : { 3 5 } ; T : { 4 6 } ? ∃ x ∈ S : ∀ y ∈ T : x > y", kFalse);
  expect_solved(quantifiers, "S : { 3 7 } ; T : { 4 6 } ? ∃ x ∈ S : ∀ y ∈ T : x > y", kTrue);
  expect_solved(quantifiers, "S : { 3 5 } ; T : { 4 6 } ? ∀ x ∈ S : ∃ y ∈ T : ( x < y ∧ y < 5 )", kFalse);
  expect_solved(quantifiers, "S : { 3 5 } ; T : { 4 6 } ? ∀ x ∈ S : ∀ y ∈ T : ( x < y ∨ x ≡ 5 )", kTrue);
}

TEST(Quantifiers, SyllogismsByHand) {
  const Family& quantifiers = family("quantifiers");
  expect_solved(quantifiers, "All A B ; All B C ? All A C", kTrue);         // Barbara
  expect_solved(quantifiers, "No B C ; All A B ? No A C", kTrue);           // Celarent
  expect_solved(quantifiers, "All B C ; Some A B ? Some A C", kTrue);       // Darii
  expect_solved(quantifiers, "No B C ; Some A B ? All A C", kFalse);        // Ferio, against it
  expect_solved(quantifiers, "All A B ; Some B C ? Some A C", kUncertain);  // the middle not distributed
  expect_solved(quantifiers, "All A B ; All C B ? All A C", kUncertain);
  expect_solved(quantifiers, "All A B ? Some A B", kUncertain);             // A may be empty
  expect_solved(quantifiers, "All A B ; All A C ; No B C ? All A D", kTrue);  // A is empty
  expect_solved(quantifiers, "Some A B ? Some B A", kTrue);
  expect_solved(quantifiers, "No A B ? Some B A", kFalse);
  expect_solved(quantifiers, "All B A ? All A B", kUncertain);
}

TEST(Quantifiers, RejectsOtherTexts) {
  for (const std::string text : {"", "All A B", "All A ? All A B", "Most A B ? All A B", "Some A B ; No A B ? All A B", "S : { 3 } ? ∀ x ∈ T : x > 2",
                                 "S : { 3 } ? x > 2", "S : { a } ? ∀ x ∈ S : x > 2", "S : { 3 } ? ∀ x ∈ S : x > > 2"}) {
    expect_rejected(family("quantifiers"), text);
  }
}

TEST(Quantifiers, LongProofsDoNotTouchTheQuestion) {
  for (uint64_t i = 0; i < 50; ++i) {
    RandomStream random = stream(3, "touch", i);
    for (const Item& item : family("quantifiers").draw(random, {.depth = 6})) {
      const auto halves = split_at(item.symbolic, "?");
      const auto asked = split_symbols(halves[1]);
      for (const std::string& statement : split_at(halves[0], ";")) {
        const auto symbols = split_symbols(statement);
        if (symbols[0] == "All") continue;
        for (const std::string& term : {asked[1], asked[2]}) EXPECT_EQ(std::count(symbols.begin(), symbols.end(), term), 0) << item.symbolic;
      }
    }
  }
}

TEST(Quantifiers, HasManyStructures) {
  for (const int64_t depth : {1, 2, 3}) EXPECT_GT(n_forms(family("quantifiers"), depth, 1000), 1950u) << depth;
  for (const int64_t depth : {4, 7}) EXPECT_GT(n_forms(family("quantifiers"), depth, 700), 1900u) << depth;
}

}  // namespace
}  // namespace entrain::reasoning
