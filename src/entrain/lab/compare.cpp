#include "entrain/lab/compare.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "entrain/base/error.h"
#include "entrain/model/generate.h"
#include "entrain/model/huggingface.h"
#include "entrain/text/tokenizer.h"

namespace entrain::lab {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kResultFile = "result.json";

Json windows_to_json(const eval::TextScore& score) {
  Json rows = Json::array();
  for (const eval::WindowScore& w : score.windows) rows.push_back({w.document, w.tokens, w.bytes, w.nats});
  return rows;
}

void write_outcome(const fs::path& run, const RunOutcome& o) {
  const Json json{{"arm", o.arm}, {"seed", o.seed}, {"budget_share", o.budget_share}, {"parameters", o.n_parameters}, {"checkpoint", o.checkpoint.filename().string()},
                  {"state", Json::parse(o.state.to_json())}, {"window_columns", {"document", "tokens", "bytes", "nats"}}, {"windows", windows_to_json(o.score)}};
  write_file(run / kResultFile, json.dump() + "\n");
}

RunOutcome read_outcome(const fs::path& run) {
  const std::string name = (run / kResultFile).string();
  try {
    const Json json = Json::parse(read_file(run / kResultFile));
    RunOutcome o{json.at("arm"), json.at("seed"), json.at("budget_share"), train::RunState::from_json(json.at("state").dump(), name), json.at("parameters"), {},
                 run / "checkpoints" / json.at("checkpoint").get<std::string>()};
    for (const Json& row : json.at("windows")) {
      o.score.windows.push_back({row.at(0), row.at(1), row.at(2), row.at(3)});
      const eval::WindowScore& w = o.score.windows.back();
      o.score.tokens += w.tokens;
      o.score.bytes += w.bytes;
      o.score.nats += w.nats;
    }
    return o;
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::kData, name + " does not parse: " + error.what(), "delete it and run the same command again");
  }
}

text::Tokenizer tokenizer_of(const train::Recipe& recipe) { return text::Tokenizer::load(fs::path(recipe.data.path) / "tokenizer.json"); }

/// Trains or resumes one run, then scores it on all held-out text. nullopt: stopped on request.
std::optional<RunOutcome> run_one(const Arm& arm, int64_t seed, double share, const fs::path& run, train::Observer& observer) {
  if (fs::exists(run / kResultFile)) {
    if (read_file(run / "config.toml") != train::complete_from_data(arm.recipe).to_toml()) {
      throw Error(ErrorKind::kUsage, run.string() + " holds a finished run of another recipe", "name another --out folder, or delete that one");
    }
    return read_outcome(run);
  }
  const auto start = fs::exists(run / "config.toml") ? train::Start::kResume : train::Start::kFresh;
  train::Trainer trainer(arm.recipe, run, start, observer);
  const train::RunResult result = trainer.run();
  if (!result.finished) return std::nullopt;
  const text::Tokenizer tokenizer = tokenizer_of(arm.recipe);
  const text::TokenFile held_out(fs::path(arm.recipe.data.path) / "val.tokens");
  const model::Transformer model = model::load_model(result.checkpoint);
  RunOutcome outcome{arm.name, seed, share, result.state, result.n_parameters, {}, result.checkpoint};
  outcome.score = eval::score(model, held_out, tokenizer.token_byte_lengths(), {.context = arm.recipe.model.context, .rows = arm.recipe.train.rows});
  write_outcome(run, outcome);
  return outcome;
}

/// The arm's recipe with the budget that matches the baseline's.
train::Recipe matched(train::Recipe recipe, const std::string& match, const train::Plan& baseline, double baseline_seconds, double share) {
  recipe.budget.steps = 0;
  recipe.budget.tokens = recipe.budget.flops = recipe.budget.seconds = 0;
  if (match == "flops") recipe.budget.flops = baseline.total_flops * share;
  if (match == "raw_tokens") recipe.budget.tokens = baseline.total_raw_tokens * share;
  if (match == "seconds") recipe.budget.seconds = baseline_seconds * share;
  return recipe;
}

/// Consecutive windows of a document joined to blocks of at least block_tokens, summed over seeds.
std::vector<PairedBlock> blocks_of(const std::vector<const RunOutcome*>& a, const std::vector<const RunOutcome*>& b, int64_t block_tokens) {
  std::vector<PairedBlock> blocks;
  const auto& windows = a.at(0)->score.windows;
  for (size_t i = 0; i < windows.size(); ++i) {
    const bool new_document = i == 0 || windows[i].document != windows[i - 1].document;
    if (new_document || blocks.back().tokens >= static_cast<double>(block_tokens * static_cast<int64_t>(a.size()))) blocks.emplace_back();
    for (size_t seed = 0; seed < a.size(); ++seed) {
      ENTRAIN_CHECK(b[seed]->score.windows.size() == windows.size(), "arms were scored on different text");
      blocks.back().nats_a += a[seed]->score.windows[i].nats;
      blocks.back().nats_b += b[seed]->score.windows[i].nats;
      blocks.back().tokens += static_cast<double>(windows[i].tokens);
    }
  }
  return blocks;
}

ArmSummary summarise(const Arm& arm, const std::vector<const RunOutcome*>& runs) {
  ArmSummary s;
  s.name = arm.name;
  s.n_seeds = static_cast<int64_t>(runs.size());
  const double n = static_cast<double>(runs.size());
  for (const RunOutcome* run : runs) {
    s.n_parameters = run->n_parameters;
    s.nats_per_token += run->score.nats_per_token() / n;
    s.bits_per_byte += run->score.bits_per_byte() / n;
    s.raw_tokens += run->state.raw_tokens / n;
    s.flops += run->state.flops / n;
    s.seconds += run->state.seconds / n;
    s.steps += static_cast<double>(run->state.step) / n;
  }
  double squares = 0;
  for (const RunOutcome* run : runs) squares += std::pow(run->score.nats_per_token() - s.nats_per_token, 2);
  if (runs.size() > 1) s.seed_spread = std::sqrt(squares / (n - 1));
  return s;
}

std::string sample_of(const RunOutcome& run, const CompareConfig& config, const train::Recipe& recipe) {
  const text::Tokenizer tokenizer = tokenizer_of(recipe);
  const model::Transformer model = model::load_model(run.checkpoint);
  const auto ids = model::generate(model, tokenizer.encode(config.prompt), {.n_tokens = config.sample_tokens, .temperature = 0.7, .top_p = 0.95, .seed = 1}, tokenizer.eos_id());
  return tokenizer.decode(ids);
}

}  // namespace

void CompareConfig::bind(config::Binder& b) {
  b.section("compare", "For `entrain compare` alone.");
  b.bind("ladder", &ladder, "further budgets, as shares of the whole, at which the baseline is trained to tell how much compute it would need; each has its own full decay");
  b.bind("resamples", &resamples, "of the paired bootstrap").range(100, 1e7);
  b.bind("block_tokens", &block_tokens, "held-out tokens in a unit of the bootstrap: neighbouring windows are not independent").range(1, 1e9);
  b.bind("prompt", &prompt, "start of the sample printed for each arm; empty: no samples");
  b.bind("sample_tokens", &sample_tokens, "length of those samples").range(1, 1 << 20);
}

Comparison Comparison::from(config::Document document, int64_t n_seeds) {
  Comparison comparison;
  comparison.n_seeds = n_seeds;
  config::Binder binder;
  comparison.config.bind(binder);
  binder.read(document.take_section("compare"));
  for (const auto& [name, overrides] : document.take_tables("arms")) {
    config::Document merged = document;
    merged.merge(overrides);
    try {
      comparison.arms.push_back({name, train::Recipe::from(merged)});
    } catch (const Error& error) {
      throw Error(error.kind(), "arm " + name + ": " + error.what(), error.hint());
    }
  }
  if (comparison.arms.size() < 2) {
    throw Error(ErrorKind::kUsage, "a comparison needs at least two arms, the recipe has " + std::to_string(comparison.arms.size()),
                "add tables [arms.NAME] with the keys in which each arm differs; the first is the baseline");
  }
  for (const double share : comparison.config.ladder) {
    if (!(share > 0 && share != 1.0)) throw Error(ErrorKind::kUsage, "compare.ladder holds " + std::to_string(share), "give shares of the budget above 0, other than 1");
  }
  return comparison;
}

ComputeEquivalent compute_equivalent(const std::vector<std::pair<double, double>>& points, double loss) {
  using Kind = ComputeEquivalent::Kind;
  if (points.size() < 2) return {};
  if (loss > points.front().second) return {Kind::kBelowLadder, points.front().first};
  size_t i = 1;
  while (i + 1 < points.size() && loss < points[i].second) ++i;
  const double slope = (points[i].second - points[i - 1].second) / std::log(points[i].first / points[i - 1].first);
  if (!(slope < 0)) return {};  // noise made the larger budget no better: nothing can be said
  const double ratio = points[i].first * std::exp((loss - points[i].second) / slope);
  return {loss < points[i].second ? Kind::kExtrapolated : Kind::kInterpolated, ratio};
}

std::optional<Report> compare(const Comparison& comparison, const fs::path& out, const ObserverFactory& observers) {
  const Arm& baseline = comparison.arms.front();
  const std::string match = baseline.recipe.budget.match;
  if (match == "seconds" && baseline.recipe.budget.seconds <= 0) {
    throw Error(ErrorKind::kUsage, "budget.match = \"seconds\" needs a budget in seconds", "set budget.seconds");
  }
  const train::Plan plan = train::make_plan(train::complete_from_data(baseline.recipe), 0);
  std::vector<RunOutcome> outcomes;
  struct Job {
    const Arm* arm;
    double share;
    std::string folder;
  };
  std::vector<Job> jobs;
  for (const Arm& arm : comparison.arms) jobs.push_back({&arm, 1.0, arm.name});
  for (const double share : comparison.config.ladder) jobs.push_back({&baseline, share, baseline.name + "-x" + Json(share).dump()});
  for (int64_t seed = 0; seed < comparison.n_seeds; ++seed) {
    for (const Job& job : jobs) {
      Arm arm{job.arm->name, matched(job.arm->recipe, match, plan, baseline.recipe.budget.seconds, job.share)};
      arm.recipe.train.seed += seed;
      const auto observer = observers(job.folder + (comparison.n_seeds > 1 ? " seed " + std::to_string(arm.recipe.train.seed) : "") + ": ");
      auto outcome = run_one(arm, arm.recipe.train.seed, job.share, out / job.folder / ("seed-" + std::to_string(arm.recipe.train.seed)), *observer);
      if (!outcome) return std::nullopt;
      outcomes.push_back(std::move(*outcome));
    }
  }

  Report report;
  report.match = match;
  report.n_seeds = comparison.n_seeds;
  std::map<std::string, std::vector<const RunOutcome*>> by_arm;
  std::map<double, std::vector<double>> rungs;
  for (const RunOutcome& outcome : outcomes) {
    if (outcome.budget_share == 1.0) by_arm[outcome.arm].push_back(&outcome);
    if (outcome.arm == baseline.name) rungs[outcome.budget_share].push_back(outcome.score.nats_per_token());
  }
  for (const auto& [share, losses] : rungs) {
    double sum = 0;
    for (const double loss : losses) sum += loss;
    report.ladder.emplace_back(share, sum / static_cast<double>(losses.size()));
  }
  for (size_t i = 0; i < comparison.arms.size(); ++i) {
    const Arm& arm = comparison.arms[i];
    ArmSummary summary = summarise(arm, by_arm[arm.name]);
    summary.equivalent = compute_equivalent(report.ladder, summary.nats_per_token);
    if (!comparison.config.prompt.empty()) summary.sample = sample_of(*by_arm[arm.name].front(), comparison.config, arm.recipe);
    report.arms.push_back(std::move(summary));
    for (size_t j = 0; j < i; ++j) {
      const auto blocks = blocks_of(by_arm[arm.name], by_arm[comparison.arms[j].name], comparison.config.block_tokens);
      report.n_blocks = static_cast<int64_t>(blocks.size());
      report.pairs.push_back({arm.name, comparison.arms[j].name, paired_bootstrap(blocks, comparison.config.resamples, stream(1, "bootstrap", i, j))});
    }
  }
  std::set<uint64_t> documents;
  for (const eval::WindowScore& window : outcomes.front().score.windows) documents.insert(window.document);
  report.n_documents = static_cast<int64_t>(documents.size());
  report.n_tokens = outcomes.front().score.tokens;
  write_file(out / "report.md", report.to_markdown());
  write_file(out / "report.json", report.to_json() + "\n");
  return report;
}

}  // namespace entrain::lab
