#include "entrain/lab/plan.h"

#include <gtest/gtest.h>

#include "entrain/base/error.h"
#include "entrain/lab/compare.h"

namespace entrain::lab {
namespace {

Plan parse(const std::string& toml) { return Plan::from(config::Document::parse("data.path = \"d\"\nbudget.steps = 3\nschedule.name = \"linear\"\n" + toml, "t"), {}); }

std::string problem(const std::string& toml) {
  try {
    parse(toml);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "";
}

constexpr const char* kArms = "[arms.a]\n[arms.b]\noptimizer.lr = 0.1\n";

TEST(Plan, NamesWhatIsWrongBeforeAnythingRuns) {
  const auto says = [](const std::string& toml, const std::string& words) { EXPECT_NE(problem(toml).find(words), std::string::npos) << toml << "\n" << problem(toml); };
  EXPECT_EQ(problem("lab.seeds = [1]\n" + std::string(kArms)), "");
  says("lab.seeds = [1]\n[arms.a]\n", "at least two arms");
  says(kArms, "lab.seeds is empty");
  says("lab.seeds = [1, 1]\n" + std::string(kArms), "twice");
  says("lab.seeds = [1]\n[arms.a]\n[arms.b]\noptimizer.rate = 1\n", "arm b");
  says("lab.seeds = [1]\ndecision.metric = \"bits_per_byte\"\n" + std::string(kArms), "not declared in metrics.primary");
  says("lab.seeds = [1]\nmetrics.primary = [\"lss\"]\ndecision.metric = \"lss\"\n" + std::string(kArms), "did you mean loss");
  says("lab.seeds = [1]\nmetrics.primary = [\"loss\", \"blimp.acc\"]\n" + std::string(kArms), "metrics.tasks_data");
  says("lab.seeds = [1]\n[arms.a]\n[arms.b]\nbudget.steps = 4\n", "cannot be matched");
  says("lab.seeds = [1]\n[arms.a]\n[arms.b]\ndata.loss_after = [\".\"]\n", "scored on different tokens");
  EXPECT_EQ(problem("lab.seeds = [1]\ndata.loss_after = [\".\"]\n" + std::string(kArms)), "");
  says("lab.seeds = [1]\nlab.match = \"seconds\"\n" + std::string(kArms), "budget in seconds");
  says("lab.seeds = [1]\nlab.match = \"unique_tokens\"\n" + std::string(kArms), "needs data.unique_tokens");
  says("lab.seeds = [1]\nlab.reference = \"c\"\n" + std::string(kArms), "which is no arm");
  says("lab.seeds = [1]\n[arms.a]\n[arms.b]\nschedule.name = \"constant\"\n", "full decay");
  says("lab.seeds = [1]\ndecision.rule = \"equivalent\"\n" + std::string(kArms), "the margin");
  says("lab.seeds = [1]\ntune.method = \"grid\"\n" + std::string(kArms), "no tuning values");
  says("lab.seeds = [1]\ntune.method = \"grid\"\ntune.arms.a.optimizer.lr = [0.1, 0.2]\ntune.arms.b.optimizer.lr = [0.1]\n" + std::string(kArms), "every arm must get the same number");
  says("lab.seeds = [1]\ntune.method = \"grid\"\ntune.grid.optimizer.rate = [0.1]\n" + std::string(kArms), "optimizer.rate");
  says("lab.seeds = [1]\ntune.method = \"grid\"\ntune.grid.budget.steps = [3, 4]\n" + std::string(kArms), "tuning cannot change budget.steps");
  const std::string epochs = "lab.seeds = [1]\ndata.unique_tokens = 100\ntune.method = \"grid\"\ntune.grid.budget.steps = [3, 4]\n" + std::string(kArms);
  says(epochs, "tuning cannot change budget.steps");
  EXPECT_EQ(problem("lab.match = \"unique_tokens\"\n" + epochs), "");  // epochs are each arm's own
  says("lab.match = \"unique_tokens\"\ntune.grid.data.unique_tokens = [50, 100]\n" + epochs, "tuning cannot change data.unique_tokens");
  says("lab.seeds = [1]\nlab.ladder = [1]\n" + std::string(kArms), "lab.ladder");
}

TEST(Plan, OneFormWhateverTheWriting) {
  const Plan plan = parse("lab.seeds = [1, 2]\ntune.method = \"grid\"\ntune.grid.optimizer.lr = [0.1, 0.2]\ntune.proxy.model.layers = 1\n" + std::string(kArms));
  EXPECT_EQ(Plan::from(config::Document::parse(plan.to_toml(), "again"), {}).to_toml(), plan.to_toml());
  const Plan other = parse("[tune.grid]\noptimizer.lr = [0.1, 0.2]\n[tune]\nmethod = \"grid\"\nproxy.model.layers = 1\n[lab]\nseeds = [1.0, 2.0]\nmatch = \"flops\"\n[arms.a]\n[arms.b]\noptimizer.lr = 0.1\n");
  EXPECT_EQ(other.hash(), plan.hash());
  const Plan changed = parse("lab.seeds = [1, 3]\ntune.method = \"grid\"\ntune.grid.optimizer.lr = [0.1, 0.2]\ntune.proxy.model.layers = 1\n" + std::string(kArms));
  EXPECT_NE(changed.hash(), plan.hash());
}

TEST(Plan, TrialsAreTheProductOfTheGrid) {
  const Plan plan = parse("lab.seeds = [1]\ntune.method = \"grid\"\n[tune.grid]\noptimizer.lr = [0.1, 0.2]\ntrain.rows = [2, 4, 8]\n" + std::string(kArms));
  const auto trials = plan.trials("a");
  ASSERT_EQ(trials.size(), 6u);
  EXPECT_EQ(to_text(trials[1]), "optimizer.lr = 0.1, train.rows = 4.0");
  EXPECT_EQ(with(plan.arm("a").recipe, trials[1]).train.rows, 4);
  EXPECT_EQ(with(plan.arm("a").recipe, trials[5]).optimizer.lr, 0.2);
}

TEST(Plan, AnEdgeIsOneOfTheNumbersNotOfTheList) {
  const std::vector<config::Value> grid = {0.01, 0.02, 0.04, 0.005};
  for (const double inside : {0.01, 0.02}) EXPECT_FALSE(at_edge(grid, inside));
  for (const double edge : {0.005, 0.04}) EXPECT_TRUE(at_edge(grid, edge));
  EXPECT_TRUE(at_edge({int64_t{1}, int64_t{2}}, 2.0));
  EXPECT_FALSE(at_edge({0.1}, 0.1));
  EXPECT_FALSE(at_edge({std::string("adamw"), std::string("muon")}, std::string("adamw")));
}

TEST(Plan, ComesFromARecipeWithArms) {
  const Plan plan = plan_of_recipe(config::Document::parse("data.path = \"d\"\nbudget.steps = 3\ntrain.seed = 7\ncompare.ladder = [0.5]\n" + std::string(kArms), "t"), 2);
  EXPECT_EQ(plan.seeds(), (std::vector<int64_t>{7, 8}));
  EXPECT_EQ(plan.lab.reference, "a");
  EXPECT_EQ(plan.lab.ladder, std::vector<double>{0.5});
}

TEST(Plan, KnowsWhichWayAMetricIsBetter) {
  EXPECT_EQ(direction("loss"), -1);
  EXPECT_EQ(direction("lambada_openai.perplexity"), -1);
  EXPECT_EQ(direction("blimp.acc"), 1);
  EXPECT_THROW(direction("blimp"), Error);
}

}  // namespace
}  // namespace entrain::lab
