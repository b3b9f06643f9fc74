#include "entrain/lab/bootstrap.h"

#include <gtest/gtest.h>

namespace entrain::lab {
namespace {

/// Blocks of unequal size whose models differ by `difference` nats a token on average; the spread of a block's difference is 0.3.
std::vector<PairedBlock> make_blocks(uint64_t seed, size_t n, double difference) {
  RandomStream random = stream(seed, "blocks");
  std::vector<PairedBlock> blocks(n);
  for (PairedBlock& block : blocks) {
    block.tokens = 50 + static_cast<double>(random.next_below(101));
    const double hardness = 3 + random.next_normal();  // shared by both models, so it must cancel
    block.nats_b = block.tokens * hardness;
    block.nats_a = block.nats_b + block.tokens * (difference + 0.3 * random.next_normal());
  }
  return blocks;
}

TEST(PairedBootstrap, MeansByHand) {
  const Difference d = paired_bootstrap({{10, 4, 2}, {3, 5, 8}}, 1000, stream(1, "b"));
  EXPECT_DOUBLE_EQ(d.mean, (6.0 - 2.0) / 10.0);
  // Two blocks have four draws: both alike (a quarter each: 3 and -0.25) or mixed.
  EXPECT_DOUBLE_EQ(d.high, 3.0);
  EXPECT_DOUBLE_EQ(d.low, -0.25);
  EXPECT_FALSE(d.significant());
  const Difference one = paired_bootstrap({{10, 4, 2}}, 100, stream(1, "b"));
  EXPECT_EQ(one.low, 3.0);
  EXPECT_EQ(one.high, 3.0);
}

// The 95 % interval holds the truth in 95 % of 300 repetitions; the share of 300 draws has a standard deviation of 1.3 %, and
// percentile intervals of 60 blocks are known to fall short by about 1 %: 0.91 to 0.985 is three deviations around that. Their mean
// width is 2 x 1.96 standard errors, which are 0.3 sqrt(E t^2 / (E t)^2 / 60) = 0.0403 for blocks of t = 50..150 tokens; 5 % allows
// for the bootstrap's own bias (1 %) and 500 resamples.
TEST(PairedBootstrap, ItsIntervalHoldsTheTruth) {
  for (const double truth : {0.0, 0.2}) {
    int covered = 0, below = 0, above = 0;
    double width = 0;
    for (uint64_t repetition = 0; repetition < 300; ++repetition) {
      const Difference d = paired_bootstrap(make_blocks(repetition, 60, truth), 500, stream(repetition, "resample"));
      width += (d.high - d.low) / 300;
      EXPECT_LE(d.low, d.mean);
      EXPECT_GE(d.high, d.mean);
      covered += d.low <= truth && truth <= d.high;
      below += truth < d.low;
      above += truth > d.high;
    }
    EXPECT_NEAR(width, 2 * 1.96 * 0.0403, 0.05 * 2 * 1.96 * 0.0403);
    EXPECT_GE(covered, 273) << truth;
    EXPECT_LE(covered, 296) << truth;
    EXPECT_GT(below, 0) << "misses on both sides";
    EXPECT_GT(above, 0);
  }
}

TEST(PairedBootstrap, FindsAPlantedDifferenceAndNoOther) {
  // 0.15 nats a token is four standard errors of 0.3 / sqrt(60), although single blocks differ by a whole nat in hardness.
  const Difference worse = paired_bootstrap(make_blocks(1, 60, 0.15), 2000, stream(1, "b")), better = paired_bootstrap(make_blocks(1, 60, -0.15), 2000, stream(1, "b"));
  EXPECT_TRUE(worse.significant());
  EXPECT_GT(worse.low, 0);
  EXPECT_TRUE(better.significant());
  EXPECT_LT(better.high, 0);
  std::vector<PairedBlock> same = make_blocks(2, 60, 0.5);
  for (PairedBlock& block : same) block.nats_a = block.nats_b;
  const Difference none = paired_bootstrap(same, 1000, stream(1, "b"));
  EXPECT_EQ(none.mean, 0);
  EXPECT_EQ(none.low, 0);
  EXPECT_EQ(none.high, 0);
  EXPECT_FALSE(none.significant());
  EXPECT_FALSE((Difference{0.1, 0.0, 0.2}).significant()) << "an interval that touches 0";
}

TEST(PairedBootstrap, RepeatsWithItsStream) {
  const auto blocks = make_blocks(3, 40, 0.1);
  const Difference a = paired_bootstrap(blocks, 500, stream(1, "b")), b = paired_bootstrap(blocks, 500, stream(1, "b")), c = paired_bootstrap(blocks, 500, stream(2, "b"));
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_NE(a.low, c.low);
  EXPECT_EQ(a.mean, c.mean);
  EXPECT_THROW(paired_bootstrap({}, 100, stream(1, "b")), std::logic_error);
}

}  // namespace
}  // namespace entrain::lab
