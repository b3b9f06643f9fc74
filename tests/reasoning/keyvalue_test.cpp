#include "entrain/reasoning/keyvalue.h"

#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "family_properties.h"

namespace entrain::reasoning {
namespace {

const std::unique_ptr<Family> kKeyValue = make_keyvalue();

std::vector<std::string> keys_in(const std::string& symbolic) {
  std::vector<std::string> found;
  for (const std::string& part : split_at(split_at(symbolic, "?")[0], "+")) found.push_back(part.substr(2));
  return found;
}

bool is_held_out(const std::string& key) {
  const auto held_out = keys(KeySet::kHeldOut);
  return std::find(held_out.begin(), held_out.end(), key) != held_out.end();
}

TEST(Dictionary, NeverChanges) {
  // Models are trained on these values: a change makes them wrong.
  EXPECT_EQ(key_value("a 3"), 6);
  EXPECT_EQ(key_value("3 7"), 7);
  EXPECT_EQ(key_value("q k"), 3);
  EXPECT_EQ(keys(KeySet::kHeldOut).front(), "d k");
}

TEST(Dictionary, SetsAreDisjointAndDigitsBalanced) {
  std::set<std::string> all;
  for (const KeySet set : {KeySet::kJoint, KeySet::kHeldOut}) {
    std::map<int, int> counts;
    for (const std::string& key : keys(set)) {
      EXPECT_EQ(split_symbols(key).size(), 2u);
      ASSERT_GE(key_value(key), 0);
      ++counts[key_value(key)];
      all.insert(key);
    }
    EXPECT_EQ(counts.size(), 10u);
    for (const auto& [digit, count] : counts) EXPECT_NEAR(count, static_cast<double>(keys(set).size()) / 10, 1);
  }
  EXPECT_EQ(keys(KeySet::kJoint).size(), 588u);
  EXPECT_EQ(keys(KeySet::kHeldOut).size(), 196u);
  EXPECT_EQ(all.size(), 784u);
}

TEST(Dictionary, OtherKeysHaveNoValue) {
  for (const char* key : {"", "a", "a3", "a  3", "a 3 ", "s 3", "A 3"}) {
    EXPECT_EQ(key_value(key), -1) << key;
    EXPECT_THROW(key_question(key), Error) << key;
  }
}

TEST(KeyValue, ByHand) {
  const std::string a(keys(KeySet::kJoint)[14]), b(keys(KeySet::kHeldOut)[9]);  // digits go round: 4 and 9
  expect_solved(*kKeyValue, "k " + a + " + k " + b + " ?", "3");
  expect_solved(*kKeyValue, "k " + b + " + k " + b + " + k " + a + " ?", "2");
  expect_solved(*kKeyValue, "k " + a + " ?", "4");
}

TEST(KeyValue, RejectsOtherTexts) {
  for (const char* text : {"", "?", "k ?", "k a ?", "k a 3 + ?", "k a 3 + k s t ?", "a 3 + c 4 ?", "k a 3 - k a 4 ?", "k a 3 + k a 4"}) expect_rejected(*kKeyValue, text);
}

TEST(KeyValue, Properties) { expect_properties(*kKeyValue, 20); }

TEST(KeyValue, NamesChooseTheSetOfKeys) {
  for (int64_t depth = 1; depth <= kKeyValue->max_depth(); ++depth) {
    for (uint64_t i = 0; i < 100; ++i) {
      for (const Names names : {Names::kTrained, Names::kUnseen}) {
        RandomStream random = stream(12, "sets", i);
        for (const Item& item : kKeyValue->draw(random, {.depth = depth, .names = names})) {
          const auto terms = keys_in(item.symbolic);
          EXPECT_EQ(static_cast<int64_t>(terms.size()), depth + 1);
          for (const std::string& key : terms) EXPECT_EQ(is_held_out(key), names == Names::kUnseen) << key;
        }
      }
    }
  }
}

TEST(KeyValue, Skills) {
  for (const KeySet set : {KeySet::kJoint, KeySet::kHeldOut}) {
    for (const std::string& key : keys(set)) {
      const Item item = key_question(key);
      EXPECT_EQ(item.symbolic, "k " + key + " ?");
      EXPECT_EQ(kKeyValue->solve(item), item.answer);
      EXPECT_EQ(item.hash, canonical_hash("keyvalue", item.canonical));
    }
  }
  for (int a = 0; a < 10; ++a) {
    for (int b = 0; b < 10; ++b) {
      const Item item = sum_question(a, b);
      EXPECT_EQ(item.symbolic, std::to_string(a) + " + " + std::to_string(b) + " ?");
      EXPECT_EQ(item.answer, std::to_string((a + b) % 10));
      EXPECT_EQ(item.hash, sum_question(b, a).hash);
    }
  }
  EXPECT_EQ(sum_question(7, 5).english, "What is the last digit of seven plus five ?");
  EXPECT_THROW(sum_question(10, 1), std::logic_error);
}

TEST(KeyValue, ManyStructures) { EXPECT_GT(n_forms(*kKeyValue, 1, 2000), 4000u); }

TEST(KeyValue, EnglishMeansTheSame) { expect_english_means_the_same(*kKeyValue, {{"What is the last digit of", ""}, {"the value of", "k"}, {"plus", "+"}}); }

}  // namespace
}  // namespace entrain::reasoning
