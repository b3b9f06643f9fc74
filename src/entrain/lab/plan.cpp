#include "entrain/lab/plan.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "entrain/base/error.h"
#include "entrain/base/format.h"
#include "entrain/eval/task.h"
#include "entrain/train/lr_schedule.h"
#include "entrain/train/trainer.h"

namespace entrain::lab {
namespace {

constexpr double kBudgetTolerance = 0.02;

[[noreturn]] void fail(const std::vector<std::string>& problems) {
  std::string message = "the plan cannot run:";
  for (const std::string& problem : problems) message += problems.size() == 1 ? " " + problem : "\n  - " + problem;
  throw Error(ErrorKind::kUsage, message, "docs/lab.md shows a plan, docs/config.md lists every key");
}

/// Lists of values by key; a lone value is a list of one.
Grid to_grid(const config::Document& document) {
  Grid grid;
  for (const auto& [key, entry] : document.entries()) {
    std::vector<config::Value>& values = grid[key];
    if (const auto* numbers = std::get_if<std::vector<double>>(&entry.value)) {
      values.assign(numbers->begin(), numbers->end());
    } else if (const auto* texts = std::get_if<std::vector<std::string>>(&entry.value)) {
      values.assign(texts->begin(), texts->end());
    } else {
      values.push_back(entry.value);
    }
  }
  return grid;
}

std::string grid_to_toml(const Grid& grid) {
  std::string text;
  for (const auto& [key, values] : grid) {
    text += key + " = [";
    for (size_t i = 0; i < values.size(); ++i) text += (i ? ", " : "") + config::to_text(values[i]);
    text += "]\n";
  }
  return text;
}

void check_metrics(const Plan& plan, std::vector<std::string>& problems) {
  std::set<std::string> seen;
  for (const std::string& metric : plan.declared()) {
    try {
      direction(metric);
    } catch (const Error& error) {
      problems.push_back(error.what());
    }
    if (!seen.insert(metric).second) problems.push_back("metric " + metric + " is declared twice");
    if (metric.find('.') != std::string::npos && plan.metrics.tasks_data.empty()) problems.push_back("metric " + metric + " needs metrics.tasks_data, the folder of the benchmarks");
  }
  const auto& primary = plan.metrics.primary;
  if (primary.empty()) problems.push_back("metrics.primary is empty: declare what decides");
  if (std::find(primary.begin(), primary.end(), plan.decision.metric) == primary.end()) {
    const std::string near = nearest_name(plan.decision.metric, primary);
    problems.push_back("decision.metric " + plan.decision.metric + " is not declared in metrics.primary" + (near.empty() ? "" : "; did you mean " + near + "?"));
  }
}

void check_seeds(const std::vector<double>& seeds, const std::string& key, std::vector<std::string>& problems) {
  if (seeds.empty()) problems.push_back(key + " is empty: name the seeds, five or more for a claim about seeds");
  std::set<double> seen;
  for (const double seed : seeds) {
    if (!(seed >= 0 && seed <= 9e15 && seed == std::floor(seed))) problems.push_back(key + " holds " + config::to_text(seed) + ", no whole number from 0 on");
    if (!seen.insert(seed).second) problems.push_back(key + " holds " + config::to_text(seed) + " twice: equal seeds are no new evidence");
  }
}

void check_budgets(const Plan& plan, std::vector<std::string>& problems) {
  const train::BudgetConfig& reference = plan.reference().recipe.budget;
  const std::string& match = plan.lab.match;
  if (match == "seconds" && reference.seconds <= 0) problems.push_back("lab.match = \"seconds\" needs a budget in seconds: set budget.seconds");
  if (match != "seconds" && reference.seconds > 0) problems.push_back("a budget in seconds cannot be matched in " + match + ": set lab.match = \"seconds\" or another budget");
  if (match == "unique_tokens" && plan.reference().recipe.data.unique_tokens <= 0) problems.push_back("lab.match = \"unique_tokens\" needs data.unique_tokens");
  for (const Arm& arm : plan.arms) {
    const train::BudgetConfig& budget = arm.recipe.budget;
    const bool same = budget.steps == reference.steps && budget.tokens == reference.tokens && budget.flops == reference.flops && budget.seconds == reference.seconds;
    if (match != "unique_tokens" && !same) {
      problems.push_back("arm " + arm.name + " has a budget of its own, so that budgets cannot be matched in " + match + ": set [budget] once, for all arms");
    }
    if (match == "unique_tokens" && arm.recipe.data.unique_tokens != plan.reference().recipe.data.unique_tokens) {
      problems.push_back("arm " + arm.name + " has another data.unique_tokens than " + plan.lab.reference + ": they are what is matched");
    }
    if (match != "unique_tokens" && arm.recipe.data.unique_tokens != plan.reference().recipe.data.unique_tokens) {
      problems.push_back("arm " + arm.name + " reads another subset of the text than " + plan.lab.reference + " (data.unique_tokens): use lab.match = \"unique_tokens\"");
    }
    if (arm.recipe.data.path != plan.reference().recipe.data.path) problems.push_back("arm " + arm.name + " reads another data.path than " + plan.lab.reference);
    if (arm.recipe.data.loss_after != plan.reference().recipe.data.loss_after) problems.push_back("arm " + arm.name + " has another data.loss_after than " + plan.lab.reference + ": they would be scored on different tokens");
  }
  for (const double share : plan.lab.ladder) {
    if (!(share > 0 && share != 1.0)) problems.push_back("lab.ladder holds " + config::to_text(share) + ": give shares of the budget above 0, other than 1");
  }
  for (const std::string& name : plan.lab.ladder_arms) {
    if (std::none_of(plan.arms.begin(), plan.arms.end(), [&](const Arm& arm) { return arm.name == name; })) problems.push_back("lab.ladder_arms names " + name + ", which is no arm");
  }
}

void check_decay(const Plan& plan, std::vector<std::string>& problems) {
  const double reference = final_multiplier(plan.reference().recipe);
  for (const Arm& arm : plan.arms) {
    const double end = final_multiplier(arm.recipe);
    if (is_decayed(end) == is_decayed(reference)) continue;
    problems.push_back(format("arm %s ends at %.0f %% of its peak learning rate, %s at %.0f %%: a run that has not decayed looks worse than the same run decayed, so the difference would tell of the schedule alone; "
                  "give both a full decay ([schedule])", arm.name.c_str(), 100 * end, plan.lab.reference.c_str(), 100 * reference));
  }
}

void check_tuning(const Plan& plan, std::vector<std::string>& problems) {
  if (plan.tune.method == "none") {
    if (!plan.grids.empty()) problems.push_back("[tune.grid] is given but tune.method is none: set it to grid or halving");
    return;
  }
  check_seeds(plan.tune.seeds, "tune.seeds", problems);
  size_t expected = 0;
  for (const Arm& arm : plan.arms) {
    const std::vector<Trial> trials = plan.trials(arm.name);
    if (trials.empty() || trials.front().empty()) {
      problems.push_back("arm " + arm.name + " has no tuning values: add [tune.grid] or [tune.arms." + arm.name + "]");
      continue;
    }
    if (expected == 0) expected = trials.size();
    if (trials.size() != expected) {
      problems.push_back("arm " + arm.name + " gets " + std::to_string(trials.size()) + " tuning trials, " + plan.arms.front().name + " gets " + std::to_string(expected) +
                         ": every arm must get the same number, or the better tuned one wins");
    }
    for (const auto& [key, value] : trials.front()) {
      const bool equal = key.starts_with("data.") || key == "train.seed" || (key.starts_with("budget.") && plan.lab.match != "unique_tokens");
      if (equal) problems.push_back("tuning cannot change " + key + " of arm " + arm.name + ": it is what the comparison holds equal");
    }
    for (const Trial& trial : trials) {
      try {
        Trial all = trial;
        for (const auto& [key, entry] : plan.proxy.entries()) all[key] = entry.value;
        with(arm.recipe, all);
      } catch (const Error& error) {
        problems.push_back("tuning of arm " + arm.name + ": " + error.what());
        break;
      }
    }
  }
}

}  // namespace

void Plan::bind(config::Binder& b, Plan& p) {
  b.section("lab", "The experiment. The arms are tables `[arms.NAME]` of recipe keys; all other recipe sections of the plan hold for every arm.");
  b.bind("question", &p.lab.question, "what the experiment is to answer, the report's title");
  b.bind("reference", &p.lab.reference, "arm the others are judged against; empty: the first");
  b.bind("seeds", &p.lab.seeds, "each trains every arm once, with equal data order and equal initial weights");
  b.bind("match", &p.lab.match, "what is held equal between arms. The reference's budget sets the amount; with `unique_tokens` every arm has its own budget over the same `data.unique_tokens`")
      .one_of({"flops", "raw_tokens", "unique_tokens", "seconds"});
  b.bind("ladder", &p.lab.ladder, "further budgets, as shares of the whole, each with its own full decay: for the data-efficiency figures");
  b.bind("ladder_arms", &p.lab.ladder_arms, "arms trained at them; empty: the reference alone");

  b.section("metrics", "What is measured. `loss` is nats per token of the held-out text, `bits_per_byte` the same per byte; benchmarks are `TASK.METRIC` (docs/tasks.md).");
  b.bind("primary", &p.metrics.primary, "metrics declared in advance; Holm's correction covers them all");
  b.bind("secondary", &p.metrics.secondary, "further metrics, reported as exploratory, with Benjamini-Hochberg's correction");
  b.bind("tasks_data", &p.metrics.tasks_data, "folder of the benchmarks");
  b.bind("task_limit", &p.metrics.task_limit, "items of each benchmark; 0: all").range(0, 1e9);
  b.bind("unit", &p.metrics.unit, "what the bootstrap resamples; `auto`: documents where there are at least 50 of them, else blocks of consecutive tokens").one_of({"auto", "document", "block"});
  b.bind("block_tokens", &p.metrics.block_tokens, "held-out tokens in a block: neighbouring windows are not independent").range(1, 1e9);
  b.bind("resamples", &p.metrics.resamples, "of the bootstraps").range(100, 1e7);
  b.bind("prompt", &p.metrics.prompt, "start of the sample shown for each arm; empty: no samples");
  b.bind("sample_tokens", &p.metrics.sample_tokens, "length of those samples").range(1, 1 << 20);

  b.section("decision", "The rule, fixed in advance.");
  b.bind("metric", &p.decision.metric, "one of `metrics.primary`");
  b.bind("rule", &p.decision.rule, "`superior`: the arm must be better; `equivalent`: within `effect` of the reference; `non_inferior`: not worse by `effect` or more").one_of({"superior", "equivalent", "non_inferior"});
  b.bind("effect", &p.decision.effect, "smallest difference that matters, in the metric's unit; 0: not declared").range(0, 1e9);
  b.bind("alpha", &p.decision.alpha, "error rate over all primary comparisons").range(1e-6, 0.5);
  b.bind("power", &p.decision.power, "chance to find `effect` that the number of seeds should give").range(0.5, 0.999);
  b.bind("seed_sd", &p.decision.seed_sd, "expected standard deviation, over seeds, of the difference of a pair; 0: not known in advance").range(0, 1e9);

  b.section("tune", "Tuning before the comparison, on the validation split, with as many trials for every arm. Values: `[tune.grid]` (lists by recipe key, for all arms), `[tune.arms.NAME]` (instead, for one arm), `[tune.proxy]` "
            "(overrides of all tuning runs, such as a smaller model).");
  b.bind("method", &p.tune.method, "`grid`: every point once; `halving`: successive halving over `rounds`").one_of({"none", "grid", "halving"});
  b.bind("share", &p.tune.share, "budget of a trial (of the last round), as a share of the whole; each trial has its own full decay").range(1e-6, 1);
  b.bind("seeds", &p.tune.seeds, "of the trials; other ones than the comparison's");
  b.bind("keep", &p.tune.keep, "halving: share of the trials that goes on to the next round, whose budget grows by its inverse").range(0.01, 0.99);
  b.bind("rounds", &p.tune.rounds, "halving: rounds").range(1, 20);
}

Plan Plan::from(config::Document document, const fs::path& folder) {
  Plan plan;
  config::Document base, own;
  if (const auto found = document.entries().find("lab.recipe"); found != document.entries().end()) {
    const auto* name = std::get_if<std::string>(&found->second.value);
    if (name == nullptr) throw Error(ErrorKind::kUsage, "lab.recipe expects a text in quotes", "name the base recipe's file");
    base = config::Document::load(folder / *name);
    base.take_tables("arms");
    base.take_section("compare");
  }
  auto arm_tables = document.take_tables("arms");
  auto grid_tables = document.take_tables("tune.arms");
  const auto strip = [&](const std::string& section) {
    config::Document stripped;
    const config::Document taken = document.take_section(section);
    for (const auto& [key, entry] : taken.entries()) stripped.set(key.substr(section.size() + 1), entry.value);
    return stripped;
  };
  const Grid common = to_grid(strip("tune.grid"));
  plan.proxy = strip("tune.proxy");
  for (const char* section : {"lab", "metrics", "decision", "tune"}) own.merge(document.take_section(section));
  own.erase("lab.recipe");
  config::Binder binder;
  bind(binder, plan);
  binder.read(own);
  base.merge(document);

  std::vector<std::string> problems;
  for (const auto& [name, overrides] : arm_tables) {
    config::Document merged = base;
    merged.merge(overrides);
    try {
      plan.arms.push_back({name, train::Recipe::from(merged)});
    } catch (const Error& error) {
      problems.push_back("arm " + name + ": " + error.what());
    }
    if (name.empty() || name.find('/') != std::string::npos || name.front() == '.') problems.push_back("\"" + name + "\" is no name for an arm: it becomes a folder");
  }
  if (arm_tables.size() < 2) {
    problems.push_back("a comparison needs at least two arms, the plan has " + std::to_string(arm_tables.size()) + ": add tables [arms.NAME] with the keys in which each arm differs");
  }
  check_seeds(plan.lab.seeds, "lab.seeds", problems);
  if (!problems.empty()) fail(problems);

  if (plan.lab.reference.empty()) plan.lab.reference = plan.arms.front().name;
  if (std::none_of(plan.arms.begin(), plan.arms.end(), [&](const Arm& arm) { return arm.name == plan.lab.reference; })) fail({"lab.reference names " + plan.lab.reference + ", which is no arm"});
  for (const auto& [name, table] : grid_tables) {
    if (std::none_of(plan.arms.begin(), plan.arms.end(), [&](const Arm& arm) { return arm.name == name; })) problems.push_back("[tune.arms." + name + "] is for no arm");
    plan.grids[name] = to_grid(table);
  }
  if (!common.empty()) {
    for (const Arm& arm : plan.arms) plan.grids.try_emplace(arm.name, common);
  }
  check_metrics(plan, problems);
  check_budgets(plan, problems);
  check_decay(plan, problems);
  check_tuning(plan, problems);
  if (plan.decision.rule != "superior" && plan.decision.effect <= 0) problems.push_back("decision.rule = \"" + plan.decision.rule + "\" needs decision.effect, the margin");
  if (!problems.empty()) fail(problems);
  return plan;
}

Plan Plan::load(const fs::path& path) { return from(config::Document::load(path), path.parent_path()); }

std::string Plan::to_toml() const {
  Plan copy = *this, defaults;
  config::Binder binder, default_binder;
  bind(binder, copy);
  bind(default_binder, defaults);
  std::string text = config::Document::parse(binder.to_toml(), "plan").to_toml_without(config::Document::parse(default_binder.to_toml(), "plan"));
  for (const auto& [arm_name, grid] : grids) text += "\n[tune.arms.\"" + arm_name + "\"]\n" + grid_to_toml(grid);
  if (!proxy.entries().empty()) {
    text += "\n[tune.proxy]\n";
    for (const auto& [key, entry] : proxy.entries()) text += key + " = " + config::to_text(entry.value) + "\n";
  }
  for (const Arm& a : arms) text += "\n[arms.\"" + a.name + "\"]\n" + to_text(a.recipe);
  return text;
}

std::string Plan::hash() const { return to_hex(checksum(to_toml())); }

const Arm& Plan::arm(const std::string& name) const {
  const auto found = std::find_if(arms.begin(), arms.end(), [&](const Arm& a) { return a.name == name; });
  ENTRAIN_CHECK(found != arms.end(), name);
  return *found;
}

std::vector<Trial> Plan::trials(const std::string& arm_name) const {
  std::vector<Trial> trials{{}};
  const auto grid = grids.find(arm_name);
  if (grid == grids.end()) return {};
  for (const auto& [key, values] : grid->second) {
    std::vector<Trial> longer;
    for (const Trial& trial : trials) {
      for (const config::Value& value : values) {
        longer.push_back(trial);
        longer.back()[key] = value;
      }
    }
    trials = std::move(longer);
  }
  return trials;
}

std::vector<std::string> Plan::declared() const {
  std::vector<std::string> all = metrics.primary;
  all.insert(all.end(), metrics.secondary.begin(), metrics.secondary.end());
  return all;
}

int direction(const std::string& metric) {
  if (metric == "loss" || metric == "bits_per_byte") return -1;
  const std::vector<std::string> tasks = eval::task_names();
  const size_t dot = metric.find('.');
  const std::string task = metric.substr(0, dot), what = dot == std::string::npos ? "" : metric.substr(dot + 1);
  if (std::find(tasks.begin(), tasks.end(), task) == tasks.end()) {
    std::vector<std::string> names{"loss", "bits_per_byte"};
    names.insert(names.end(), tasks.begin(), tasks.end());
    const std::string near = nearest_name(dot == std::string::npos ? metric : task, names);
    throw Error(ErrorKind::kUsage, "there is no metric " + metric + (near.empty() ? "" : "; did you mean " + near + "?"), "loss, bits_per_byte or TASK.METRIC; docs/tasks.md lists the tasks");
  }
  if (what.empty()) throw Error(ErrorKind::kUsage, metric + " names a benchmark but not which of its metrics", "write for example " + metric + ".acc");
  if (what.find("perplexity") != std::string::npos || what.find("bits_per_byte") != std::string::npos) return -1;
  return 1;
}

train::Recipe with(const train::Recipe& recipe, const Trial& values) {
  config::Document document = config::Document::parse(recipe.to_toml(), "recipe");
  for (const auto& [key, value] : values) {
    const auto held = document.entries().find(key);
    const auto* number = std::get_if<double>(&value);  // a list of whole numbers is read as numbers
    const bool whole = held != document.entries().end() && std::holds_alternative<int64_t>(held->second.value) && number != nullptr && *number == std::floor(*number);
    document.set(key, whole ? config::Value(static_cast<int64_t>(*number)) : value);
  }
  return train::Recipe::from(document);
}

train::Recipe matched(const Plan& plan, const train::Recipe& recipe, double share) {
  train::Recipe result = recipe;
  const std::string& match = plan.lab.match;
  train::BudgetConfig& budget = result.budget;
  const std::string kept = budget.match;
  if (match == "unique_tokens") {
    result.data.unique_tokens = std::llround(static_cast<double>(recipe.data.unique_tokens) * share);
    budget.steps = budget.steps > 0 ? std::max<int64_t>(1, std::llround(static_cast<double>(budget.steps) * share)) : 0;
    budget.tokens *= share;
    budget.flops *= share;
    budget.seconds *= share;
    return result;
  }
  budget = {};
  budget.match = kept;
  if (match == "seconds") {
    budget.seconds = plan.reference().recipe.budget.seconds * share;
    return result;
  }
  // The reference's whole budget sets the amount, whatever unit it was given in.
  const train::Plan whole = train::make_plan(train::complete_from_data(plan.reference().recipe), 0);
  if (match == "flops") budget.flops = whole.total_flops * share;
  if (match == "raw_tokens") budget.tokens = whole.total_raw_tokens * share;
  const train::Plan own = train::make_plan(train::complete_from_data(result), 0);
  const double wanted = match == "flops" ? budget.flops : budget.tokens, got = match == "flops" ? own.total_flops : own.total_raw_tokens;
  if (std::abs(got - wanted) > kBudgetTolerance * wanted) {
    throw Error(ErrorKind::kUsage, format("budgets cannot be matched: %.4g %s are wanted and whole steps give %.4g (%lld steps)", wanted, match == "flops" ? "FLOPs" : "raw tokens", got,
                  static_cast<long long>(own.total_steps)), "raise the budget, or lower train.rows");
  }
  return result;
}

bool at_edge(const std::vector<config::Value>& grid, const config::Value& chosen) {
  const auto number = [](const config::Value& value) -> std::optional<double> {
    if (const auto* real = std::get_if<double>(&value)) return *real;
    if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
    return std::nullopt;
  };
  if (grid.size() < 2 || !number(chosen)) return false;
  bool lowest = true, highest = true;
  for (const config::Value& value : grid) {
    lowest &= number(chosen) <= number(value);
    highest &= number(chosen) >= number(value);
  }
  return lowest || highest;
}

double final_multiplier(const train::Recipe& recipe) { return train::lr_multiplier(recipe.schedule, 1.0, 1.0); }

std::string to_text(const train::Recipe& recipe) {
  return config::Document::parse(recipe.to_toml(), "recipe").to_toml_without(config::Document::parse(train::Recipe{}.to_toml(), "recipe"));
}

std::string to_text(const Trial& trial) {
  std::string text;
  for (const auto& [key, value] : trial) text += (text.empty() ? "" : ", ") + key + " = " + config::to_text(value);
  return text;
}

}  // namespace entrain::lab
