// The words, tables and JSON of a judgement.

#include <algorithm>
#include <cmath>

#include "entrain/base/format.h"
#include "entrain/base/json.h"
#include "entrain/lab/judge.h"

namespace entrain::lab {
namespace {

using Kind = statistics::AmountForLoss::Kind;

const ArmMetric* find_metric(const ArmSummary& arm, const std::string& name) {
  const auto found = std::find_if(arm.metrics.begin(), arm.metrics.end(), [&](const ArmMetric& m) { return m.metric == name; });
  return found == arm.metrics.end() || found->by_seed.empty() ? nullptr : &*found;
}

std::string mean_text(const ArmSummary& arm, const std::string& metric) {
  const ArmMetric* m = find_metric(arm, metric);
  if (m == nullptr) return "-";
  return format("%.4f", m->mean) + (m->by_seed.size() > 1 ? format(" ± %.4f", m->sd) : "");
}

std::string kind_text(Kind kind) { return kind == Kind::kInterpolated ? "interpolated" : kind == Kind::kExtrapolated ? "extrapolated" : kind == Kind::kBelowLadder ? "below ladder" : "unknown"; }

std::string problem_text(statistics::JointFit::Problem problem) {
  using Problem = statistics::JointFit::Problem;
  switch (problem) {
    case Problem::kNone: return "";
    case Problem::kTooFewAmounts: return "not fitted: no arm has three budgets";
    case Problem::kNoFall: return "not identified: some arm's loss does not fall with the budget";
    case Problem::kBetaAtBound: return "not identified: beta lies at the end of its range";
    case Problem::kIrreducibleAtZero: return "not identified: the budgets do not bend enough to tell E from beta (E = 0)";
  }
  return "";
}

/// Nothing for runs without spread.
std::string range_text(const statistics::Interval& i) { return i.low < i.high ? format(" (%.2f to %.2f)", i.low, i.high) : ""; }

/// How many times the arm's budget the reference needs for the arm's loss.
std::string ratio_text(const statistics::IsoLossRung& rung) {
  const statistics::Interval& r = rung.ratio;
  const std::string interval = std::isfinite(r.high) ? range_text(r) : "";  // so many times the budget says nothing but "far"
  switch (rung.kind) {
    case Kind::kInterpolated: return format("%.2fx", r.estimate) + interval;
    case Kind::kExtrapolated: return r.estimate < 100 ? format("about %.2fx (extrapolated)", r.estimate) + interval : "over 100x (extrapolated)";
    case Kind::kBelowLadder: return format("under %.2fx", r.estimate);
    case Kind::kUnknown: break;
  }
  return "not measured";
}

std::string difference_text(const Comparison& c) {
  if (c.n_seeds == 0) return "no pair";
  return format("%+.4f (%+.4f to %+.4f)", c.difference.estimate, c.difference.low, c.difference.high) + (c.is_significant() ? "" : ", not significant");
}

/// The reference's compute for the arm's loss at the full budget.
std::string compute_text(const Judgement& j, const ArmSummary& arm) {
  if (arm.name == j.reference) return "1";
  for (const Efficiency& e : j.efficiency) {
    const auto index = std::find(e.arms.begin(), e.arms.end(), arm.name);
    if (e.axis != "FLOPs" || index == e.arms.end()) continue;
    const auto& rungs = e.ratios[static_cast<size_t>(index - e.arms.begin())].rungs;
    const auto full = std::min_element(rungs.begin(), rungs.end(), [&](const auto& a, const auto& b) { return std::abs(a.amount - arm.flops) < std::abs(b.amount - arm.flops); });
    if (full != rungs.end()) return ratio_text(*full);
  }
  return "not measured";
}

OrderedJson interval_json(const statistics::Interval& i) {
  const auto finite = [](double v) { return std::isfinite(v) ? OrderedJson(v) : OrderedJson(nullptr); };
  return {{"estimate", finite(i.estimate)}, {"low", finite(i.low)}, {"high", finite(i.high)}};
}

OrderedJson comparison_json(const Comparison& c) {
  OrderedJson json{{"arm", c.arm}, {"reference", c.reference}, {"metric", c.metric}, {"declared_primary", c.primary}, {"seeds", c.n_seeds}, {"units", c.n_units}, {"unit", c.unit},
            {"difference", c.difference.estimate}, {"low", interval_json(c.difference)["low"]}, {"high", interval_json(c.difference)["high"]}, {"significant", c.is_significant()},
            {"permutation_p", c.permutation_p}, {"smallest_permutation_p", c.permutation_floor}, {"rule_p", c.rule_p}, {"adjusted_p", c.adjusted_p},
            {"detectable", c.detectable}, {"seeds_needed", c.seeds_needed}, {"verdict", to_string(c.verdict)}};
  if (c.t_test) json["t_test"] = {{"mean", c.t_test->mean.estimate}, {"low", c.t_test->mean.low}, {"high", c.t_test->mean.high}, {"sd", c.t_test->sd}, {"t", std::isfinite(c.t_test->t) ? OrderedJson(c.t_test->t) : OrderedJson(nullptr)}, {"degrees", c.t_test->degrees}, {"p", c.t_test->p}};
  if (c.equivalence_p) json["equivalence_p"] = *c.equivalence_p;
  return json;
}

/// A row a figure, a column an arm; nothing where no arm has any.
std::string figures_text(const std::vector<ArmSummary>& arms) {
  std::set<std::string> names;
  std::string header = "| figure |", line = "| --- |", rows, alarms;
  for (const ArmSummary& arm : arms) {
    for (const auto& [name, value] : arm.figures) names.insert(name);
    header += " " + arm.name + " |";
    line += " --- |";
    for (const auto& [alarm, n_runs] : arm.alarms) alarms += "- " + arm.name + ", " + std::to_string(n_runs) + (n_runs == 1 ? " run: " : " runs: ") + alarm + "\n";
  }
  if (names.empty()) return "";
  for (const std::string& name : names) {
    rows += "| " + name + " |";
    for (const ArmSummary& arm : arms) {
      const auto found = arm.figures.find(name);
      rows += found == arm.figures.end() ? " - |" : format(" %.4g |", found->second);
    }
    rows += "\n";
  }
  return "\nWhat the methods showed at the end of training, means over seeds:\n\n" + header + "\n" + line + "\n" + rows + (alarms.empty() ? "" : "\nAlarms:\n\n" + alarms);
}

}  // namespace

std::string Judgement::to_markdown() const {
  std::string text;
  if (!question.empty()) text += "**" + question + "**\n\n";
  for (const std::string& line : decision) text += "- " + line + "\n";
  text += "\n| arm | parameters | nats/token | bits/byte | against " + reference + ", nats/token | steps | raw tokens read | FLOPs | seconds | compute " + reference +
          " would need |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
  for (const ArmSummary& arm : arms) {
    std::string difference = arm.name == reference ? "reference" : "-";
    for (const Comparison& c : comparisons) {
      if (c.arm == arm.name && c.reference == reference && c.metric == "loss") difference = difference_text(c);
    }
    const std::string memory = arm.n_memory_parameters > 0 ? format(" (+ %.1fM in tables)", static_cast<double>(arm.n_memory_parameters) * 1e-6) : "";
    text += "| " + arm.name + format(" | %.2fM", static_cast<double>(arm.n_parameters) * 1e-6) + memory + " | " + mean_text(arm, "loss") + " | " + mean_text(arm, "bits_per_byte") + " | " + difference +
            format(" | %.0f | %.2fM | %.3g | %.0f | ", arm.steps, arm.raw_tokens * 1e-6, arm.flops, arm.seconds) + compute_text(*this, arm) + " |\n";
  }
  bool tuned = false;
  for (const ArmSummary& arm : arms) tuned |= !arm.tuned.empty();
  if (tuned) {
    text += "\nTuned, with equal trials:";
    for (const ArmSummary& arm : arms) text += " " + arm.name + " " + to_text(arm.tuned) + (arm.tuned_at_edge ? " (edge of its grid)" : "") + ";";
    text.back() = '.';
    text += "\n";
  }
  text += figures_text(arms);
  for (const bool primary : {true, false}) {
    std::string rows;
    for (const Comparison& c : comparisons) {
      if (c.primary != primary || c.n_seeds == 0) continue;
      rows += "| " + c.arm + " - " + c.reference + " | " + c.metric + " | " + difference_text(c) + format(" | %zu | %zu ", c.n_seeds, c.n_units) + c.unit + " | " +
              (c.t_test ? format("%.3g", c.t_test->p) : "-") + format(" | %.3g (%.3g) | ", c.permutation_p, c.permutation_floor) + (c.n_seeds > 1 ? format("%.3g", c.adjusted_p) : "-") + " | " +
              (c.equivalence_p ? format("%.3g", *c.equivalence_p) : "-") + " | " + (c.detectable > 0 ? format("%.4f", c.detectable) : "-") + " | " + to_string(c.verdict) + " |\n";
    }
    if (rows.empty()) continue;
    text += std::string(primary ? "\nDeclared before" : "\nExploratory") + ":\n\n| difference | metric | interval over seeds and text | seeds | units | t-test p | permutation p (smallest) | " +
            (primary ? "Holm p" : "Benjamini-Hochberg p") + " | equivalence p | detectable effect | verdict |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n" + rows;
  }
  if (!efficiency.empty()) {
    text += "\nHow many times an arm's budget " + reference + " needs for the arm's loss, from separate fully decayed runs:\n\n| axis | arm | budget of the arm | loss | " + reference +
            " needs | multiplier k of L = E + B (k D)^-beta |\n| --- | --- | --- | --- | --- | --- |\n";
    for (const Efficiency& e : efficiency) {
      for (size_t a = 0; a < e.arms.size(); ++a) {
        for (const auto& rung : e.ratios[a].rungs) {
          const statistics::Interval* k = a < e.fit.multipliers.size() ? &e.fit.multipliers[a] : nullptr;
          const std::string multiplier = !e.fit.fit.identified() ? problem_text(e.fit.fit.problem) : k == nullptr || k->estimate == 0 ? "-" : format("%.2f", k->estimate) + range_text(*k);
          text += "| " + e.axis + " | " + e.arms[a] + format(" | %.3g | %.4f | ", rung.amount, rung.loss) + ratio_text(rung) + " | " + multiplier + " |\n";
        }
      }
      std::string curve;
      double last = -1;
      for (const auto& point : e.points) {
        if (point.arm != e.reference || point.amount == last) continue;
        last = point.amount;
        double sum = 0, n = 0;
        for (const auto& other : e.points) {
          if (other.arm != e.reference || other.amount != last) continue;
          sum += other.loss;
          n += 1;
        }
        curve += format("%s %.3g: %.4f", curve.empty() ? "" : ",", last, sum / n);
      }
      if (e.axis == "FLOPs") text += "| " + e.axis + " | " + reference + " alone |" + curve + " | | | |\n";
    }
  }
  if (!cautions.empty()) {
    text += "\nWhat limits this:\n\n";
    for (const std::string& caution : cautions) text += "- " + caution + "\n";
  }
  text += format("\nHeld-out text: %zu tokens in %zu documents of the ", n_tokens, n_documents) + (split == "test" ? "test" : "validation") + " split. ± is the standard deviation over seeds. Plan " + plan_hash + ", frozen " +
          frozen_at + ".\n";
  for (const ArmSummary& arm : arms) {
    if (!arm.sample.empty()) text += "\nSample of " + arm.name + ":\n\n> " + arm.sample + "\n";
  }
  return text;
}

std::string Judgement::to_json() const {
  OrderedJson json{{"question", question}, {"plan", plan_hash}, {"frozen_at", frozen_at}, {"first_result_at", first_result_at}, {"match", match}, {"split", split}, {"reference", reference},
            {"held_out_tokens", n_tokens}, {"held_out_documents", n_documents}, {"decision", decision}, {"cautions", cautions}};
  json["arms"] = OrderedJson::array();
  for (const ArmSummary& arm : arms) {
    OrderedJson entry{{"arm", arm.name}, {"seeds", arm.seeds}, {"parameters", arm.n_parameters}, {"memory_parameters", arm.n_memory_parameters}};
    for (const ArmMetric& m : arm.metrics) {
      const std::string name = m.metric == "loss" ? "nats_per_token" : m.metric;
      entry[name] = m.mean;
      entry["by_seed"][name] = m.by_seed;
      entry["sd"][name] = m.sd;
    }
    entry.update(OrderedJson{{"steps", arm.steps}, {"raw_tokens", arm.raw_tokens}, {"unique_tokens", arm.unique_tokens}, {"flops", arm.flops}, {"seconds", arm.seconds}, {"tuned", to_text(arm.tuned)},
                      {"tuned_at_edge", arm.tuned_at_edge}, {"reference_compute", compute_text(*this, arm)}, {"sample", arm.sample}});
    json["arms"].push_back(std::move(entry));
  }
  json["comparisons"] = OrderedJson::array();
  for (const Comparison& c : comparisons) json["comparisons"].push_back(comparison_json(c));
  json["efficiency"] = OrderedJson::array();
  for (const Efficiency& e : efficiency) {
    OrderedJson entry{{"axis", e.axis}, {"arms", e.arms}};
    for (const auto& p : e.points) entry["points"].push_back({{"arm", e.arms[p.arm]}, {"amount", p.amount}, {"loss", p.loss}, {"seed", p.seed}});
    for (size_t a = 0; a < e.arms.size(); ++a) {
      for (const auto& rung : e.ratios[a].rungs) {
        entry["iso_loss"].push_back({{"arm", e.arms[a]}, {"amount", rung.amount}, {"loss", rung.loss}, {"kind", kind_text(rung.kind)}, {"ratio", interval_json(rung.ratio)}});
      }
    }
    entry["fit"] = {{"identified", e.fit.fit.identified()}, {"problem", problem_text(e.fit.fit.problem)}, {"irreducible", interval_json(e.fit.irreducible)}, {"beta", interval_json(e.fit.beta)}};
    for (size_t a = 0; a < e.fit.multipliers.size() && a < e.arms.size(); ++a) entry["fit"]["multipliers"][e.arms[a]] = interval_json(e.fit.multipliers[a]);
    json["efficiency"].push_back(std::move(entry));
  }
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace entrain::lab
