#include "entrain/experts/predictions.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "entrain/base/format.h"
#include "entrain/base/random.h"
#include "entrain/statistics/hypothesis.h"
#include "entrain/statistics/pooling.h"
#include "entrain/statistics/rank.h"
#include "entrain/statistics/regression.h"
#include "entrain/statistics/simplex.h"

namespace entrain::experts {
namespace {

using statistics::Interval;

constexpr double kLevel = 0.05;
constexpr double kMargin = 0.05;      // of the shares, the theory's own tolerance
constexpr double kThreshold = 0.5;    // of prediction 4's correlation
constexpr size_t kFewestRuns = 3;     // below, nothing is decided

/// Mean, interval and the larger p of Student's t and the sign-flip test: a claim needs both.
struct AcrossRuns {
  Interval mean;
  double p = 1;
};

AcrossRuns across_runs(const std::vector<double>& values) {
  const statistics::PairedTTest t = statistics::paired_t_test(values);
  const statistics::SignFlipTest flips = statistics::sign_flip_test(values, stream(0, "experts/predictions"));
  return {t.mean, std::max(t.p, flips.p)};
}

std::string interval_text(const Interval& x) { return format("%+.4f (%+.4f to %+.4f)", x.estimate, x.low, x.high); }

Verdict not_tested(std::string claim, const std::string& why) {
  Verdict verdict;
  verdict.claim = std::move(claim);
  verdict.verdict = "not tested";
  verdict.reason = why;
  return verdict;
}

/// The values at a path, of the results that have one.
std::vector<double> values_at(const std::vector<Json>& results, const char* pointer) {
  std::vector<double> values;
  for (const Json& result : results) {
    const Json::json_pointer path(pointer);
    if (result.contains(path) && result.at(path).is_number()) values.push_back(result.at(path).get<double>());
  }
  return values;
}

Verdict coordination(const std::vector<Json>& results) {
  const std::string claim = "A coordinator that knows what each expert knows beats the best fixed rule at equal cost.";
  const std::vector<double> differences = values_at(results, "/routing/coordinator_against_rule/difference");
  if (differences.size() < kFewestRuns) return not_tested(claim, "fewer than three runs with a coordinator");
  const AcrossRuns difference = across_runs(differences);
  int64_t only_coordinator = 0, only_rule = 0;
  for (const Json& result : results) {
    only_coordinator += result["routing"]["coordinator_against_rule"]["only_coordinator"].get<int64_t>();
    only_rule += result["routing"]["coordinator_against_rule"]["only_rule"].get<int64_t>();
  }
  Verdict verdict{claim, "", "", difference.mean, "accuracy, coordinator less tuned fixed rule", difference.p, 1, {}};
  const auto mean_of = [&](const char* pointer) {
    const std::vector<double> values = values_at(results, pointer);
    return values.empty() ? 0.0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  };
  verdict.reason = "the coordinator answers " + interval_text(difference.mean) + " more questions right than the tuned rule at the same mean cost";
  verdict.notes.push_back(format("accuracy %.4f against %.4f, cost %.3f against %.3f of the dearest expert", mean_of("/routing/coordinator_against_rule/coordinator"),
                                 mean_of("/routing/coordinator_against_rule/rule"), mean_of("/routing/coordinator_against_rule/coordinator_cost"), mean_of("/routing/coordinator_against_rule/rule_cost")));
  verdict.notes.push_back(format("questions that only one of them got right, all runs: %lld and %lld (exact McNemar p %.2g; the same questions in every run)", static_cast<long long>(only_coordinator),
                                 static_cast<long long>(only_rule), statistics::mcnemar_exact(only_coordinator, only_rule)));
  for (const char* other : {"nearest neighbours", "cascade on entropy", "majority vote", "probability average", "self-ensemble of the best", "oracle"}) {
    const std::string base = std::string("/routing/methods/") + other;
    verdict.notes.push_back(format("%s: accuracy %.4f at cost %.3f; coordinator at lambda: %.4f at %.3f", other, mean_of((base + "/accuracy").c_str()), mean_of((base + "/cost").c_str()),
                                   mean_of("/routing/methods/coordinator/accuracy"), mean_of("/routing/methods/coordinator/cost")));
  }
  return verdict;
}

Verdict observation(const std::vector<Json>& results) {
  const std::string claim = "Mutual observation deepens recursion and self-knowledge.";
  const std::vector<double> gains = values_at(results, "/observation/self_knowledge/gain"), depths = values_at(results, "/observation/causal_depth/depth");
  if (gains.size() < kFewestRuns || depths.size() < kFewestRuns) return not_tested(claim, "fewer than three runs with a judged observation");
  const AcrossRuns gain = across_runs(gains), depth = across_runs(depths);
  Verdict verdict{claim, "", "", gain.mean, "AUROC of confidence within strata, observing less isolated, same questions and outcomes", std::max(gain.p, depth.p), 1, {}};
  if (gain.mean.estimate <= 0 || depth.mean.estimate <= 0) verdict.p = std::max(verdict.p, 0.5);
  verdict.reason = "self-knowledge changes by " + interval_text(gain.mean) + format(", causal depth is %.2f rounds on average (isolated experts have 0 by construction); both are needed", depth.mean.estimate);
  const auto note = [&](const char* pointer, const char* text) {
    const std::vector<double> values = values_at(results, pointer);
    if (values.size() >= kFewestRuns) verdict.notes.push_back(std::string(text) + ": " + interval_text(across_runs(values).mean));
  };
  note("/observation/useful_depth", "useful depth (D2)");
  note("/observation/output_depth", "output depth above its placebo (D1)");
  note("/observation/belief_order", "belief order (D4)");
  note("/observation/accuracy_gain", "accuracy, observing less the same block on own states alone");
  note("/observation/observation_gain", "AUROC of estimates of the others, with their states less with states of another question");
  return verdict;
}

Verdict allocation(const std::vector<Json>& results) {
  const std::string claim = "Usage organises itself into the shares 60/25/15.";
  std::vector<statistics::Share> shares, oracles;
  for (const Json& result : results) {
    const Json::json_pointer path("/allocation/headline/shares");
    if (!result.contains(path)) continue;
    shares.push_back(result.at(path).get<std::vector<double>>());
    oracles.push_back(result["allocation"]["headline"]["oracle"].get<std::vector<double>>());
  }
  if (shares.size() < kFewestRuns) return not_tested(claim, "fewer than three runs with a learned allocation");
  const std::vector<double> target = results[0]["shares"].get<std::vector<double>>();
  const statistics::ShareEquivalence equivalence = statistics::share_equivalence(shares, target, kMargin);
  const statistics::MeanShare mean = statistics::mean_share(shares), oracle = statistics::mean_share(oracles);
  Verdict verdict{claim, "", "", mean.shares[0], "share of the first expert", equivalence.p, 1, {}};
  const auto text_of = [](const std::vector<Interval>& values) {
    std::string text;
    for (const Interval& v : values) text += (text.empty() ? "" : ", ") + format("%.3f (%.3f to %.3f)", v.estimate, v.low, v.high);
    return text;
  };
  const auto centre = [](const std::vector<Interval>& values) {
    std::vector<double> out;
    for (const Interval& v : values) out.push_back(v.estimate);
    return out;
  };
  verdict.reason = "learned shares are " + text_of(mean.shares) + format("; all within +-%.2f of the predicted ones needs three tests to reject (largest p %.3g)", kMargin, equivalence.p);
  verdict.notes.push_back("the oracle's shares at the same price: " + text_of(oracle.shares));
  if (shares.size() > target.size()) {
    const statistics::PointTest point = statistics::hotelling_test(shares, target);
    verdict.notes.push_back(format("Hotelling's T^2 against the predicted point: F %.3g, p %.3g", point.f, point.p));
  }
  verdict.notes.push_back(format("a split drawn at random lies so near with probability %.3f", statistics::chance_within(target, kMargin)));
  const auto distance = [&](const char* name, const std::vector<double>& rival) {
    verdict.notes.push_back(format("distance to %s: %.3f total variation, %.2f Aitchison", name, statistics::total_variation(centre(mean.shares), rival), statistics::aitchison_distance(centre(mean.shares), rival)));
  };
  distance("the predicted shares", target);
  if (target.size() == 3) {
    distance("the golden-ratio split", {0.618034 / 1.0, 0.236068 / 1.0, 0.145898 / 1.0});
    distance("halving", {4.0 / 7, 2.0 / 7, 1.0 / 7});
  }
  distance("uniform", std::vector<double>(target.size(), 1.0 / static_cast<double>(target.size())));
  distance("the oracle", centre(oracle.shares));
  // Learned share on oracle share over prices, mixes and initial biases: 1 follows utility, 0 is an attractor.
  std::map<size_t, std::pair<std::vector<double>, std::vector<double>>> points;
  for (const Json& result : results) {
    if (!result.contains("allocation")) continue;
    for (const Json& one : result["allocation"].value("sweep", Json::array())) {
      const auto learned = one.at("shares").get<std::vector<double>>(), best = one.at("oracle").get<std::vector<double>>();
      for (size_t j = 0; j < learned.size(); ++j) {
        points[j].first.push_back(best[j]);
        points[j].second.push_back(learned[j]);
      }
    }
  }
  for (const auto& [j, xy] : points) {
    const statistics::LineFit line = statistics::fit_line(xy.first, xy.second);
    verdict.notes.push_back(format("share of %s against the oracle's over the sweep of prices, mixes and initial biases: slope %.3f (r^2 %.3f, %zu points that share runs); 1 follows utility, 0 is an attractor",
                                   results[0]["names"][j].get<std::string>().c_str(), line.slope.estimate, line.r_squared, xy.first.size()));
  }
  return verdict;
}

/// Per question of a result: a compact text back to numbers in units of its largest digit.
std::vector<double> decoded(const std::string& text) {
  std::vector<double> values;
  for (const char c : text) values.push_back(c <= '9' ? c - '0' : c - 'a' + 10);
  return values;
}

Verdict complexity(const std::vector<Json>& results) {
  const std::string claim = "Experts disagree more the more complex a question is.";
  std::vector<double> rho_depth, rho_empirical, partial, binary;
  std::vector<double> ceilings;
  double share_disagreeing = 0;
  for (size_t r = 0; r < results.size(); ++r) {
    if (!results[r].contains("disagreement")) continue;
    const Json& d = results[r]["disagreement"];
    const std::string families = d["family"].get<std::string>();
    const std::vector<double> depth = decoded(d["depth"].get<std::string>()), divergence = decoded(d["divergence"].get<std::string>()), votes = decoded(d["vote_entropy"].get<std::string>());
    // Empirical difficulty: errors of the experts of all other runs, never of this one.
    std::vector<double> difficulty(depth.size(), 0.0);
    int64_t n_others = 0;
    for (size_t o = 0; o < results.size(); ++o) {
      if (o == r || !results[o].contains("disagreement") || results[o]["disagreement"]["family"] != d["family"]) continue;
      for (const Json& line : results[o]["disagreement"]["correct"]) {
        const std::string text = line.get<std::string>();
        for (size_t q = 0; q < difficulty.size(); ++q) difficulty[q] += text[q] == '0';
        ++n_others;
      }
    }
    std::vector<std::vector<double>> entropies;
    for (const Json& line : d["entropy"]) entropies.push_back(decoded(line.get<std::string>()));
    std::map<char, std::vector<size_t>> places;
    for (size_t q = 0; q < families.size(); ++q) places[families[q]].push_back(q);
    std::vector<statistics::FamilyCorrelation> by_depth, by_difficulty;
    for (const auto& [family, some] : places) {
      std::vector<double> x, y, z;
      for (const size_t q : some) {
        x.push_back(divergence[q]);
        y.push_back(depth[q]);
        z.push_back(difficulty[q]);
      }
      const auto n = static_cast<int64_t>(some.size());
      by_depth.push_back({statistics::spearman(x, y).rho, n});
      by_difficulty.push_back({statistics::spearman(x, z).rho, n});
    }
    rho_depth.push_back(statistics::pool_correlations(by_depth, statistics::CorrelationKind::kSpearman).r.estimate);
    if (n_others >= 10) {
      rho_empirical.push_back(statistics::pool_correlations(by_difficulty, statistics::CorrelationKind::kSpearman).r.estimate);
      partial.push_back(statistics::partial_spearman(divergence, difficulty, entropies.back()).rho.estimate);
    }
    std::vector<uint8_t> disagree;
    for (const double v : votes) disagree.push_back(v > 0);
    const statistics::PointBiserial point = statistics::point_biserial(depth, disagree);
    binary.push_back(point.r);
    ceilings.push_back(point.within.highest);
    share_disagreeing += static_cast<double>(std::count(disagree.begin(), disagree.end(), uint8_t{1})) / static_cast<double>(disagree.size()) / static_cast<double>(results.size());
  }
  if (rho_depth.size() < kFewestRuns) return not_tested(claim, "fewer than three runs with answers of several experts");
  const AcrossRuns depth = across_runs(rho_depth);
  Verdict verdict{claim, "", "", depth.mean, "Spearman's rho of divergence and depth within families, pooled", depth.p, 1, {}};
  verdict.reason = "disagreement and depth correlate within families by " + interval_text(depth.mean);
  if (!rho_empirical.empty()) verdict.notes.push_back("with the error rate of the experts of all other runs in place of depth: " + interval_text(across_runs(rho_empirical).mean));
  if (!partial.empty()) verdict.notes.push_back("the same over all families once the dearest expert's own entropy is known: " + interval_text(across_runs(partial).mean));
  const AcrossRuns plain = across_runs(binary);
  verdict.notes.push_back(format("the theory's own figure, agreement against depth over all families: r %+.3f, asked for below %.1f; experts disagree on %.1f %% of questions, where no |r| above %.2f can be reached", -plain.mean.estimate,
                                 -kThreshold, 100 * share_disagreeing, *std::max_element(ceilings.begin(), ceilings.end())));
  return verdict;
}

}  // namespace

Predictions decide(const std::vector<Json>& results) {
  Predictions predictions;
  predictions.n_runs = static_cast<int64_t>(results.size());
  predictions.verdicts = {coordination(results), observation(results), allocation(results), complexity(results)};
  std::vector<double> p;
  for (const Verdict& verdict : predictions.verdicts) p.push_back(verdict.p);
  const std::vector<double> adjusted = statistics::holm(p);
  for (size_t k = 0; k < p.size(); ++k) {
    Verdict& verdict = predictions.verdicts[k];
    verdict.p_adjusted = adjusted[k];
    if (!verdict.verdict.empty()) continue;
    const bool right_sign = k == 2 || verdict.endpoint.estimate > 0;
    verdict.verdict = adjusted[k] <= kLevel && right_sign ? "supported" : "not supported";
  }
  return predictions;
}

std::string Predictions::to_markdown() const {
  std::string text = format("%lld runs; level 0.05 over all four by Holm; a claim needs Student's t and the sign-flip test across runs.\n", static_cast<long long>(n_runs));
  for (size_t k = 0; k < verdicts.size(); ++k) {
    const Verdict& v = verdicts[k];
    text += format("\n%zu. %s **%s**: ", k + 1, v.claim.c_str(), v.verdict.c_str()) + v.reason + ".";
    if (v.verdict != "not tested") text += format(" p %.3g, adjusted %.3g.", v.p, v.p_adjusted);
    text += "\n";
    for (const std::string& note : v.notes) text += "   - " + note + "\n";
  }
  return text;
}

Json Predictions::to_json() const {
  Json json = {{"runs", n_runs}, {"predictions", Json::array()}};
  for (const Verdict& v : verdicts) {
    json["predictions"].push_back({{"claim", v.claim}, {"verdict", v.verdict}, {"reason", v.reason}, {"estimate", v.endpoint.estimate}, {"low", v.endpoint.low}, {"high", v.endpoint.high},
                                   {"unit", v.unit}, {"p", v.p}, {"p_adjusted", v.p_adjusted}, {"notes", v.notes}});
  }
  return json;
}

}  // namespace entrain::experts
