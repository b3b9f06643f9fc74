#include "entrain/superposition/schedule.h"

#include <gtest/gtest.h>

#include <numeric>

#include "../text/temporary_folder.h"
#include "entrain/text/batch_source.h"

namespace entrain::superposition {
namespace {

StepPlan at(const std::string& mode, double fraction, const std::string& weights = "uniform") {
  return Schedule({.mode = mode, .bag = 6, .ratio = 0.25, .weights = weights}).at(fraction);
}

TEST(Schedule, ModesChooseBagsAndTargets) {
  const StepPlan plain;
  EXPECT_EQ(plain.bag, 1);
  EXPECT_EQ(plain.target_bag, 1);
  EXPECT_EQ(at("none", 0.0), plain);
  EXPECT_EQ(at("full", 0.0), (StepPlan{6, 6, {}}));
  EXPECT_EQ(at("input", 0.1), (StepPlan{6, 1, {}}));
  EXPECT_EQ(at("output", 0.1), (StepPlan{1, 6, {}}));
  for (const char* mode : {"none", "full", "input", "output"}) {
    EXPECT_EQ(at(mode, 0.25), plain);
    EXPECT_EQ(at(mode, 0.999), plain);
    EXPECT_EQ(Schedule({.mode = mode, .bag = 6, .ratio = 0.0}).at(0.0), plain) << "a share of 0 never starts";
    EXPECT_EQ(Schedule({.mode = mode, .bag = 1, .ratio = 1.0}).at(0.5), plain) << "bags of one token are plain training";
    EXPECT_EQ(Schedule({.mode = mode, .bag = 6}).widest(), at(mode, 0.0));
  }
  EXPECT_EQ(Schedule({.mode = "full", .bag = 3, .ratio = 1.0}).at(0.9999), (StepPlan{3, 3, {}})) << "a share of 1 never ends";
}

// Step k of n is superposed exactly when k / n < r in exact arithmetic, whatever the rounding of k / n and r.
TEST(Schedule, SwitchesHardAtTheStep) {
  for (const int64_t per_mille : {1, 50, 100, 125, 200, 250, 300, 333, 500, 700, 900, 999, 1000}) {
    const Schedule schedule({.mode = "full", .bag = 4, .ratio = static_cast<double>(per_mille) / 1000.0});
    for (const int64_t n : {1, 2, 3, 7, 10, 12, 30, 49, 100, 999, 1000, 3000, 20000}) {
      for (int64_t k = 0; k < n; ++k) {
        const bool superposed = schedule.at(static_cast<double>(k) / static_cast<double>(n)).bag == 4;
        ASSERT_EQ(superposed, k * 1000 < per_mille * n) << "r " << per_mille << "/1000, step " << k << " of " << n;
      }
    }
  }
}

TEST(Schedule, HarmonicWeightsSumToOne) {
  for (int64_t s = 2; s <= 64; ++s) {
    const Schedule schedule({.mode = "full", .bag = s, .ratio = 0.5, .weights = "harmonic"});
    const std::vector<float> weights = schedule.at(0).weights;
    ASSERT_EQ(weights.size(), static_cast<size_t>(s));
    EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), 1.0, 1e-6);
    for (size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(weights[i] * static_cast<float>(i + 1), weights[0], 1e-6);
    EXPECT_TRUE(schedule.at(0.5).weights.empty());
  }
  EXPECT_TRUE(at("input", 0, "harmonic").weights.empty()) << "a single target needs no weights";
  EXPECT_EQ(at("output", 0, "harmonic").weights.size(), 6u);
}

// From the schedule to the batch: with raw tokens numbered, position j of a row that starts at r reads r + js .. r + (j+1)s - 1 and
// its labels are exactly the raw tokens (j+1)s .. (j+2)s - 1 of the row; no token is skipped or repeated at the switch.
TEST(Schedule, LabelsAreTheNextBag) {
  const text::TemporaryFolder folder;
  text::TokenFileWriter writer(folder / "numbers", {.fingerprint = 0, .vocab_size = 100000, .eos_id = -1});
  std::vector<int32_t> numbers(20000);
  std::iota(numbers.begin(), numbers.end(), 0);
  writer.add_document(numbers, numbers.size());
  writer.finish();
  const text::TokenFile file(folder / "numbers");
  const int64_t rows = 2, positions = 5, n = 8;
  for (const int64_t s : {1, 2, 3, 6, 16}) {
    const Schedule schedule({.mode = "full", .bag = s, .ratio = 0.5});
    text::BatchSource source(file, {.seed = 1, .rows = rows, .run_tokens = 10000});
    std::vector<int64_t> next(rows, -1);  // where each row must go on
    for (int64_t step = 0; step < n; ++step) {
      const StepPlan plan = schedule.at(static_cast<double>(step) / static_cast<double>(n));
      EXPECT_EQ(plan.bag, step < n / 2 ? s : 1);
      const text::Batch batch = source.next({rows, positions, plan.bag, plan.target_bag});
      for (int64_t row = 0; row < rows; ++row) {
        const size_t i = static_cast<size_t>(row);
        const int64_t* inputs = batch.inputs.data() + row * positions * plan.bag;
        const int64_t* targets = batch.targets.data() + row * positions * plan.target_bag;
        EXPECT_EQ(inputs[0], step == 0 ? inputs[0] : next[i]) << "s " << s << " step " << step;
        for (int64_t j = 0; j < positions; ++j) {
          for (int64_t k = 0; k < plan.bag; ++k) {
            EXPECT_EQ(inputs[j * plan.bag + k], inputs[0] + j * plan.bag + k);
            EXPECT_EQ(targets[j * plan.bag + k], inputs[0] + (j + 1) * plan.bag + k) << "s " << s << " step " << step << " position " << j;
          }
        }
        next[i] = inputs[0] + positions * plan.bag;
      }
    }
  }
}

}  // namespace
}  // namespace entrain::superposition
