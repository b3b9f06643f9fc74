#include "entrain/lab/judge.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <set>

#include "entrain/base/error.h"
#include "entrain/base/format.h"
#include "entrain/statistics/power.h"
#include "entrain/train/method.h"

namespace entrain::lab {
namespace {

constexpr size_t kEnoughDocuments = 50;  // from here on documents themselves are resampled

using BySeed = std::map<int64_t, const Result*>;

/// What is left in the folder of an earlier form of the plan does not count.
bool belongs(const Plan& plan, const Result& r) {
  const auto holds = [](const auto& values, const auto& value) { return std::find(values.begin(), values.end(), value) != values.end(); };
  if (std::none_of(plan.arms.begin(), plan.arms.end(), [&](const Arm& arm) { return arm.name == r.arm; })) return false;
  if (r.stage == Stage::kTune) return plan.tune.method != "none";
  return holds(plan.lab.seeds, static_cast<double>(r.seed)) && (r.stage == Stage::kMain || holds(plan.lab.ladder, r.share));
}

/// Finished runs of the comparison at the full budget.
BySeed main_runs(const std::vector<Result>& results, const std::string& arm) {
  BySeed runs;
  for (const Result& result : results) {
    if (result.stage == Stage::kMain && result.arm == arm) runs[result.seed] = &result;
  }
  return runs;
}

struct Unit {
  double value = 0, weight = 0;
};

/// A run's metric by the units that are resampled, in an order that all runs on the same text share. Empty where the metric is no mean.
std::vector<Unit> units_of(const Result& run, const std::string& metric, bool by_document) {
  std::vector<Unit> units;
  if (metric == "loss" || metric == "bits_per_byte") {
    for (size_t i = 0; i < run.blocks.size(); ++i) {
      const Block& block = run.blocks[i];
      const bool joined = by_document && i > 0 && block.document == run.blocks[i - 1].document;
      if (!joined) units.emplace_back();
      units.back().value += metric == "loss" ? block.nats : block.nats / std::numbers::ln2;
      units.back().weight += static_cast<double>(metric == "loss" ? block.tokens : block.bytes);
    }
    return units;
  }
  const size_t dot = metric.find('.');
  for (const TaskOutcome& task : run.tasks) {
    const auto column = std::find(task.columns.begin(), task.columns.end(), metric.substr(dot + 1));
    if (task.task != metric.substr(0, dot) || column == task.columns.end()) continue;
    const size_t c = static_cast<size_t>(column - task.columns.begin());
    std::map<std::string, size_t> clusters;
    for (const TaskOutcome::Item& item : task.items) {
      // Items of one group (paradigm, subject, template) are not independent: the group is the unit.
      const auto [found, is_new] = clusters.try_emplace(item.group.empty() ? "item " + item.id : item.group, units.size());
      if (is_new) units.emplace_back();
      units[found->second].value += item.values.at(c);
      units[found->second].weight += 1;
    }
  }
  return units;
}

size_t count_documents(const Result& run) {
  std::set<uint64_t> documents;
  for (const Block& block : run.blocks) documents.insert(block.document);
  return documents.size();
}

bool resamples_documents(const Plan& plan, const Result& run) {
  return plan.metrics.unit == "document" || (plan.metrics.unit == "auto" && count_documents(run) >= kEnoughDocuments);
}

std::string unit_name(const Plan& plan, const std::string& metric, const Result& run) {
  if (metric.find('.') != std::string::npos) return run.tasks.empty() || run.tasks.front().items.empty() || run.tasks.front().items.front().group.empty() ? "items" : "groups of items";
  return resamples_documents(plan, run) ? "documents" : format("blocks of %lld tokens", static_cast<long long>(plan.metrics.block_tokens));
}

ArmMetric metric_of(const std::string& name, const BySeed& runs) {
  ArmMetric m{.metric = name, .by_seed = {}};
  for (const auto& [seed, run] : runs) {
    if (const auto value = run->metric(name)) m.by_seed.push_back(*value);
  }
  const double n = static_cast<double>(m.by_seed.size());
  double squares = 0;
  for (const double value : m.by_seed) m.mean += value / n;
  for (const double value : m.by_seed) squares += (value - m.mean) * (value - m.mean);
  if (m.by_seed.size() > 1) m.sd = std::sqrt(squares / (n - 1));
  return m;
}

int64_t memory_parameters(const Result& run) {
  model::MemoryConfig memory;
  config::Binder binder;
  memory.bind(binder);
  binder.read(config::Document::parse(run.recipe, "the recipe of " + run.arm).take_section("memory"));
  return memory.table_parameters();
}

ArmSummary summarise(const Plan& plan, const Arm& arm, const BySeed& runs) {
  ArmSummary s{.name = arm.name, .seeds = {}, .metrics = {}, .tuned = {}, .sample = ""};
  const double n = static_cast<double>(runs.size());
  for (const auto& [seed, run] : runs) {
    s.seeds.push_back(seed);
    s.n_parameters = run->n_parameters;
    s.n_memory_parameters = memory_parameters(*run);
    s.steps += static_cast<double>(run->state.step) / n;
    s.raw_tokens += run->state.raw_tokens / n;
    s.unique_tokens += run->unique_tokens / n;
    s.flops += run->state.flops / n;
    s.seconds += run->state.seconds / n;
    s.tuned = run->values;
    if (s.sample.empty()) s.sample = run->sample;
    for (const auto& [name, value] : run->figures) s.figures[name] += value / n;
    std::set<std::string> kinds;
    for (const std::string& alarm : run->alarms) kinds.insert(train::alarm_kind(alarm));
    for (const std::string& kind : kinds) ++s.alarms[kind];
  }
  for (const std::string& metric : plan.declared()) s.metrics.push_back(metric_of(metric, runs));
  for (const auto& [key, value] : s.tuned) {
    const auto grid = plan.grids.find(arm.name);
    if (grid == plan.grids.end() || !grid->second.contains(key)) continue;
    s.tuned_at_edge |= at_edge(grid->second.at(key), value);
  }
  return s;
}

void check_comparable(const std::string& a, const Result& x, const std::string& b, const Result& y) {
  if (is_decayed(x.final_multiplier) != is_decayed(y.final_multiplier)) {
    throw Error(ErrorKind::kUsage, format("%s ended at %.0f %% of its peak learning rate and %s at %.0f %%: a run that has not decayed looks worse than it is, so they cannot be compared", a.c_str(),
                                          100 * x.final_multiplier, b.c_str(), 100 * y.final_multiplier), "give both a full decay and run the lab again");
  }
  if (x.data != y.data || x.split != y.split) {
    throw Error(ErrorKind::kUsage, a + " and " + b + " were trained or scored on different text", "run the lab again on one data folder, in a new --out folder");
  }
}

Comparison compare_arms(const Plan& plan, const std::string& arm, const BySeed& arm_runs, const std::string& reference, const BySeed& reference_runs, const std::string& metric, uint64_t number) {
  Comparison c{.arm = arm, .reference = reference, .metric = metric, .unit = "", .difference = {}, .t_test = {}, .equivalence_p = {}};
  std::vector<std::vector<statistics::PairedUnit>> by_seed;
  std::vector<double> differences;
  for (const auto& [seed, run] : arm_runs) {
    const auto other = reference_runs.find(seed);
    if (other == reference_runs.end()) continue;
    check_comparable(arm, *run, reference, *other->second);
    const auto a = run->metric(metric), b = other->second->metric(metric);
    if (!a || !b) continue;
    differences.push_back(*a - *b);
    const bool by_document = resamples_documents(plan, *run);
    const std::vector<Unit> x = units_of(*run, metric, by_document), y = units_of(*other->second, metric, by_document);
    ENTRAIN_CHECK(x.size() == y.size(), "runs on the same text have different units");
    std::vector<statistics::PairedUnit> units;
    for (size_t i = 0; i < x.size(); ++i) units.push_back({x[i].value, y[i].value, x[i].weight});
    if (!units.empty()) by_seed.push_back(std::move(units));
    c.unit = unit_name(plan, metric, *run);
  }
  c.n_seeds = differences.size();
  if (differences.empty()) return c;
  const DecisionConfig& d = plan.decision;
  const int better = direction(metric);
  if (!by_seed.empty()) {
    c.n_units = by_seed.front().size();
    c.difference = statistics::nested_bootstrap(by_seed, plan.metrics.resamples, stream(1, "lab/bootstrap", number), 1 - d.alpha);
  }
  if (differences.size() > 1) {
    c.t_test = statistics::paired_t_test(differences, 1 - d.alpha);
    if (by_seed.empty()) c.difference = c.t_test->mean;
    const auto flips = statistics::sign_flip_test(differences, stream(1, "lab/sign flips", number));
    c.permutation_p = flips.p;
    c.permutation_floor = flips.smallest_p;
    c.rule_p = c.t_test->p;
    if (d.effect > 0 && metric == d.metric) {  // the effect is in that metric's unit
      const auto equivalence = statistics::equivalence_test(differences, -d.effect, d.effect, d.alpha);
      c.equivalence_p = equivalence.p;
      if (d.rule == "equivalent") c.rule_p = equivalence.p;
      if (d.rule == "non_inferior") c.rule_p = better < 0 ? equivalence.p_high : equivalence.p_low;
      if (c.t_test->sd > 0 && d.effect > 1e-6 * c.t_test->sd) c.seeds_needed = statistics::paired_t_pairs(d.effect, c.t_test->sd, {d.alpha, d.power});
    }
    if (c.t_test->sd > 0) c.detectable = statistics::paired_t_detectable_effect(c.t_test->sd, static_cast<int64_t>(c.n_seeds), {d.alpha, d.power});
  } else if (by_seed.empty()) {
    c.difference = {differences[0], -INFINITY, INFINITY};
  }
  return c;
}

void correct_for_several(std::vector<Comparison>& comparisons) {
  for (const bool primary : {true, false}) {
    std::vector<size_t> members;
    std::vector<double> p;
    for (size_t i = 0; i < comparisons.size(); ++i) {
      if (comparisons[i].primary != primary || comparisons[i].n_seeds == 0) continue;
      members.push_back(i);
      p.push_back(comparisons[i].rule_p);
    }
    if (p.empty()) continue;
    const std::vector<double> adjusted = primary ? statistics::holm(p) : statistics::benjamini_hochberg(p);
    for (size_t i = 0; i < members.size(); ++i) comparisons[members[i]].adjusted_p = adjusted[i];
  }
}

/// Both must agree: the interval over seeds and text, and the test over seeds. With one seed there is the interval alone.
Verdict verdict_of(const Plan& plan, const Comparison& c) {
  const DecisionConfig& d = plan.decision;
  if (c.n_seeds == 0) return Verdict::kUndecided;
  const double difference_p = d.rule == "superior" ? c.adjusted_p : c.t_test ? c.t_test->p : 1;
  const bool seeds_agree = c.n_seeds == 1 || (difference_p < d.alpha && c.t_test->mean.estimate * c.difference.estimate > 0);
  if (c.difference.excludes(0) && seeds_agree) return c.difference.estimate * direction(c.metric) > 0 ? Verdict::kBetter : Verdict::kWorse;
  const double equivalence_p = d.rule == "equivalent" ? c.adjusted_p : c.equivalence_p.value_or(1);
  if (c.equivalence_p && equivalence_p < d.alpha) return Verdict::kEquivalent;
  return Verdict::kUndecided;
}

std::string match_text(const std::string& match) {
  return match == "flops" ? "FLOPs" : match == "raw_tokens" ? "raw tokens" : match == "unique_tokens" ? "unique tokens" : "seconds";
}

std::string unit_text(const std::string& metric) { return metric == "loss" ? " nats per token" : metric == "bits_per_byte" ? " bits per byte" : ""; }

std::string sentence(const Plan& plan, const Comparison& c) {
  const DecisionConfig& d = plan.decision;
  const std::string on = c.metric == "loss" ? "" : " in " + c.metric;
  if (c.n_seeds == 0) return c.arm + " against " + c.reference + on + ": no seed of both has finished, nothing can be said.";
  const std::string numbers = format("%+.4f%s, %.0f %% interval %+.4f to %+.4f%s", c.difference.estimate, unit_text(c.metric).c_str(), 100 * (1 - d.alpha), c.difference.low, c.difference.high,
                                     c.t_test ? format(", p = %.2g over %zu seeds", c.adjusted_p, c.n_seeds).c_str() : ", one seed");
  const std::string at = " at equal " + match_text(plan.lab.match);
  if (d.rule == "equivalent" && c.primary) {
    return c.arm + (c.verdict == Verdict::kEquivalent ? " is equivalent to " : " was not shown to be equivalent to ") + c.reference + on + at + format(" (margin %g): ", d.effect) + numbers + ".";
  }
  if (d.rule == "non_inferior" && c.primary) {
    return c.arm + (c.n_seeds > 1 && c.adjusted_p < d.alpha ? " is not inferior to " : " was not shown to be non-inferior to ") + c.reference + on + at + format(" (margin %g): ", d.effect) + numbers + ".";
  }
  switch (c.verdict) {
    case Verdict::kBetter: return c.arm + " beats " + c.reference + on + at + ": " + numbers + ".";
    case Verdict::kWorse: return c.arm + " does not pay against " + c.reference + on + at + ": it is worse by " + numbers + ".";
    case Verdict::kEquivalent: return c.arm + " and " + c.reference + " are equal within " + format("%g", d.effect) + on + at + ": " + numbers + ".";
    case Verdict::kUndecided: break;
  }
  return c.arm + " against " + c.reference + on + at + ": no significant difference" + (c.difference.excludes(0) ? " by the test over seeds, though the interval excludes 0" : "") + " (" + numbers + ").";
}

std::vector<Band> bands_of(const Plan& plan, const std::vector<Result>& results) {
  std::vector<Band> bands;
  const std::vector<std::pair<std::string, double (*)(const CurvePoint&)>> axes{{"steps", [](const CurvePoint& p) { return static_cast<double>(p.step); }},
                                                                                {"raw tokens", [](const CurvePoint& p) { return p.raw_tokens; }},
                                                                                {"FLOPs", [](const CurvePoint& p) { return p.flops; }},
                                                                                {"seconds", [](const CurvePoint& p) { return p.seconds; }}};
  for (const auto& [axis, read] : axes) {
    for (const Arm& arm : plan.arms) {
      const BySeed runs = main_runs(results, arm.name);
      if (runs.empty()) continue;
      size_t n_points = SIZE_MAX;
      for (const auto& [seed, run] : runs) n_points = std::min(n_points, run->curve.size());
      Band band{.arm = arm.name, .axis = axis, .points = {}};
      for (size_t i = 0; i < n_points; ++i) {
        Band::Point point{.low = INFINITY, .high = -INFINITY};
        for (const auto& [seed, run] : runs) {
          const double loss = run->curve[i].nats_per_token;
          point.x += read(run->curve[i]) / static_cast<double>(runs.size());
          point.mean += loss / static_cast<double>(runs.size());
          point.low = std::min(point.low, loss);
          point.high = std::max(point.high, loss);
        }
        band.points.push_back(point);
      }
      bands.push_back(std::move(band));
    }
  }
  return bands;
}

std::vector<Efficiency> efficiency_of(const Plan& plan, const std::vector<Result>& results) {
  std::vector<Efficiency> all;
  if (plan.lab.ladder.empty()) return all;
  std::vector<std::pair<std::string, double (*)(const Result&)>> axes{{"FLOPs", [](const Result& r) { return r.state.flops; }},
                                                                      {"raw tokens", [](const Result& r) { return r.state.raw_tokens; }},
                                                                      {"seconds", [](const Result& r) { return r.state.seconds; }}};
  if (plan.lab.match == "unique_tokens") axes.insert(axes.begin(), {"unique tokens", [](const Result& r) { return r.unique_tokens; }});
  for (const auto& [axis, read] : axes) {
    Efficiency e{.axis = axis, .arms = {}, .points = {}, .ratios = {}, .fit = {}};
    for (const Arm& arm : plan.arms) {
      std::map<double, std::vector<const Result*>> by_share;
      for (const Result& r : results) {
        if (r.stage != Stage::kTune && r.arm == arm.name) by_share[r.share].push_back(&r);
      }
      if (by_share.empty()) continue;
      if (arm.name == plan.lab.reference) e.reference = e.arms.size();
      for (const auto& [share, runs] : by_share) {
        double amount = 0;  // seconds differ between seeds: one amount a budget
        for (const Result* r : runs) amount += read(*r) / static_cast<double>(runs.size());
        for (const Result* r : runs) e.points.push_back({e.arms.size(), amount, *r->metric("loss"), r->seed});
      }
      e.arms.push_back(arm.name);
    }
    if (e.arms.size() < 2 || e.arms[e.reference] != plan.lab.reference) continue;
    for (size_t arm = 0; arm < e.arms.size(); ++arm) {
      e.ratios.push_back(arm == e.reference ? statistics::IsoLossRatio{} : statistics::iso_loss_ratio(e.points, e.reference, arm, kFitResamples, stream(1, "lab/iso-loss", arm)));
    }
    e.fit = statistics::bootstrap_joint(e.points, e.arms.size(), e.reference, kFitResamples, stream(1, "lab/joint fit"));
    all.push_back(std::move(e));
  }
  return all;
}

std::vector<std::string> cautions_of(const Plan& plan, const std::vector<Result>& results, const Judgement& j) {
  std::vector<std::string> cautions;
  const size_t n_wanted = plan.lab.seeds.size();
  size_t n_paired = n_wanted;
  for (const ArmSummary& arm : j.arms) {
    if (arm.seeds.size() < n_wanted) cautions.push_back(arm.name + " finished " + std::to_string(arm.seeds.size()) + " of " + std::to_string(n_wanted) + " seeds; pairs that lack a side are left out.");
    n_paired = std::min(n_paired, arm.seeds.size());
    if (arm.tuned_at_edge) cautions.push_back("The best tuning value of " + arm.name + " lies at the edge of its grid (" + to_text(arm.tuned) + "): a better one may lie beyond.");
  }
  if (n_wanted == 1) {
    cautions.push_back("One seed a side: another seed would move every figure, and these intervals do not show by how much.");
  } else if (j.comparisons.empty() || j.comparisons.front().permutation_floor > plan.decision.alpha) {
    cautions.push_back(format("%zu seeds: the exact permutation test cannot go below p = %.3g, so the verdict rests on the t-test, which takes differences between seeds as normal.", n_paired,
                              j.comparisons.empty() ? 1.0 : j.comparisons.front().permutation_floor));
  }
  for (const Comparison& c : j.comparisons) {
    if (c.primary && c.seeds_needed > static_cast<int64_t>(c.n_seeds)) {
      cautions.push_back(format("%s: to find the declared effect of %g in %s with power %.0f %%, %lld seeds are needed at the spread that was measured; there are %zu.", c.arm.c_str(), plan.decision.effect,
                                c.metric.c_str(), 100 * plan.decision.power, static_cast<long long>(c.seeds_needed), c.n_seeds));
    }
  }
  if (j.split != "test") cautions.push_back("Judged on the validation split" + std::string(plan.tune.method == "none" ? "" : ", which tuning has seen") + ": the data folder has no test split (entrain data prepare --test-fraction).");
  if (!j.first_result_at.empty() && j.first_result_at < j.frozen_at) cautions.push_back("The plan was frozen on " + j.frozen_at + ", after its first result of " + j.first_result_at + ": take everything here as exploratory.");
  if (j.n_documents < 10) cautions.push_back("The held-out text is " + std::to_string(j.n_documents) + " documents: the intervals speak of this text, not of other text.");
  std::set<std::string> machines;
  for (const Result& r : results) machines.insert(r.machine);
  if (machines.size() > 1) cautions.push_back("The runs were made on " + std::to_string(machines.size()) + " different machines: seconds are not comparable.");
  bool beyond = false;
  for (const Efficiency& e : j.efficiency) {
    for (const auto& ratio : e.ratios) beyond |= !ratio.rungs.empty() && ratio.rungs.back().kind == statistics::AmountForLoss::Kind::kExtrapolated;
  }
  if (beyond) cautions.push_back("Some efficiency ratios lie beyond the reference's largest budget and are extrapolated: lower bounds where the curve flattens.");
  return cautions;
}

}  // namespace

std::string to_string(Verdict verdict) {
  return verdict == Verdict::kBetter ? "better" : verdict == Verdict::kWorse ? "worse" : verdict == Verdict::kEquivalent ? "equivalent" : "undecided";
}

Judgement judge(const Plan& plan, const std::vector<Result>& all_results, const std::string& frozen_at) {
  std::vector<Result> results;
  std::copy_if(all_results.begin(), all_results.end(), std::back_inserter(results), [&](const Result& r) { return belongs(plan, r); });
  Judgement j{.question = plan.lab.question, .plan_hash = plan.hash(), .frozen_at = frozen_at, .first_result_at = "", .match = plan.lab.match, .split = "", .reference = plan.lab.reference,
              .arms = {}, .comparisons = {}, .efficiency = {}, .bands = {}, .decision = {}, .cautions = {}};
  for (const Result& r : results) {
    if (j.first_result_at.empty() || r.finished_at < j.first_result_at) j.first_result_at = r.finished_at;
    if (r.stage == Stage::kTune || j.n_documents > 0) continue;
    j.split = r.split;
    j.n_documents = count_documents(r);
    for (const Block& block : r.blocks) j.n_tokens += static_cast<size_t>(block.tokens);
  }
  std::map<std::string, BySeed> runs;
  for (const Arm& arm : plan.arms) {
    runs[arm.name] = main_runs(results, arm.name);
    j.arms.push_back(summarise(plan, arm, runs[arm.name]));
  }
  // Declared first: the primary metrics against the reference. The rest is exploratory, pairs without the reference too.
  uint64_t number = 0;
  for (const bool primary : {true, false}) {
    for (const std::string& metric : plan.declared()) {
      const bool declared = std::find(plan.metrics.primary.begin(), plan.metrics.primary.end(), metric) != plan.metrics.primary.end();
      for (size_t a = 0; a < plan.arms.size(); ++a) {
        for (size_t b = 0; b < plan.arms.size(); ++b) {
          const std::string &arm = plan.arms[a].name, &other = plan.arms[b].name;
          const bool against_reference = other == plan.lab.reference && arm != other;
          const bool other_pair = b < a && arm != plan.lab.reference && other != plan.lab.reference;
          if ((declared && against_reference) != primary || !(against_reference || other_pair)) continue;
          Comparison c = compare_arms(plan, arm, runs[arm], other, runs[other], metric, number++);
          c.primary = primary;
          j.comparisons.push_back(std::move(c));
        }
      }
    }
  }
  correct_for_several(j.comparisons);
  for (Comparison& c : j.comparisons) {
    c.verdict = verdict_of(plan, c);
    if (c.metric == plan.decision.metric) j.decision.push_back(sentence(plan, c));
  }
  j.efficiency = efficiency_of(plan, results);
  j.bands = bands_of(plan, results);
  j.cautions = cautions_of(plan, results, j);
  return j;
}

}  // namespace entrain::lab
