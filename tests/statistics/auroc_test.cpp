#include "entrain/statistics/auroc.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace entrain::statistics {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
using Doubles = std::vector<double>;
using Labels = std::vector<uint8_t>;
using Strata = std::vector<int64_t>;

struct Sample {
  Doubles scores, other;
  Labels labels;
  Strata strata;
};

/// Normal scores, positives higher by `shift` sd: the true area is Phi(shift / sqrt(2)). `other` is as good and shares half its noise.
/// Each of n_strata strata has its own level of score and of positives, which an area across strata would count as skill.
Sample draw(uint64_t seed, size_t n, double shift, int64_t n_strata = 1) {
  RandomStream random = stream(seed, "auroc");
  Sample sample;
  for (size_t i = 0; i < n; ++i) {
    const int64_t stratum = static_cast<int64_t>(i) % n_strata;
    const double level = static_cast<double>(stratum) / static_cast<double>(n_strata);
    const bool positive = random.next_uniform() < 0.3 + 0.4 * level;
    const double shared = random.next_normal(), base = 5 * level + (positive ? shift : 0);
    sample.scores.push_back(base + (shared + random.next_normal()) / std::sqrt(2.0));
    sample.other.push_back(base + (shared + random.next_normal()) / std::sqrt(2.0));
    sample.labels.push_back(positive);
    sample.strata.push_back(stratum);
  }
  return sample;
}

double true_area(double shift) { return std::erfc(-shift / 2) / 2; }

TEST(Auroc, ByHand) {
  // Positives 2, 3, 5 against negatives 1, 3: 2 beats 1 only, 3 beats 1 and ties 3, 5 beats both: 4.5 of 6.
  const Auroc a = auroc(Doubles{1, 2, 3, 3, 5}, Labels{0, 1, 0, 1, 1});
  EXPECT_DOUBLE_EQ(a.auroc.estimate, 0.75);
  EXPECT_EQ(a.n_positive, 3);
  EXPECT_EQ(a.n_negative, 2);
  // Placements of positives 0.5, 0.75, 1 (variance 1/16), of negatives 1 and 0.5 (variance 1/8): se^2 = 1/48 + 1/16.
  EXPECT_NEAR(a.se, std::sqrt(1.0 / 48 + 1.0 / 16), 1e-15);
  const double half = 1.959963984540054 * a.se / (0.75 * 0.25);
  EXPECT_NEAR(a.auroc.low, 1 / (1 + std::exp(half - std::log(3.0))), 1e-14);
  EXPECT_NEAR(a.auroc.high, 1 / (1 + std::exp(-half - std::log(3.0))), 1e-14);
}

TEST(Auroc, OrderAloneCounts) {
  Sample sample = draw(1, 80, 0.7);
  const Auroc a = auroc(sample.scores, sample.labels);
  Doubles grown, negated;
  Labels swapped;
  for (size_t i = 0; i < 80; ++i) {
    grown.push_back(std::exp(sample.scores[i]) + 3);
    negated.push_back(-sample.scores[i]);
    swapped.push_back(1 - sample.labels[i]);
  }
  EXPECT_EQ(auroc(grown, sample.labels).auroc.low, a.auroc.low);
  for (const Auroc& b : {auroc(negated, sample.labels), auroc(sample.scores, swapped)}) {
    EXPECT_NEAR(b.auroc.estimate, 1 - a.auroc.estimate, 1e-14);
    EXPECT_NEAR(b.auroc.low, 1 - a.auroc.high, 1e-14);
    EXPECT_NEAR(b.se, a.se, 1e-14);
  }
}

TEST(Auroc, Degenerate) {
  for (const Auroc& none : {auroc(Doubles{}, Labels{}), auroc(Doubles{1, 2}, Labels{1, 1})}) {
    EXPECT_EQ(none.auroc.estimate, 0.5);
    EXPECT_EQ(none.auroc.low, 0);
    EXPECT_EQ(none.auroc.high, 1);
  }
  const Auroc constant = auroc(Doubles{2, 2, 2}, Labels{0, 1, 1});
  EXPECT_EQ(constant.auroc.estimate, 0.5);
  EXPECT_EQ(constant.auroc.low, 0.5);
  EXPECT_EQ(constant.auroc.high, 0.5);
  const Auroc best = auroc(Doubles{1, 2, 3, 4}, Labels{0, 0, 1, 1}), worst = auroc(Doubles{1, 2, 3, 4}, Labels{1, 1, 0, 0}), single = auroc(Doubles{1, 2, 3}, Labels{0, 1, 0});
  EXPECT_EQ(best.auroc.estimate, 1);
  EXPECT_EQ(best.auroc.high, 1);
  EXPECT_LT(best.auroc.low, 0.7) << "four items tell little";
  EXPECT_NEAR(worst.auroc.high, 1 - best.auroc.low, 1e-12);
  EXPECT_EQ(worst.auroc.low, 0);
  EXPECT_EQ(single.auroc.estimate, 0.5);
  EXPECT_GT(single.se, 0.2);
  EXPECT_LT(single.auroc.low, 0.2);
  EXPECT_THROW(auroc(Doubles{1}, Labels{}), std::logic_error);
  EXPECT_THROW(auroc(Doubles{1, 2}, Labels{0, 2}), std::logic_error);
  EXPECT_THROW(auroc(Doubles{1, kNan}, Labels{0, 1}), std::logic_error);
  EXPECT_THROW(auroc(Doubles{1, 2}, Labels{0, 1}, 1), std::logic_error);
}

// 400 repetitions know a coverage of 0.95 to 0.011; 3.5 of those.
TEST(Auroc, IntervalCovers) {
  for (const double shift : {0.0, 1.0, 2.5}) {
    int covered = 0;
    for (uint64_t repetition = 0; repetition < 400; ++repetition) {
      const Sample sample = draw(repetition, 120, shift);
      covered += !auroc(sample.scores, sample.labels).auroc.excludes(true_area(shift));
    }
    EXPECT_NEAR(covered / 400.0, 0.95, 0.038) << shift;
  }
}

TEST(Auroc, HalfWidthAtAThousandItems) {
  // A planning figure: 1,000 items with 10 % negatives and an area near 0.75 know it to about 0.05 to 0.06.
  RandomStream random = stream(2, "w");
  Doubles scores;
  Labels labels;
  for (int i = 0; i < 1000; ++i) {
    labels.push_back(i >= 100);
    scores.push_back(random.next_normal() + (i >= 100 ? 1 : 0));
  }
  const Auroc a = auroc(scores, labels);
  EXPECT_GT(a.auroc.high - a.auroc.low, 0.08);
  EXPECT_LT(a.auroc.high - a.auroc.low, 0.12);
}

TEST(StratifiedAuroc, ByHand) {
  // Stratum 7: negatives 1, positives 2 and 0: one of two pairs. Stratum 9: two pairs, both right. Stratum 4: positives alone.
  const StratifiedAuroc a = stratified_auroc(Doubles{1, 2, 0, 10, 20, 30, 99}, Labels{0, 1, 1, 0, 0, 1, 1}, Strata{7, 7, 7, 9, 9, 9, 4}, 50, stream(1, "s"));
  EXPECT_DOUBLE_EQ(a.auroc.estimate, 0.75);
  EXPECT_EQ(a.n_pairs, 4);
  EXPECT_EQ(a.n_strata, 2);
  EXPECT_EQ(a.n_strata_left_out, 1);
}

TEST(StratifiedAuroc, LevelsOfStrataAreNoSkill) {
  const Sample sample = draw(3, 3000, 0, 6);
  EXPECT_GT(auroc(sample.scores, sample.labels).auroc.low, 0.55);
  const StratifiedAuroc within = stratified_auroc(sample.scores, sample.labels, sample.strata, 200, stream(1, "s"));
  EXPECT_FALSE(within.auroc.excludes(0.5));
  const StratifiedAuroc whole = stratified_auroc(sample.scores, sample.labels, {}, 10, stream(1, "s"));
  EXPECT_NEAR(whole.auroc.estimate, auroc(sample.scores, sample.labels).auroc.estimate, 1e-13) << "no strata are one stratum";
}

// Bootstrap percentiles of 200 draws: their own noise takes a point or two of coverage; 200 repetitions know it to 0.0154.
TEST(StratifiedAuroc, IntervalCovers) {
  int covered = 0, difference_covered = 0;
  for (uint64_t repetition = 0; repetition < 200; ++repetition) {
    const Sample sample = draw(repetition + 1000, 200, 0.8, 4);
    covered += !stratified_auroc(sample.scores, sample.labels, sample.strata, 200, stream(repetition, "s")).auroc.excludes(true_area(0.8));
    difference_covered += !delta_auroc(sample.scores, sample.other, sample.labels, sample.strata, 200, stream(repetition, "s")).difference.excludes(0);
  }
  EXPECT_GT(covered, 200 * 0.95 - 200 * 0.06);
  EXPECT_GT(difference_covered, 200 * 0.95 - 200 * 0.06);
  EXPECT_LT(difference_covered, 200) << "0 of 200 outside a 95 % interval has a chance of 4e-5";
}

TEST(StratifiedAuroc, Degenerate) {
  const StratifiedAuroc none = stratified_auroc(Doubles{1, 2}, Labels{0, 1}, Strata{1, 2}, 10, stream(1, "s"));
  EXPECT_EQ(none.auroc.low, 0);
  EXPECT_EQ(none.auroc.high, 1);
  EXPECT_EQ(none.n_strata_left_out, 2);
  // Two items: a draw has both classes half of the time; the rest is left out.
  const StratifiedAuroc two = stratified_auroc(Doubles{1, 2}, Labels{0, 1}, {}, 10, stream(1, "s"));
  EXPECT_EQ(two.auroc.low, 1);
  EXPECT_EQ(stratified_auroc(Doubles{}, Labels{}, {}, 10, stream(1, "s")).n_strata, 0);
  EXPECT_THROW(stratified_auroc(Doubles{1, 2}, Labels{0, 1}, Strata{1}, 10, stream(1, "s")), std::logic_error);
  EXPECT_THROW(stratified_auroc(Doubles{1, 2}, Labels{0, 1}, {}, 0, stream(1, "s")), std::logic_error);
}

TEST(DeltaAuroc, PairingAndDegenerate) {
  const Sample sample = draw(5, 300, 0.8, 3);
  const AurocDifference same = delta_auroc(sample.scores, sample.scores, sample.labels, sample.strata, 100, stream(1, "s"));
  EXPECT_EQ(same.difference.low, 0);
  EXPECT_EQ(same.difference.high, 0);
  const AurocDifference ab = delta_auroc(sample.scores, sample.other, sample.labels, sample.strata, 400, stream(1, "s"));
  const AurocDifference ba = delta_auroc(sample.other, sample.scores, sample.labels, sample.strata, 400, stream(1, "s"));
  EXPECT_DOUBLE_EQ(ab.difference.estimate, ab.a - ab.b);
  EXPECT_NEAR(ab.difference.low, -ba.difference.high, 1e-14);
  const AurocDifference none = delta_auroc(Doubles{1}, Doubles{1}, Labels{1}, {}, 10, stream(1, "s"));
  EXPECT_EQ(none.difference.low, -1);
  EXPECT_EQ(none.difference.high, 1);
  EXPECT_THROW(delta_auroc(Doubles{1, 2}, Doubles{1}, Labels{0, 1}, {}, 10, stream(1, "s")), std::logic_error);
}

}  // namespace
}  // namespace entrain::statistics
