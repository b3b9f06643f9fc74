#include "entrain/statistics/hypothesis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace entrain::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
using Doubles = std::vector<double>;

/// Of Student's t with two degrees of freedom, in closed form.
double t2_quantile(double q) { return (2 * q - 1) / std::sqrt(2 * q * (1 - q)); }

SignFlipTest sign_flips(const Doubles& differences, int64_t n_resamples = 10000) { return sign_flip_test(differences, stream(1, "s"), n_resamples); }

TEST(PairedTTest, ByHand) {
  // {1, 2, 3}: mean 2, sd 1, t = 2 sqrt(3); with two degrees of freedom P(|T| >= t) = 1 - t / sqrt(2 + t^2) = 1 - sqrt(12 / 14).
  const PairedTTest t = paired_t_test(Doubles{1, 2, 3});
  EXPECT_DOUBLE_EQ(t.mean.estimate, 2);
  EXPECT_DOUBLE_EQ(t.sd, 1);
  EXPECT_DOUBLE_EQ(t.t, 2 * std::sqrt(3.0));
  EXPECT_EQ(t.degrees, 2);
  EXPECT_NEAR(t.p, 1 - std::sqrt(12.0 / 14), 1e-14);
  EXPECT_NEAR(t.mean.high - 2, t2_quantile(0.975) / std::sqrt(3.0), 1e-13);
  EXPECT_NEAR(2 - t.mean.low, t.mean.high - 2, 1e-14);
  const PairedTTest negative = paired_t_test(Doubles{-1, -2, -3});
  EXPECT_EQ(negative.t, -t.t);
  EXPECT_EQ(negative.p, t.p);
  EXPECT_EQ(paired_t_test(Doubles{-1, 1}).p, 1);
  EXPECT_LT(paired_t_test(Doubles{1, 2, 3}, 0.5).mean.high, t.mean.high);
}

TEST(PairedTTest, WhereTheFormulaDividesByZero) {
  const PairedTTest one = paired_t_test(Doubles{3});
  EXPECT_EQ(one.mean.estimate, 3);
  EXPECT_EQ(one.sd, 0);
  EXPECT_EQ(one.t, 0);
  EXPECT_EQ(one.degrees, 0);
  EXPECT_EQ(one.p, 1);
  EXPECT_EQ(one.mean.low, -kInfinity);
  EXPECT_EQ(one.mean.high, kInfinity);
  const PairedTTest equal = paired_t_test(Doubles{0.1, 0.1, 0.1}), down = paired_t_test(Doubles{-0.1, -0.1}), zero = paired_t_test(Doubles{0, 0, 0});
  EXPECT_EQ(equal.p, 0);
  EXPECT_EQ(equal.t, kInfinity);
  EXPECT_EQ(equal.sd, 0);
  EXPECT_EQ(equal.mean.low, 0.1);
  EXPECT_EQ(equal.mean.high, 0.1);
  EXPECT_EQ(down.p, 0);
  EXPECT_EQ(down.t, -kInfinity);
  EXPECT_EQ(zero.p, 1);
  EXPECT_EQ(zero.t, 0);
  EXPECT_THROW(paired_t_test(Doubles{}), std::logic_error);
  EXPECT_THROW(paired_t_test(Doubles{1, kNan}), std::logic_error);
  EXPECT_THROW(paired_t_test(Doubles{1, kInfinity}), std::logic_error);
  EXPECT_THROW(paired_t_test(Doubles{1, 2}, 1.0), std::logic_error);
}

TEST(SignFlip, ByHand) {
  // {1, 2, 4}: all sums differ, so only the two with all signs alike reach 7: 2 / 8. {-1, 2, 4}: 5 is reached by +-7 and +-5: 4 / 8.
  EXPECT_EQ(sign_flips({1, 2, 4}).p, 0.25);
  EXPECT_EQ(sign_flips({1, 2, 4}).smallest_p, 0.25);
  EXPECT_EQ(sign_flips({-1, 2, 4}).p, 0.5);
  EXPECT_EQ(sign_flips({1, -2, -4}).p, 0.5);
  EXPECT_EQ(sign_flips({1, 2, -3}).p, 1) << "a mean of 0";
  EXPECT_DOUBLE_EQ(sign_flips({1, 2, 4}).mean, 7.0 / 3);
  const SignFlipTest five = sign_flips({0.1, 0.2, 0.3, 0.4, 0.5}), twenty = sign_flips(Doubles(20, 0.1));
  EXPECT_EQ(five.p, 2.0 / 32);
  EXPECT_TRUE(five.exact);
  EXPECT_TRUE(twenty.exact);
  EXPECT_EQ(twenty.p, std::ldexp(2, -20));
  EXPECT_EQ(twenty.smallest_p, twenty.p);
}

TEST(SignFlip, EqualSumsAreEqualInSpiteOfRounding) {
  // 0.1 + 0.2 - 0.3 is not 0 in binary; of the sums of {0.1, 0.2, 0.3}, |0| is reached by all and |0.6| by two.
  EXPECT_EQ(sign_flips({0.1, 0.2, -0.3}).p, 1);
  // 0.3 + 0.3 - 0.1 - 0.2 = 0.3 as 0.1 + 0.2: each of 16 sums is +-0.9, +-0.7, +-0.5, +-0.3 (two ways each) or +-0.3.
  Doubles mixed{0.3, 0.3, -0.1, -0.2};
  int reached = 0;
  for (int signs = 0; signs < 16; ++signs) {
    const int tenths[] = {3, 3, 1, 2};
    int sum = 0;
    for (int i = 0; i < 4; ++i) sum += signs >> i & 1 ? tenths[i] : -tenths[i];
    reached += std::abs(sum) >= 3;
  }
  EXPECT_EQ(sign_flips(mixed).p, reached / 16.0);
}

TEST(SignFlip, BeyondEnumerationItDraws) {
  Doubles differences;
  RandomStream random = stream(7, "d");
  for (int i = 0; i < 30; ++i) differences.push_back(0.35 + random.next_normal());
  const SignFlipTest drawn = sign_flips(differences, 40000);
  EXPECT_FALSE(drawn.exact);
  EXPECT_EQ(drawn.smallest_p, 1.0 / 40001);
  // The normal limit under random signs: sum / sqrt(sum of squares); 40,000 draws know p to sqrt(p / 40000), and 30 terms are normal to 1 %.
  double sum = 0, squares = 0;
  for (const double d : differences) sum += d, squares += d * d;
  const double p = std::erfc(std::abs(sum) / std::sqrt(2 * squares));
  ASSERT_GT(p, 0.01);
  EXPECT_NEAR(drawn.p, p, 4 * std::sqrt(p / 40000) + 0.02 * p);
  // More than 64 differences take more than one word of signs.
  const Doubles many(100, 1.0);
  EXPECT_EQ(sign_flips(many, 999).p, 0.001) << "no draw reaches the sum of all: (0 + 1) / (999 + 1)";
  EXPECT_EQ(sign_flips(many, 999).smallest_p, 0.001);
  Doubles balanced;
  for (int i = 0; i < 80; ++i) balanced.push_back(i % 2 ? 1 : -1);
  EXPECT_EQ(sign_flips(balanced, 500).p, 1);
  // Words that are not drawn anew would repeat signs 1-64 in 65-128 and spread the sum sqrt(2) too wide: two standard errors apart
  // from 0 would then have p 0.16, not 0.0455.
  Doubles long_ones(128, 1.0);
  for (int i = 0; i < 53; ++i) long_ones[static_cast<size_t>(i)] = -1;  // sum 22 = 1.94 sqrt(128)
  EXPECT_NEAR(sign_flips(long_ones, 40000).p, 0.0633, 0.006);  // P(|2 Binomial(128, 1/2) - 128| >= 22)
}

TEST(SignFlip, Degenerate) {
  EXPECT_EQ(sign_flips({5}).p, 1);
  EXPECT_EQ(sign_flips({5}).smallest_p, 1);
  EXPECT_EQ(sign_flips({0, 0, 0}).p, 1);
  EXPECT_EQ(sign_flips(Doubles(25, 0.0)).p, 1);
  EXPECT_THROW(sign_flips({}), std::logic_error);
  EXPECT_THROW(sign_flips({kNan}), std::logic_error);
  EXPECT_THROW(sign_flips(Doubles(25, 1.0), 0), std::logic_error);
}

TEST(McNemar, ByHand) {
  EXPECT_DOUBLE_EQ(mcnemar_exact(0, 5), 2.0 / 32);
  EXPECT_DOUBLE_EQ(mcnemar_exact(5, 0), 2.0 / 32);
  EXPECT_DOUBLE_EQ(mcnemar_exact(1, 5), 2 * 7.0 / 64);
  EXPECT_EQ(mcnemar_exact(3, 3), 1) << "twice the half with the middle is above 1";
  EXPECT_EQ(mcnemar_exact(0, 0), 1);
  EXPECT_EQ(mcnemar_exact(0, 1), 1);
  EXPECT_THROW(mcnemar_exact(-1, 2), std::logic_error);
}

TEST(BinomialTest, ByHand) {
  // Binomial(3, 1/3): 8, 12, 6, 1 of 27. At 2 the outcomes no likelier are 2 and 3; at 0 all but 1.
  EXPECT_NEAR(binomial_test(2, 3, 1.0 / 3), 7.0 / 27, 1e-14);
  EXPECT_NEAR(binomial_test(3, 3, 1.0 / 3), 1.0 / 27, 1e-14);
  EXPECT_NEAR(binomial_test(0, 3, 1.0 / 3), 15.0 / 27, 1e-14);
  EXPECT_EQ(binomial_test(1, 3, 1.0 / 3), 1);
  // Binomial(4, 1/2): 1 and 3 are equally likely, so 1 takes in 0, 1, 3 and 4.
  EXPECT_NEAR(binomial_test(1, 4), 10.0 / 16, 1e-14);
  EXPECT_NEAR(binomial_test(3, 4), 10.0 / 16, 1e-14);
  EXPECT_NEAR(binomial_test(5, 5, 0.9), 1, 1e-14) << "the likeliest outcome, though not the mean";
}

TEST(BinomialTest, EqualLikelihoodsAreEqualInSpiteOfRounding) {
  for (int64_t n = 1; n <= 300; ++n) {
    for (int64_t successes = 0; successes <= n; ++successes) EXPECT_NEAR(binomial_test(successes, n), mcnemar_exact(successes, n - successes), 1e-12) << successes << " of " << n;
  }
}

TEST(BinomialTest, Degenerate) {
  EXPECT_EQ(binomial_test(0, 0), 1);
  EXPECT_EQ(binomial_test(0, 7, 0), 1);
  EXPECT_EQ(binomial_test(1, 7, 0), 0);
  EXPECT_EQ(binomial_test(7, 7, 1), 1);
  EXPECT_EQ(binomial_test(6, 7, 1), 0);
  EXPECT_THROW(binomial_test(8, 7), std::logic_error);
  EXPECT_THROW(binomial_test(-1, 7), std::logic_error);
  EXPECT_THROW(binomial_test(1, 7, 1.5), std::logic_error);
  EXPECT_THROW(binomial_test(1, 7, kNan), std::logic_error);
}

TEST(Wilson, ByHand) {
  // z^2 = 3.8415: 8 of 10 gives (0.8 + 0.19207) / 1.38415 -+ 1.95996 / 1.38415 sqrt(0.016 + 0.0096036).
  const Interval i = wilson_interval(8, 10);
  EXPECT_EQ(i.estimate, 0.8);
  EXPECT_NEAR(i.low, 0.490162, 1e-6);
  EXPECT_NEAR(i.high, 0.943318, 1e-6);
  // The limits are where the score test is just rejected: |share - p| = z sqrt(p (1 - p) / n).
  for (const double p : {i.low, i.high}) EXPECT_NEAR(std::abs(0.8 - p), 1.959963984540054 * std::sqrt(p * (1 - p) / 10), 1e-14);
  const Interval none = wilson_interval(0, 20), all = wilson_interval(20, 20), empty = wilson_interval(0, 0);
  for (int64_t n = 1; n <= 100; ++n) {
    EXPECT_EQ(wilson_interval(0, n).low, 0) << "exactly, at any rounding of the formula";
    EXPECT_EQ(wilson_interval(n, n).high, 1);
  }
  EXPECT_NEAR(none.high, 1 - all.low, 1e-15);
  EXPECT_EQ(empty.estimate, 0.5);
  EXPECT_EQ(empty.low, 0);
  EXPECT_EQ(empty.high, 1);
  EXPECT_THROW(wilson_interval(3, 2), std::logic_error);
  EXPECT_THROW(wilson_interval(1, 2, 0), std::logic_error);
}

TEST(Holm, ByHand) {
  EXPECT_EQ(holm(Doubles{0.01, 0.04, 0.03, 0.005}), (Doubles{0.03, 0.06, 0.06, 0.02}));
  EXPECT_EQ(holm(Doubles{0.5, 0.6}), (Doubles{1, 1}));
  EXPECT_EQ(holm(Doubles{0.2}), Doubles{0.2});
  EXPECT_EQ(holm(Doubles{}), Doubles{});
  EXPECT_THROW(holm(Doubles{0.1, kNan}), std::logic_error);
  EXPECT_THROW(holm(Doubles{1.1}), std::logic_error);
}

TEST(BenjaminiHochberg, ByHand) {
  // Ascending 0.005, 0.01, 0.03, 0.04 times 4, 2, 4/3, 1, and the least of those behind.
  const Doubles adjusted = benjamini_hochberg(Doubles{0.01, 0.04, 0.03, 0.005});
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(adjusted[i], (Doubles{0.02, 0.04, 0.04, 0.02})[i], 1e-16);
  EXPECT_EQ(benjamini_hochberg(Doubles{1, 0.5}), (Doubles{1, 1}));
  EXPECT_EQ(benjamini_hochberg(Doubles{0, 0}), (Doubles{0, 0}));
  EXPECT_EQ(benjamini_hochberg(Doubles{}), Doubles{});
  EXPECT_THROW(benjamini_hochberg(Doubles{-0.1}), std::logic_error);
}

TEST(Equivalence, ByHand) {
  // {1, 2, 3}, standard error 1 / sqrt(3), bounds -1 and 4: t = 3 sqrt(3) and 2 sqrt(3) with two degrees of freedom,
  // whose one-sided p is (1 - t / sqrt(2 + t^2)) / 2.
  const EquivalenceTest e = equivalence_test(Doubles{1, 2, 3}, -1, 4);
  EXPECT_NEAR(e.p_low, (1 - std::sqrt(27.0 / 29)) / 2, 1e-14);
  EXPECT_NEAR(e.p_high, (1 - std::sqrt(12.0 / 14)) / 2, 1e-14);
  EXPECT_EQ(e.p, e.p_high);
  EXPECT_NEAR(e.mean.high - 2, t2_quantile(0.95) / std::sqrt(3.0), 1e-13) << "90 %";
  EXPECT_NEAR(2 - e.mean.low, t2_quantile(0.95) / std::sqrt(3.0), 1e-13);
  const EquivalenceTest outside = equivalence_test(Doubles{1, 2, 3}, -1, 1);
  EXPECT_GT(outside.p, 0.5);
}

TEST(Equivalence, HoldsWhenTheIntervalIsInside) {
  RandomStream random = stream(3, "e");
  int equivalent = 0;
  for (int repetition = 0; repetition < 200; ++repetition) {
    Doubles differences;
    for (int i = 0; i < 8; ++i) differences.push_back(0.3 + random.next_normal());
    for (const double alpha : {0.05, 0.01}) {
      const EquivalenceTest e = equivalence_test(differences, -1, 1, alpha);
      EXPECT_EQ(e.p < alpha, e.mean.low > -1 && e.mean.high < 1);
      equivalent += e.p < alpha;
    }
  }
  EXPECT_GT(equivalent, 40);
  EXPECT_LT(equivalent, 360);
}

TEST(Equivalence, Degenerate) {
  const EquivalenceTest one = equivalence_test(Doubles{0}, -1, 1), inside = equivalence_test(Doubles{0.5, 0.5}, -1, 1), on = equivalence_test(Doubles{1, 1}, -1, 1),
                        under = equivalence_test(Doubles{-1, -1}, -1, 1), out = equivalence_test(Doubles{2, 2}, -1, 1);
  EXPECT_EQ(one.p, 1);
  EXPECT_EQ(one.p_low, 1);
  EXPECT_EQ(one.mean.high, kInfinity);
  EXPECT_EQ(inside.p, 0);
  EXPECT_EQ(inside.mean.low, 0.5);
  EXPECT_EQ(on.p_low, 0);
  EXPECT_EQ(on.p_high, 1);
  EXPECT_EQ(on.p, 1);
  EXPECT_EQ(under.p_low, 1);
  EXPECT_EQ(under.p_high, 0);
  EXPECT_EQ(out.p, 1);
  EXPECT_THROW(equivalence_test(Doubles{}, -1, 1), std::logic_error);
  EXPECT_THROW(equivalence_test(Doubles{0, 1}, 1, -1), std::logic_error);
  EXPECT_THROW(equivalence_test(Doubles{0, 1}, -1, 1, 0.5), std::logic_error);
}

TEST(Spearman, ByHand) {
  // Ranks 1 2 3 4 5 and 2 1 4 3 5: rho = 1 - 6 * 4 / (5 * 24) = 0.8.
  const RankCorrelation c = spearman(Doubles{1, 2, 3, 4, 5}, Doubles{20, 10, 400, 300, 5000});
  EXPECT_NEAR(c.rho, 0.8, 1e-15);
  EXPECT_NEAR(c.p, 0.10408803866182788, 1e-12);  // t = 0.8 sqrt(3 / 0.36), three degrees of freedom
  // Ties: ranks 1.5 1.5 3 against 1 2 3 have covariance 1.5, squares 1.5 and 2.
  EXPECT_NEAR(spearman(Doubles{7, 7, 9}, Doubles{1, 2, 3}).rho, 1.5 / std::sqrt(3.0), 1e-15);
  const RankCorrelation up = spearman(Doubles{1, 2, 3, 4}, Doubles{1, 4, 9, 16}), down = spearman(Doubles{1, 2, 3, 4}, Doubles{9, 8, 7, -6});
  EXPECT_EQ(up.rho, 1);
  EXPECT_EQ(up.p, 0);
  EXPECT_EQ(down.rho, -1);
  EXPECT_EQ(down.p, 0);
}

TEST(Spearman, Degenerate) {
  for (const auto& [x, y] : std::vector<std::pair<Doubles, Doubles>>{{{}, {}}, {{1}, {2}}, {{1, 2}, {3, 4}}, {{1, 1, 1}, {1, 2, 3}}, {{1, 2, 3}, {2, 2, 2}}}) {
    EXPECT_EQ(spearman(x, y).rho, 0);
    EXPECT_EQ(spearman(x, y).p, 1);
  }
  EXPECT_THROW(spearman(Doubles{1, 2}, Doubles{1}), std::logic_error);
  EXPECT_THROW(spearman(Doubles{1, 2, kNan}, Doubles{1, 2, 3}), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
