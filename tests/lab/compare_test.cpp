#include "entrain/lab/compare.h"

#include <cmath>

#include "../train/tiny_run.h"
#include "entrain/base/error.h"

namespace entrain::lab {
namespace {

using Kind = ComputeEquivalent::Kind;
using text::TemporaryFolder;
using train::RunContents;

/// loss = 2 + 0.5 C^-0.3, fallen at shares 1/8 to 1.
std::vector<std::pair<double, double>> power_law() {
  std::vector<std::pair<double, double>> points;
  for (const double share : {0.125, 0.25, 0.5, 1.0}) points.emplace_back(share, 2 + 0.5 * std::pow(share, -0.3));
  return points;
}

TEST(ComputeEquivalent, ReadsALogLinearCurveExactly) {
  std::vector<std::pair<double, double>> line;
  for (const double share : {0.1, 0.3, 1.0}) line.emplace_back(share, 3 - 0.2 * std::log(share));
  for (const double share : {0.1, 0.15, 0.3, 0.5, 0.9999, 1.0}) {
    const ComputeEquivalent e = compute_equivalent(line, 3 - 0.2 * std::log(share));
    EXPECT_EQ(e.kind, Kind::kInterpolated) << share;
    EXPECT_NEAR(e.ratio, share, 1e-12);
  }
  const ComputeEquivalent beyond = compute_equivalent(line, 3 - 0.2 * std::log(2.5));
  EXPECT_EQ(beyond.kind, Kind::kExtrapolated);
  EXPECT_NEAR(beyond.ratio, 2.5, 1e-12);
}

TEST(ComputeEquivalent, IsALowerBoundBeyondAConvexCurve) {
  const auto points = power_law();
  for (const double share : {1.01, 1.5, 2.0, 4.0, 10.0}) {
    const ComputeEquivalent e = compute_equivalent(points, 2 + 0.5 * std::pow(share, -0.3));
    EXPECT_EQ(e.kind, Kind::kExtrapolated);
    EXPECT_GT(e.ratio, 1.0);
    EXPECT_LT(e.ratio, share);
  }
  for (const double share : {0.125, 0.2, 0.4, 0.7, 1.0}) {  // between rungs a chord of a convex curve lies above it
    const ComputeEquivalent e = compute_equivalent(points, 2 + 0.5 * std::pow(share, -0.3));
    EXPECT_EQ(e.kind, Kind::kInterpolated);
    EXPECT_NEAR(e.ratio, share, 0.02 * share);
    EXPECT_GE(e.ratio, share - 1e-12);
  }
}

TEST(ComputeEquivalent, SaysWhatItCannotKnow) {
  const ComputeEquivalent below = compute_equivalent(power_law(), 99);
  EXPECT_EQ(below.kind, Kind::kBelowLadder);
  EXPECT_EQ(below.ratio, 0.125);
  EXPECT_EQ(compute_equivalent({}, 3).kind, Kind::kUnknown);
  EXPECT_EQ(compute_equivalent({{1.0, 3}}, 2).kind, Kind::kUnknown) << "one budget tells no slope";
  EXPECT_EQ(compute_equivalent({{0.5, 3.0}, {1.0, 3.1}}, 2.9).kind, Kind::kUnknown) << "a larger budget that was worse";
  EXPECT_EQ(compute_equivalent({{0.5, 3.0}, {1.0, 3.0}}, 3.0).kind, Kind::kUnknown);
  EXPECT_EQ(compute_equivalent({{0.25, 3.2}, {0.5, 3.0}, {1.0, 3.1}}, 2.9).kind, Kind::kUnknown);
}

config::Document tiny_comparison(const fs::path& data) {
  config::Document document = train::tiny_document(data, {"budget.steps=8", "compare.resamples=200", "compare.block_tokens=40", "compare.prompt=the ship", "compare.sample_tokens=4"});
  document.merge(config::Document::parse("[compare]\nladder = [0.5]\n[arms.plain]\n[arms.bags]\nsuperposition.mode = \"full\"\nsuperposition.bag = 3\nsuperposition.ratio = 0.5\n", "arms"));
  return document;
}

std::string without_seconds(const Report& report) {
  nlohmann::json json = nlohmann::json::parse(report.to_json());
  for (auto& arm : json["arms"]) arm.erase("seconds");
  return json.dump();
}

/// Compares while counting training steps of all runs; stops after `stop_after` of them.
struct Comparing {
  int64_t n_steps = 0, stop_after = -1;
  std::vector<std::string> labels = {};

  struct Counter : train::Observer {
    explicit Counter(Comparing& o) : owner(o) {}
    void on_step(const train::StepRecord&) override { ++owner.n_steps; }
    bool stop_requested() override { return owner.n_steps == owner.stop_after; }
    Comparing& owner;
  };
  std::optional<Report> operator()(const Comparison& comparison, const fs::path& out) {
    return compare(comparison, out, [this](const std::string& label) {
      labels.push_back(label);
      return std::make_unique<Counter>(*this);
    });
  }
};

TEST(Compare, JudgesArmsAtEqualFlops) {
  const TemporaryFolder folder;
  train::make_data(folder / "data", 16);
  const Comparison comparison = Comparison::from(tiny_comparison(folder / "data"), 1);
  ASSERT_EQ(comparison.arms.size(), 2u);
  EXPECT_EQ(comparison.arms[0].name, "plain");
  Comparing first;
  const auto report = first(comparison, folder / "out");
  ASSERT_TRUE(report);
  EXPECT_EQ(first.n_steps, 8 + 8 + 4) << "two arms and half a budget for the ladder";
  EXPECT_EQ(report->match, "flops");
  ASSERT_EQ(report->arms.size(), 2u);
  EXPECT_EQ(report->arms[0].flops, report->arms[1].flops);
  EXPECT_EQ(report->arms[0].raw_tokens, 8 * 32);
  EXPECT_EQ(report->arms[1].raw_tokens, 4 * 96 + 4 * 32);
  ASSERT_EQ(report->ladder.size(), 2u);
  EXPECT_EQ(report->ladder[0].first, 0.5);
  EXPECT_EQ(report->ladder[1].second, report->arms[0].nats_per_token);
  EXPECT_FALSE(report->arms[0].sample.empty());
  ASSERT_EQ(report->pairs.size(), 1u);
  EXPECT_EQ(report->pairs[0].arm, "bags");
  EXPECT_NEAR(report->pairs[0].difference.mean, report->arms[1].nats_per_token - report->arms[0].nats_per_token, 1e-12);
  EXPECT_EQ(read_file(folder / "out" / "report.json"), report->to_json() + "\n");
  EXPECT_EQ(read_file(folder / "out" / "report.md"), report->to_markdown());

  // Again: read back, nothing trained, the same report to the last digit, seconds included.
  Comparing second;
  EXPECT_EQ(second(comparison, folder / "out")->to_json(), report->to_json());
  EXPECT_EQ(second.n_steps, 0);

  // An arm is the run that its own recipe alone makes.
  config::Document alone = tiny_comparison(folder / "data");
  const auto arms = alone.take_tables("arms");
  alone.take_section("compare");
  alone.merge(arms[1].second);
  train::Recorder recorder;
  train::Trainer(train::Recipe::from(alone), folder / "alone", train::Start::kFresh, recorder).run();
  EXPECT_EQ(RunContents(folder / "alone").weights, RunContents(folder / "out" / "bags" / "seed-1").weights);

  // Another recipe does not mix with finished runs.
  config::Document changed = tiny_comparison(folder / "data");
  changed.set("optimizer.lr=0.02");
  Comparing third;
  EXPECT_THROW(third(Comparison::from(changed, 1), folder / "out"), Error);
  EXPECT_EQ(third.n_steps, 0);
}

// Stopped after every possible number of steps (between runs, in the first, second and ladder run) and called again.
TEST(Compare, AStopLeavesNoTrace) {
  const TemporaryFolder folder;
  train::make_data(folder / "data", 16);
  const Comparison comparison = Comparison::from(tiny_comparison(folder / "data"), 1);
  Comparing whole;
  const std::string expected = without_seconds(*whole(comparison, folder / "whole"));
  for (const int64_t n : {3, 8, 11, 17}) {
    const fs::path out = folder / ("stopped-" + std::to_string(n));
    Comparing first{.stop_after = n}, second;
    const auto report = first(comparison, out);
    EXPECT_EQ(report.has_value(), n == 8) << "a stop at a run's last step lets it finish";
    EXPECT_EQ(without_seconds(*second(comparison, out)), expected) << "stopped after " << n;
    EXPECT_EQ(first.n_steps + second.n_steps, 20);
  }
}

TEST(Compare, SeedsAverageAndOrder) {
  const TemporaryFolder folder;
  train::make_data(folder / "data", 16);
  config::Document document = tiny_comparison(folder / "data");
  document.set("compare.ladder=[]");
  document.set("budget.steps=3");
  Comparing comparing;
  const auto report = comparing(Comparison::from(document, 2), folder / "out");
  EXPECT_EQ(comparing.n_steps, 2 * 2 * 3);
  EXPECT_EQ(report->n_seeds, 2);
  EXPECT_GT(report->arms[0].seed_spread, 0);
  EXPECT_TRUE(fs::exists(folder / "out" / "plain" / "seed-1"));
  EXPECT_TRUE(fs::exists(folder / "out" / "plain" / "seed-2"));
  EXPECT_NEAR(report->pairs[0].difference.mean, report->arms[1].nats_per_token - report->arms[0].nats_per_token, 1e-12);
}

TEST(Comparison, NamesTheArmAndItsProblem) {
  const auto problem = [](const std::string& toml) -> std::string {
    try {
      Comparison::from(config::Document::parse("data.path = \"d\"\nbudget.steps = 3\n" + toml, "t"), 1);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "";
  };
  const auto contains = [](const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; };
  EXPECT_EQ(problem("[arms.a]\n[arms.b]\noptimizer.lr = 0.1\n"), "");
  EXPECT_TRUE(contains(problem(""), "at least two arms"));
  EXPECT_TRUE(contains(problem("[arms.a]\n"), "the recipe has 1"));
  const std::string message = problem("[arms.a]\n[arms.b]\noptimizer.rate = 0.1\n");
  EXPECT_TRUE(contains(message, "arm b") && contains(message, "optimizer.rate")) << message;
  EXPECT_TRUE(contains(problem("compare.ladder = [0.5, 1]\n[arms.a]\n[arms.b]\n"), "compare.ladder"));
  EXPECT_TRUE(contains(problem("compare.resample = 5\n[arms.a]\n[arms.b]\n"), "did you mean compare.resamples"));
}

}  // namespace
}  // namespace entrain::lab
