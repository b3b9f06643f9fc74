#include "entrain/lab/judge.h"

#include <gtest/gtest.h>

#include <cmath>

#include "entrain/base/error.h"

namespace entrain::lab {
namespace {

Plan make_plan(int64_t n_seeds, const std::string& more = "") {
  std::string seeds;
  for (int64_t s = 1; s <= n_seeds; ++s) seeds += (s > 1 ? "," : "") + std::to_string(s);
  return Plan::from(config::Document::parse("data.path = \"d\"\nbudget.steps = 3\nschedule.name = \"linear\"\nlab.seeds = [" + seeds + "]\nmetrics.resamples = 1000\n" + more + "[arms.a]\n[arms.b]\n", "t"), {});
}

/// A run on 40 blocks: what text and seed do to it both arms share, in part.
Result make_run(const std::string& arm, int64_t seed, uint64_t replication, double effect) {
  Result r{.key = "k", .arm = arm, .seed = seed, .values = {}, .recipe = "", .split = "test", .data = "d", .state = {}};
  RandomStream text = stream(replication, "text"), own = stream(replication, "own " + arm, static_cast<uint64_t>(seed));
  const double seed_effect = 0.02 * own.next_normal() + effect;
  for (uint64_t block = 0; block < 40; ++block) {
    const double hardness = 3 + 0.5 * text.next_normal();
    r.blocks.push_back({block / 4, 1000, 4000, 1000 * (hardness + seed_effect + 0.05 * own.next_normal())});
  }
  r.finished_at = "2031-01-02T00:00:00Z";
  return r;
}

std::vector<Result> make_runs(int64_t n_seeds, uint64_t replication, double effect) {
  std::vector<Result> results;
  for (int64_t seed = 1; seed <= n_seeds; ++seed) {
    results.push_back(make_run("a", seed, replication, 0));
    results.push_back(make_run("b", seed, replication, effect));
  }
  return results;
}

/// How often 200 replications of 5 seeds end in a verdict other than undecided.
int count_rejections(double effect, int* t_rejections) {
  const Plan plan = make_plan(5);
  int n = 0;
  *t_rejections = 0;
  for (uint64_t replication = 0; replication < 200; ++replication) {
    const Judgement j = judge(plan, make_runs(5, replication, effect), "2031-01-01T00:00:00Z");
    const Comparison& c = j.comparisons.at(0);
    n += c.verdict == Verdict::kBetter || c.verdict == Verdict::kWorse;
    *t_rejections += c.t_test->p < 0.05;
  }
  return n;
}

// The t-test is exact here, so its rejections are Binomial(200, 0.05): 10 with sd 3.1, and 3 to 20 holds 99.7 % of that. The verdict
// asks for the interval as well, so it rejects no more often.
TEST(Judge, ANullExperimentRejectsAtItsNominalRate) {
  int by_t = 0;
  const int n = count_rejections(0, &by_t);
  EXPECT_GE(by_t, 3);
  EXPECT_LE(by_t, 20);
  EXPECT_LE(n, by_t);
}

// The difference of a pair has the variance 2 (0.02^2 + 0.05^2 / 40). The effect is the one 5 seeds find with power 80 %: rejections are
// Binomial(200, 0.8), 160 with sd 5.7; 143 to 177 is three deviations. The verdict may lose some to the interval, whose rule is stricter at times.
TEST(Judge, APlantedEffectIsFoundAtThePromisedPower) {
  const double sd = std::sqrt(2 * (0.02 * 0.02 + 0.05 * 0.05 / 40));
  const Judgement one = judge(make_plan(5), make_runs(5, 1, 0), "");
  EXPECT_GT(one.comparisons[0].detectable, 0);
  int by_t = 0;
  const double effect = 1.68 * sd;  // noncentral t, 5 pairs, alpha 0.05, power 0.8 (one-sample d = 1.68)
  const int n = count_rejections(effect, &by_t);
  EXPECT_GE(by_t, 143);
  EXPECT_LE(by_t, 177);
  EXPECT_GE(n, by_t - 10);
}

TEST(Judge, SaysWhatIsMissingAndWhatCameLate) {
  std::vector<Result> results = make_runs(3, 1, 0.5);
  results.erase(results.begin() + 1);  // b of seed 1
  const Judgement j = judge(make_plan(3), results, "2031-01-03T00:00:00Z");
  EXPECT_EQ(j.comparisons[0].n_seeds, 2u);
  std::string all;
  for (const std::string& caution : j.cautions) all += caution + "\n";
  for (const char* words : {"2 of 3 seeds", "after its first result"}) EXPECT_NE(all.find(words), std::string::npos) << all;
  EXPECT_EQ(j.n_documents, 10u);
}

TEST(Judge, ShowsWhatTheMethodsShowedAndTheirAlarms) {
  std::vector<Result> results = make_runs(3, 1, 0.0);
  EXPECT_EQ(judge(make_plan(3), results, "2031-01-01T00:00:00Z").to_markdown().find("What the methods showed"), std::string::npos);
  for (Result& result : results) {
    if (result.arm != "b") continue;
    result.figures = {{"entanglement.2.mean_cosine", 0.1 * static_cast<double>(result.seed)}, {"entanglement.2.effective_rank", 40.0}};
    // One kind, with each run's own numbers.
    if (result.seed < 3) result.alarms = {"block 2: the projected tokens use few dimensions (effective rank " + std::to_string(result.seed) + ".5): raise entanglement.temperature"};
  }
  const Judgement j = judge(make_plan(3), results, "2031-01-01T00:00:00Z");
  const ArmSummary& arm = j.arms.at(1);
  EXPECT_NEAR(arm.figures.at("entanglement.2.mean_cosine"), 0.2, 1e-12);
  EXPECT_EQ(arm.alarms, (std::map<std::string, int>{{"block 2: the projected tokens use few dimensions: raise entanglement.temperature", 2}}));
  const std::string text = j.to_markdown();
  for (const char* part : {"| figure | a | b |", "| entanglement.2.effective_rank | - | 40 |", "| entanglement.2.mean_cosine | - | 0.2 |",
                           "Alarms:\n\n- b, 2 runs: block 2: the projected tokens use few dimensions: raise entanglement.temperature\n"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  }
}

TEST(Judge, CountsAMemorysTablesApart) {
  std::vector<Result> results = make_runs(2, 1, 0.0);
  for (Result& result : results) {
    result.n_parameters = 1'330'000;
    if (result.arm == "b") result.recipe = "[memory]\nrows = 65536\norders = [2, 3]\nwidth = 64\n";
  }
  const Judgement j = judge(make_plan(2), results, "2031-01-01T00:00:00Z");
  EXPECT_EQ(j.arms.at(0).n_memory_parameters, 0);
  EXPECT_EQ(j.arms.at(1).n_memory_parameters, 2 * 65536 * 64);
  for (const char* cells : {"| a | 1.33M | ", "| b | 1.33M (+ 8.4M in tables) | "}) EXPECT_NE(j.to_markdown().find(cells), std::string::npos) << j.to_markdown();
}

// Two seeds: the interval over seeds and text often excludes 0 where a t-test with one degree of freedom cannot.
TEST(Judge, SentenceAndTableAgreeOnWhatIsSignificant) {
  int n_split = 0;
  for (uint64_t replication = 0; replication < 20; ++replication) {
    const Judgement j = judge(make_plan(2), make_runs(2, replication, 0.06), "2031-01-01T00:00:00Z");
    const Comparison& c = j.comparisons.at(0);
    const bool is_split = c.difference.excludes(0) && c.t_test->p >= 0.05;
    n_split += is_split;
    EXPECT_EQ(c.is_significant(), c.difference.excludes(0) && !is_split);
    EXPECT_EQ(j.decision.at(0).find("no significant difference") == std::string::npos, c.is_significant()) << j.decision.at(0);
    EXPECT_EQ(j.decision.at(0).find("no significant difference by the test over seeds, though the interval excludes 0") != std::string::npos, is_split) << j.decision.at(0);
    EXPECT_EQ(j.to_markdown().find("), not significant |") == std::string::npos, c.is_significant()) << j.to_markdown();
    EXPECT_NE(j.to_json().find(c.is_significant() ? "\"significant\":true" : "\"significant\":false"), std::string::npos) << j.to_json();
  }
  EXPECT_GT(n_split, 5);
  EXPECT_LT(n_split, 20);
}

// Losses on L = 2 + (k D)^-0.5 with k = 1.5 for b: resampled seeds have no spread, and no interval is shown.
TEST(Judge, OneSeedHasAMultiplierWithoutAnInterval) {
  std::vector<Result> results;
  for (const auto& [arm, k] : {std::pair{"a", 1.0}, {"b", 1.5}}) {
    for (const double share : {0.25, 0.5, 1.0}) {
      Result r = make_run(arm, 1, 1, 0);
      for (auto& block : r.blocks) block.nats = static_cast<double>(block.tokens) * (2 + 1 / std::sqrt(16 * share * k));
      r.stage = share < 1 ? Stage::kLadder : Stage::kMain;
      r.share = share;
      r.state.flops = r.state.raw_tokens = r.state.seconds = 16 * share;
      results.push_back(r);
    }
  }
  const Judgement j = judge(make_plan(1, "lab.ladder = [0.25, 0.5]\n"), results, "2031-01-01T00:00:00Z");
  ASSERT_EQ(j.efficiency.size(), 3u);
  EXPECT_NEAR(j.efficiency[0].fit.multipliers.at(1).estimate, 1.5, 0.01);
  EXPECT_NE(j.to_markdown().find(" | 1.50 |\n"), std::string::npos) << j.to_markdown();
}

TEST(Judge, RefusesWhatCannotBeCompared) {
  std::vector<Result> results = make_runs(2, 1, 0);
  results[1].final_multiplier = 1.0;
  EXPECT_THROW(judge(make_plan(2), results, ""), Error);
  results = make_runs(2, 1, 0);
  results[1].data = "other";
  EXPECT_THROW(judge(make_plan(2), results, ""), Error);
}

TEST(Judge, EquivalenceNeedsItsMarginAndItsEvidence) {
  const Judgement narrow = judge(make_plan(5, "decision.effect = 0.2\ndecision.rule = \"equivalent\"\n"), make_runs(5, 3, 0.0), "");
  EXPECT_EQ(narrow.comparisons[0].verdict, Verdict::kEquivalent);
  const Judgement far = judge(make_plan(5, "decision.effect = 0.2\ndecision.rule = \"equivalent\"\n"), make_runs(5, 3, 0.5), "");
  EXPECT_EQ(far.comparisons[0].verdict, Verdict::kWorse);
}

TEST(Result, ReadsBackToTheLastBit) {
  Result r = make_run("a", 1, 1, 0.1);
  r.recipe = "x";
  r.sample = "a \"sample\"\n";
  r.values["optimizer.lr"] = 0.1;
  r.curve.push_back({10, 1, 2, 3, 4.5});
  r.tasks.push_back({"blimp", {{"acc", 0.5}}, {"acc"}, {{"1", "g", {1.0}}}});
  EXPECT_EQ(Result::from_json(r.to_json(), "r").to_json(), r.to_json());
  EXPECT_EQ(*Result::from_json(r.to_json(), "r").metric("loss"), *r.metric("loss"));
  EXPECT_EQ(*r.metric("blimp.acc"), 0.5);
  EXPECT_FALSE(r.metric("piqa.acc"));
  EXPECT_THROW(Result::from_json("{}", "r"), Error);
}

}  // namespace
}  // namespace entrain::lab
