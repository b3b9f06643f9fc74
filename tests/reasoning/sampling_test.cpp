#include "entrain/reasoning/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "entrain/base/error.h"

namespace entrain::reasoning {
namespace {

Request request(Split split, int64_t n) {
  return {.family = "order", .min_depth = 1, .max_depth = 3, .n = n, .seed = 4, .split = split};
}

TEST(Sampling, GivesWhatIsAskedForAndTheSameAgain) {
  for (const Split split : {Split::kTrain, Split::kAwareness, Split::kTune, Split::kTest}) {
    const auto items = sample(request(split, 100));
    ASSERT_EQ(items.size(), 100u);
    EXPECT_EQ(sample(request(split, 100)), items);
    std::map<int64_t, int> depths;
    for (const Item& item : items) {
      ++depths[item.depth];
      EXPECT_EQ(split_of(item.hash), split);
      EXPECT_EQ(item.hash, canonical_hash("order", item.canonical));
      EXPECT_EQ(item.family, "order");
    }
    EXPECT_EQ(depths, (std::map<int64_t, int>{{1, 34}, {2, 33}, {3, 33}}));
  }
}

TEST(Sampling, KeepsGroupsWhole) {
  std::map<uint64_t, std::set<std::string>> groups;
  for (const Item& item : sample(request(Split::kTrain, 99))) groups[item.group].insert(item.answer);
  EXPECT_EQ(groups.size(), 33u);
  for (const auto& [group, answers] : groups) EXPECT_EQ(answers.size(), 3u);
}

TEST(Sampling, MoreItemsBeginWithTheSame) {
  Request some = request(Split::kTest, 30), more = request(Split::kTest, 60);
  some.max_depth = more.max_depth = 1;
  const auto few = sample(some), many = sample(more);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), many.begin()));
}

TEST(Sampling, SeedsAndSplitsDiffer) {
  Request other = request(Split::kTrain, 30);
  const auto items = sample(other);
  other.seed = 5;
  EXPECT_NE(sample(other), items);
}

TEST(Sampling, NoStructureIsInTwoSplits) {
  std::map<CanonicalHash, Split> seen;
  for (const std::string family : {"chains", "boolean", "order", "quantifiers", "consistency"}) {
    for (const Split split : {Split::kTrain, Split::kAwareness, Split::kTune, Split::kTest}) {
      for (const Item& item : sample({.family = family, .min_depth = 1, .max_depth = 1, .n = 600, .seed = 1, .split = split})) {
        const auto [place, is_new] = seen.emplace(item.hash, split);
        EXPECT_EQ(place->second, split) << item.symbolic;
      }
    }
  }
}

TEST(Sampling, RefusesWhatThereIsNot) {
  Request bad = request(Split::kTrain, 10);
  bad.max_depth = 99;
  EXPECT_THROW(sample(bad), Error);
  bad = request(Split::kTrain, 10);
  bad.min_depth = 0;
  EXPECT_THROW(sample(bad), Error);
  bad = request(Split::kTrain, 10);
  bad.family = "ordre";
  try {
    sample(bad);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_NE(error.hint().find("order"), std::string::npos);
  }
}

/// One structure, which is in one split; closed where wanted.
class OneStructure : public Family {
 public:
  explicit OneStructure(bool is_closed) : is_closed_(is_closed) {}
  std::string name() const override { return "one"; }
  std::string description() const override { return ""; }
  int64_t max_depth() const override { return 1; }
  bool closed() const override { return is_closed_; }
  double chance(int64_t) const override { return 0.5; }
  std::vector<Item> draw(RandomStream&, const Draw&) const override {
    Item item{"", 1, "a ?", "a ?", "●"};
    item.canonical = "a";
    return {item};
  }
  std::string solve(const Item&) const override { return "●"; }
  std::string solve_by_search(const Item&) const override { return "●"; }

 private:
  bool is_closed_;
};

TEST(Sampling, ClosedFamiliesAreInEverySplitAndOthersGiveUp) {
  const Split in = split_of(canonical_hash("one", "a"));
  const Request elsewhere{.family = "", .n = 1, .split = in == Split::kTrain ? Split::kTest : Split::kTrain};
  EXPECT_EQ(sample(OneStructure(true), elsewhere).size(), 1u);
  try {
    sample(OneStructure(false), elsewhere);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
  }
}

}  // namespace
}  // namespace entrain::reasoning
