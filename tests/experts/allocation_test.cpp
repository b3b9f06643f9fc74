#include "entrain/experts/allocation.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "entrain/base/error.h"
#include "entrain/experts/quotas.h"
#include "tiny_pool.h"

namespace entrain::experts {
namespace {

const std::vector<double> kCosts{0.1, 0.4, 1.0};

/// Three kinds of questions, told by the features: half are easy (all experts right), 30 % medium (the cheapest wrong), 20 % hard (only the dearest right).
/// The order of kinds: 0 easy, 1 medium, 2 hard.
struct Planted {
  AllocationSheet sheet;
  Tensor kind;
};

Planted planted(int64_t n, uint64_t seed) {
  RandomStream random = stream(seed, "test/allocation");
  Planted out{{random_tensor({n, 8}, seed, 0.5), at::zeros({n, 3})}, at::zeros({n}, at::kLong)};
  for (int64_t k = 0; k < n; ++k) {
    const double u = random.next_uniform();
    const int64_t kind = u < 0.5 ? 0 : u < 0.8 ? 1 : 2;
    out.kind[k] = kind;
    out.sheet.features[k][kind] += 4;
    for (int64_t j = kind; j < 3; ++j) out.sheet.correct[k][j] = 1;
  }
  return out;
}

Tensor costs() { return at::tensor(kCosts); }

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t j = 0; j < a.size(); ++j) sum += std::abs(a[j] - b[j]);
  return sum / 2;
}

TEST(Allocation, FollowsUtilityFromEveryStart) {
  const Planted train = planted(1500, 1), test = planted(1500, 2);
  Mix hard{"hard", at::where(train.kind == 2, 4.0, 1.0), at::where(test.kind == 2, 4.0, 1.0)};
  AllocationGrid grid;
  grid.lambdas = {0.0, 0.2, 1.2, 4.0};
  grid.mixes = {{"all", {}, {}}, hard};
  grid.starts = {{1 / 3.0, 1 / 3.0, 1 / 3.0}, {0.9, 0.05, 0.05}, {0.05, 0.9, 0.05}, {0.05, 0.05, 0.9}};
  const std::vector<Allocation> all = allocate(train.sheet, test.sheet, costs(), grid);
  ASSERT_EQ(all.size(), 32u);
  for (const Allocation& one : all) {
    EXPECT_NEAR(one.hard[0] + one.hard[1] + one.hard[2], 1.0, 1e-9);
    EXPECT_NEAR(one.expected[0] + one.expected[1] + one.expected[2], 1.0, 1e-5);
    EXPECT_GT(one.gradient_norm, 0);
    EXPECT_GE(one.gradient_norm, one.least_gradient_norm);
    if (one.lambda == 0.0) continue;  // many experts are then equally good: nothing fixes the shares
    EXPECT_LT(distance(one.hard, one.oracle), 0.02) << "lambda " << one.lambda << " start " << one.start << ": the features tell all";
    EXPECT_LT(distance(one.expected, one.oracle), 0.05);
    EXPECT_LT(distance(one.informed, one.oracle), 0.03);
    EXPECT_NEAR(one.accuracy - one.lambda * one.cost, one.oracle_accuracy - one.lambda * one.oracle_cost, 0.02 * (1 + one.lambda));
  }
  const auto at = [&](double lambda, size_t mix) -> const Allocation& {
    for (const Allocation& one : all) {
      if (one.lambda == lambda && one.mix == mix && one.start == 0) return one;
    }
    throw std::logic_error("not in the grid");
  };
  const double n_hard = (test.kind == 2).sum().item<double>() / 1500, n_easy = (test.kind == 0).sum().item<double>() / 1500;
  EXPECT_NEAR(at(0.2, 0).oracle[0], n_easy, 1e-9);
  EXPECT_NEAR(at(0.2, 0).oracle[2], n_hard, 1e-9);
  EXPECT_NEAR(at(0.2, 1).oracle[2], 4 * n_hard / (1 + 3 * n_hard), 1e-9) << "the mix counts hard questions four times";
  // At 1.2 a hard question's right answer costs 1.08 more than a wrong one: not worth it; at 4 nothing is.
  EXPECT_NEAR(at(1.2, 0).oracle[2], 0.0, 1e-9);
  EXPECT_NEAR(at(1.2, 0).oracle[1], 1 - n_easy - n_hard, 1e-9);
  EXPECT_EQ(at(1.2, 0).dead, (std::vector<int64_t>{2}));
  EXPECT_EQ(at(4.0, 0).dead, (std::vector<int64_t>{1, 2}));
  EXPECT_NEAR(at(4.0, 0).oracle[0], 1.0, 1e-9);
  EXPECT_NEAR(at(0.2, 0).oracle_accuracy, 1.0, 1e-9);
  EXPECT_NEAR(at(0.2, 0).oracle_cost, 0.1 * n_easy + 0.4 * (1 - n_easy - n_hard) + n_hard, 1e-9);
  EXPECT_EQ(at(0.0, 0).oracle, at(0.2, 0).oracle) << "ties go to the cheaper";
}

TEST(Allocation, IsTheSameInBatchesAndRepeats) {
  const Planted train = planted(1000, 1), test = planted(500, 2);
  const AllocationGrid grid{{0.2}, {{"all", {}, {}}}, {{0.2, 0.3, 0.5}}};
  const AllocationOptions in_batches{.rows = 200, .seed = 3};
  const Allocation one = allocate(train.sheet, test.sheet, costs(), grid, in_batches)[0], again = allocate(train.sheet, test.sheet, costs(), grid, in_batches)[0];
  EXPECT_EQ(one.expected, again.expected);
  EXPECT_LT(distance(one.hard, one.oracle), 0.02);
}

TEST(Allocation, RefusesGatesWithoutAGradient) {
  Planted train = planted(200, 1);
  train.sheet.correct.fill_(1);
  const Tensor equal_costs = at::ones({3});
  const AllocationGrid grid{{0.2}, {{"all", {}, {}}}, {{0.2, 0.3, 0.5}}};
  try {
    allocate(train.sheet, train.sheet, equal_costs, grid);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNumeric);
    EXPECT_NE(std::string(error.what()).find("mix all"), std::string::npos);
  }
  EXPECT_THROW(allocate(train.sheet, train.sheet, costs(), {{0.2}, {{"all", {}, {}}}, {{0.0, 0.5, 0.5}}}), std::logic_error);
}

// Noise that features cannot tell: the learned shares follow what can be known, and the oracle knows more.
TEST(Allocation, CannotLearnWhatFeaturesDoNotTell) {
  Planted train = planted(1500, 1), test = planted(1500, 2);
  train.sheet.features = random_tensor({1500, 8}, 5);
  test.sheet.features = random_tensor({1500, 8}, 6);
  const AllocationGrid grid{{0.2}, {{"all", {}, {}}}, {{0.4, 0.3, 0.3}}};
  const Allocation one = allocate(train.sheet, test.sheet, costs(), grid)[0];
  // Always the dearest earns 1 - 0.2, the medium 0.8 - 0.08, the cheapest 0.5 - 0.02.
  EXPECT_GT(one.informed[2], 0.95);
  EXPECT_GT(one.hard[2], 0.6) << "what is left is what 1500 questions seem to tell by chance";
  EXPECT_LT(one.oracle[2], 0.25);
}

TEST(Quotas, AreWholeAndSumUp) {
  EXPECT_EQ(whole_quotas(std::vector<double>{0.6, 0.25, 0.15}, 100), (std::vector<int64_t>{60, 25, 15}));
  EXPECT_EQ(whole_quotas(std::vector<double>{1 / 3.0, 1 / 3.0, 1 / 3.0}, 100), (std::vector<int64_t>{34, 33, 33}));
  EXPECT_EQ(whole_quotas(std::vector<double>{1.0, 0.0}, 7), (std::vector<int64_t>{7, 0}));
  EXPECT_THROW(whole_quotas(std::vector<double>{0.5, 0.2}, 100), std::logic_error);
}

TEST(Quotas, AreFilledAsWellAsCanBe) {
  constexpr int64_t kN = 7;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Tensor scores = seed % 2 == 0 ? random_tensor({kN, 3}, seed) : random_tensor({kN, 3}, seed).round();  // also with many ties
    RandomStream random = stream(seed, "test/quotas");
    std::vector<int64_t> quotas{static_cast<int64_t>(random.next_below(kN + 1)), 0, 0};
    quotas[1] = static_cast<int64_t>(random.next_below(static_cast<uint64_t>(kN - quotas[0] + 1)));
    quotas[2] = kN - quotas[0] - quotas[1];
    double best = -1e9;
    for (int64_t code = 0; code < 2187; ++code) {  // 3^7 assignments
      std::vector<int64_t> count(3, 0);
      double sum = 0;
      for (int64_t k = 0, rest = code; k < kN; ++k, rest /= 3) {
        ++count[static_cast<size_t>(rest % 3)];
        sum += scores[k][rest % 3].item<double>();
      }
      if (count == quotas) best = std::max(best, sum);
    }
    const Tensor chosen = assign(scores, quotas);
    for (int64_t j = 0; j < 3; ++j) EXPECT_EQ((chosen == j).sum().item<int64_t>(), quotas[static_cast<size_t>(j)]);
    EXPECT_NEAR(scores.gather(1, chosen.unsqueeze(1)).sum().item<double>(), best, 1e-5);
  }
  EXPECT_THROW(assign(at::zeros({3, 2}), std::vector<int64_t>{1, 1}), std::logic_error);
}

TEST(Allocation, ComparesEnforcedSharesAtTheirCost) {
  const Planted train = planted(1500, 1), test = planted(1500, 2);
  const std::vector<EnforcedShares> targets{{"uniform", {1 / 3.0, 1 / 3.0, 1 / 3.0}}, {"target", {0.60, 0.25, 0.15}}, {"what is best", {0.5, 0.3, 0.2}}};
  const std::vector<EnforcedArm> arms = enforce(train.sheet, test.sheet, costs(), 0.2, targets);
  ASSERT_EQ(arms.size(), 3u);
  for (const EnforcedArm& arm : arms) {
    EXPECT_LE(arm.free_cost, arm.cost + 1e-9);
    EXPECT_GE(arm.oracle_accuracy, arm.accuracy - 1e-9);
    EXPECT_NEAR(arm.utility, arm.accuracy - 0.2 * arm.cost, 1e-12);
    EXPECT_NEAR(arm.cost, 0.1 * arm.shares[0] + 0.4 * arm.shares[1] + arm.shares[2], 1e-9);
  }
  EXPECT_NEAR(arms[0].shares[0], 1 / 3.0, 1e-3);
  EXPECT_GT(arms[0].accuracy, 0.99) << "uniform shares have room for all hard questions, at a price";
  EXPECT_GT(arms[0].free_accuracy, 0.99);
  // 15 % for the dearest leave about 5 % of the questions unanswerable, 60 % for the cheapest another 5 %.
  EXPECT_NEAR(arms[1].accuracy, 0.90, 0.03);
  EXPECT_GE(arms[2].accuracy, arms[1].accuracy + 0.05);
}

}  // namespace
}  // namespace entrain::experts
