// Answers tests/e2e/test_statistics_reference.py: one JSON request on standard input, {"function": NAME, argument: value, ...}, the
// result as JSON on standard output. Numbers JSON lacks are the strings "inf", "-inf" and "nan". A broken contract: {"error": what}.

#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "entrain/statistics/hypothesis.h"
#include "entrain/statistics/joint_fit.h"
#include "entrain/statistics/power.h"
#include "entrain/statistics/resampling.h"
#include "entrain/statistics/scaling.h"

namespace entrain::statistics {
namespace {

using Json = nlohmann::json;
using Doubles = std::vector<double>;

Json number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

Json numbers(const Doubles& values) {
  Json out = Json::array();
  for (const double value : values) out.push_back(number(value));
  return out;
}

Json interval(const Interval& i) { return numbers({i.estimate, i.low, i.high}); }

std::vector<PairedUnit> units(const Json& rows) {
  std::vector<PairedUnit> out;
  for (const Json& row : rows) out.push_back({row.at(0), row.at(1), row.at(2)});
  return out;
}

/// Rows of (arm, amount, loss, seed).
std::vector<ScalingPoint> points(const Json& rows) {
  std::vector<ScalingPoint> out;
  for (const Json& row : rows) out.push_back({row.at(0), row.at(1), row.at(2), row.at(3)});
  return out;
}

Json fit(const JointFit& f) {
  return {{"problem", static_cast<int>(f.problem)}, {"irreducible", number(f.irreducible)}, {"beta", number(f.beta)}, {"coefficients", numbers(f.coefficients)}, {"rmse", number(f.rmse)}};
}

TestDesign design(const Json& r) { return {r.at("alpha"), r.at("power")}; }
RandomStream random_of(const Json& r) { return stream(r.value("seed", 1), "dump"); }

const std::map<std::string, std::function<Json(const Json&)>> kFunctions = {
    {"paired_bootstrap", [](const Json& r) { return interval(paired_bootstrap(units(r.at("units")), r.at("n_resamples"), random_of(r), r.at("confidence"))); }},
    {"nested_bootstrap",
     [](const Json& r) {
       std::vector<std::vector<PairedUnit>> by_seed;
       for (const Json& seed : r.at("units")) by_seed.push_back(units(seed));
       return interval(nested_bootstrap(by_seed, r.at("n_resamples"), random_of(r), r.at("confidence")));
     }},
    {"paired_t_test",
     [](const Json& r) {
       const PairedTTest t = paired_t_test(r.at("differences").get<Doubles>(), r.at("confidence"));
       return Json{{"mean", interval(t.mean)}, {"sd", number(t.sd)}, {"t", number(t.t)}, {"degrees", number(t.degrees)}, {"p", number(t.p)}};
     }},
    {"sign_flip_test",
     [](const Json& r) {
       const SignFlipTest t = sign_flip_test(r.at("differences").get<Doubles>(), random_of(r), r.at("n_resamples"));
       return Json{{"mean", number(t.mean)}, {"p", number(t.p)}, {"smallest_p", number(t.smallest_p)}, {"exact", t.exact}};
     }},
    {"mcnemar_exact", [](const Json& r) { return number(mcnemar_exact(r.at("only_a"), r.at("only_b"))); }},
    {"binomial_test", [](const Json& r) { return number(binomial_test(r.at("successes"), r.at("n"), r.at("probability"))); }},
    {"wilson_interval", [](const Json& r) { return interval(wilson_interval(r.at("successes"), r.at("n"), r.at("confidence"))); }},
    {"holm", [](const Json& r) { return numbers(holm(r.at("p").get<Doubles>())); }},
    {"benjamini_hochberg", [](const Json& r) { return numbers(benjamini_hochberg(r.at("p").get<Doubles>())); }},
    {"equivalence_test",
     [](const Json& r) {
       const EquivalenceTest t = equivalence_test(r.at("differences").get<Doubles>(), r.at("low"), r.at("high"), r.at("alpha"));
       return Json{{"p_low", number(t.p_low)}, {"p_high", number(t.p_high)}, {"p", number(t.p)}, {"mean", interval(t.mean)}};
     }},
    {"spearman",
     [](const Json& r) {
       const RankCorrelation c = spearman(r.at("x").get<Doubles>(), r.at("y").get<Doubles>());
       return numbers({c.rho, c.p});
     }},
    {"paired_t_power", [](const Json& r) { return number(paired_t_power(r.at("effect"), r.at("sd"), r.at("n"), r.at("alpha"))); }},
    {"paired_t_pairs", [](const Json& r) { return Json(paired_t_pairs(r.at("effect"), r.at("sd"), design(r))); }},
    {"paired_t_detectable_effect", [](const Json& r) { return number(paired_t_detectable_effect(r.at("sd"), r.at("n"), design(r))); }},
    {"mcnemar_items", [](const Json& r) { return Json(mcnemar_items(r.at("difference"), r.at("discordance"), design(r))); }},
    {"paired_mean_items", [](const Json& r) { return Json(paired_mean_items(r.at("difference"), r.at("sd"), design(r))); }},
    {"proportion_detectable_difference", [](const Json& r) { return number(proportion_detectable_difference(r.at("proportion"), r.at("n"), r.at("correlation"), design(r))); }},
    {"amount_for_loss",
     [](const Json& r) {
       const AmountForLoss a = amount_for_loss(points(r.at("points")), r.at("loss"));
       return Json{{"kind", static_cast<int>(a.kind)}, {"amount", number(a.amount)}};
     }},
    {"iso_loss_ratio",
     [](const Json& r) {
       const IsoLossRatio ratio = iso_loss_ratio(points(r.at("points")), r.at("reference"), r.at("arm"), r.at("n_resamples"), random_of(r), r.at("confidence"));
       Json rungs = Json::array();
       for (const IsoLossRung& rung : ratio.rungs) {
         rungs.push_back({{"amount", number(rung.amount)}, {"loss", number(rung.loss)}, {"kind", static_cast<int>(rung.kind)}, {"ratio", interval(rung.ratio)}});
         rungs.back()["shares"] = numbers({rung.share_extrapolated, rung.share_below_ladder, rung.share_unknown});
       }
       return Json{{"rungs", rungs}, {"single_runs", ratio.single_runs}};
     }},
    {"fit_joint", [](const Json& r) { return fit(fit_joint(points(r.at("points")), r.at("n_arms"))); }},
    {"bootstrap_joint",
     [](const Json& r) {
       const JointBootstrap b = bootstrap_joint(points(r.at("points")), r.at("n_arms"), r.at("reference"), r.at("n_resamples"), random_of(r), r.at("confidence"));
       Json multipliers = Json::array();
       for (const Interval& multiplier : b.multipliers) multipliers.push_back(interval(multiplier));
       return Json{{"fit", fit(b.fit)}, {"irreducible", interval(b.irreducible)}, {"beta", interval(b.beta)}, {"multipliers", multipliers},
                   {"share_unidentified", number(b.share_unidentified)}, {"single_runs", b.single_runs}};
     }},
};

int run() {
  const Json request = Json::parse(std::cin);
  try {
    std::cout << kFunctions.at(request.at("function"))(request).dump() << "\n";
  } catch (const std::logic_error& error) {
    std::cout << Json{{"error", error.what()}}.dump() << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace entrain::statistics

int main() {
  try {
    return entrain::statistics::run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
