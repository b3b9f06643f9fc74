#include "entrain/ops/ops.h"
#include "gradients.h"

namespace entrain::ops {
namespace {

using namespace testing;

TEST(BagEmbedding, FloatMatchesDoubleOverOddShapes) {
  for (const int64_t width : {1, 7, 31, 64, 100}) {
    for (const int64_t bag : {1, 2, 3, 6}) {
      for (const int64_t positions : {1, 2, 17}) {
        const Tensor ids = integers(11, {3, positions * bag});
        // Sums of at most 3 * 17 * 6 terms, each rounded once.
        expect_float_matches_double([&](const auto& in) { return bag_embedding(in[0], ids, bag); }, {normal({11, width})}, 3e-6);
      }
    }
  }
}

TEST(BagEmbedding, GradientsMatchDifferencesWithRepeatedTokensInABag) {
  const Tensor ids = ids_of({0, 0, 0, 1, 2, 1, 3, 3, 0, 4, 4, 4}).view({2, 6});
  for (const int64_t bag : {1, 2, 3}) {
    expect_gradients_match_differences([&](const auto& in) { return bag_embedding(in[0], ids, bag); }, {normal({5, 3})});
  }
}

TEST(BagEmbedding, BagOfOneIsEmbeddingBitForBit) {
  const Tensor table = normal({50, 33}), ids = integers(50, {4, 129});
  const auto ours = run_both_ways([&](const auto& in) { return bag_embedding(in[0], ids, 1); }, {table});
  const auto plain = run_both_ways([&](const auto& in) { return at::embedding(in[0], ids); }, {table});
  EXPECT_TRUE(at::equal(ours[0], plain[0]));
  EXPECT_TRUE(at::equal(ours[1], plain[1]));
}

TEST(BagEmbedding, Repeats) {
  const Tensor ids = integers(20, {8, 120});
  expect_repeats([&](const auto& in) { return bag_embedding(in[0], ids, 4); }, {normal({20, 100})});
}

TEST(BagEmbedding, RejectsWrongArguments) {
  const Tensor table = normal({5, 4});
  EXPECT_THROW(bag_embedding(table, integers(5, {2, 5}), 2), c10::Error);
  EXPECT_THROW(bag_embedding(table, integers(5, {2, 4}), 0), c10::Error);
  EXPECT_THROW(bag_embedding(table, at::full({1, 2}, 5, at::kLong), 2), c10::Error);
  EXPECT_THROW(bag_embedding(table, at::full({1, 2}, -1, at::kLong), 1), c10::Error);
}

}  // namespace
}  // namespace entrain::ops
