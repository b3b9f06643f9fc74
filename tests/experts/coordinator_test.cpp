#include "entrain/experts/coordinator.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "entrain/base/error.h"
#include "entrain/experts/judgement.h"
#include "planted.h"

namespace entrain::experts {
namespace {

const bool kOneThread = (at::set_num_threads(1), true);

/// Expert 0 (cost 1) is right where the first feature is positive, expert 1 (cost 4) where it is not, expert 2 (cost 10) where the second is.
Sheet specialists(int64_t n, uint64_t seed) {
  const Tensor x = normal_features(n, 4, seed);
  return planted_sheet(x, {1, 4, 10}, [&](int64_t q, size_t j) { return j == 2 ? x[q][1].item<double>() > 0 : (x[q][0].item<double>() > 0) == (j == 0); }, seed);
}

/// Experts right with probabilities .4, .6, .8 whatever is known; answers cost different sums.
Sheet noisy(int64_t n, uint64_t seed) {
  RandomStream random = stream(seed, "test/right");
  Sheet sheet = planted_sheet(normal_features(n, 3, seed), {2, 5, 9}, [&](int64_t, size_t j) { return random.next_uniform() < 0.4 + 0.2 * static_cast<double>(j); }, seed);
  vary_costs(sheet, seed);
  for (int64_t& length : sheet.lengths) length = 5 + static_cast<int64_t>(random.next_below(40));
  for (Answers& one : sheet.answers) one.probabilities = normal_features(n, 13, random.next_u64()).softmax(1).to(at::kFloat);
  return sheet;
}

double unit(const Sheet& sheet) { return sheet.cost.mean(1).max().item<double>(); }

TEST(Coordinator, FindsWhoIsRight) {
  const Sheet known = specialists(600, 1), fresh = specialists(600, 2);
  const Routing routed = Coordinator::fit(known).route(fresh, 0.01);
  EXPECT_GT(routed.accuracy(), 0.97);
  for (int64_t j = 0; j < 3; ++j) EXPECT_LT(always(fresh, j).accuracy(), 0.6);
  int64_t sure = 0, agree = 0;
  for (int64_t q = 0; q < 600; ++q) {
    if (std::abs(fresh.answers[0].before[q][0].item<double>()) < 0.3) continue;  // near the border any choice may be the best
    ++sure;
    agree += fresh.correct[routed.chosen[static_cast<size_t>(q)]][q].item<double>() == 1;
  }
  EXPECT_EQ(agree, sure);
  const Routing nearest = route_by(fresh, nearest_neighbour_correctness(known, fresh, 15), 0.01, true);
  EXPECT_GT(nearest.accuracy(), 0.85);
}

TEST(Coordinator, TakesTheCheapestWhereAnswersAreDear) {
  RandomStream random = stream(3, "test");
  const Tensor x = normal_features(500, 3, 3);
  const Sheet sheet = planted_sheet(x, {1, 4, 10}, [&](int64_t q, size_t j) { return random.next_uniform() < 1 / (1 + std::exp(-x[q][0].item<double>())) * (0.5 + 0.25 * static_cast<double>(j)); });
  const Coordinator coordinator = Coordinator::fit(sheet);
  double last_cost = 2;
  for (const double lambda : lambda_ladder()) {
    const Routing routing = route_by(sheet, coordinator.predict(router_features(sheet)), lambda, false);
    EXPECT_LE(routing.mean_cost(), last_cost + 1e-12) << lambda;
    last_cost = routing.mean_cost();
  }
  EXPECT_GT(coordinator.route(sheet, 0).shares(3)[2], 0.9);
  const Routing frugal = coordinator.route(sheet, 5);
  EXPECT_EQ(frugal.shares(3), (std::vector<double>{1 + (frugal.shares(3)[0] - 1), 0, 0}));
  EXPECT_NEAR(frugal.shares(3)[0], 1, 1e-12);
  EXPECT_NEAR(frugal.mean_cost(), 0.1, 1e-12);
}

TEST(Coordinator, ChargesTheReadingOfTheCheapest) {
  Sheet sheet = planted_sheet(at::zeros({3, 1}), {2, 8}, [](int64_t, size_t) { return true; });
  sheet.lengths = {10, 30, 6};
  const Tensor p = at::tensor(std::vector<double>{0, 1, 0, 1, 1, 0}, at::kDouble).view({3, 2});
  const Routing charged = route_by(sheet, p, 0, true), free = route_by(sheet, p, 0, false);
  EXPECT_EQ(charged.chosen, (std::vector<int64_t>{1, 1, 0}));
  const std::vector<double> expected{1 + 0.25 * 10 / 12, 1 + 0.25 * 30 / 32, 0.25};  // the answer's own two tokens are not read
  for (int64_t q = 0; q < 3; ++q) {
    EXPECT_NEAR(charged.cost[q].item<double>(), expected[static_cast<size_t>(q)], 1e-12);
    EXPECT_NEAR(free.cost[q].item<double>(), q < 2 ? 1 : 0.25, 1e-12);
  }
  EXPECT_TRUE(at::equal(charged.answer, sheet.truth));
}

TEST(Coordinator, KeepsToACost) {
  const Tensor p = at::sigmoid(normal_features(400, 3, 5));
  const Sheet sheet = planted_sheet(normal_features(400, 3, 4), {1, 4, 10}, [&](int64_t q, size_t j) { return p[q][static_cast<int64_t>(j)].item<double>() > 0.5; });
  for (const bool reading : {false, true}) {
    for (const double cost : {0.11, 0.2, 0.35, 0.5, 0.8, 2.0}) {
      const double lambda = lambda_for_cost(sheet, p, reading, cost);
      ASSERT_GE(lambda, 0);
      EXPECT_LE(route_by(sheet, p, lambda, reading).mean_cost(), cost) << reading << " " << cost;
      EXPECT_EQ(lambda == 0, route_by(sheet, p, 0, reading).mean_cost() <= cost) << "no price where none is needed";
      EXPECT_TRUE(lambda == 0 || reading || route_by(sheet, p, lambda * (1 - 1e-6), reading).mean_cost() > cost) << "the least price that does it";
    }
  }
}

TEST(FixedRule, IsTheBestOfAllThresholdsAndTables) {
  int64_t by_length = 0, by_family = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Sheet sheet = noisy(14, seed);  // few enough that every length is a candidate
    RandomStream random = stream(seed, "test/families");
    for (Question& question : sheet.questions) question.item.family = std::string(1, static_cast<char>('a' + random.next_below(3)));
    for (const double lambda : {0.0, 0.1, 0.7}) {
      double best = -1e9;
      std::vector<int64_t> cuts = sheet.lengths;
      cuts.push_back(0);
      const auto utility = [&](const std::function<int64_t(size_t)>& who) {
        double total = 0;
        for (size_t q = 0; q < 14; ++q) total += sheet.correct[who(q)][static_cast<int64_t>(q)].item<double>() - lambda * sheet.cost[who(q)][static_cast<int64_t>(q)].item<double>() / unit(sheet);
        best = std::max(best, total / 14);
      };
      const std::vector<int64_t> order = by_cost(sheet);
      for (const int64_t low : cuts) {
        for (const int64_t high : cuts) {
          if (low <= high) utility([&](size_t q) { return sheet.lengths[q] <= low ? order[0] : sheet.lengths[q] <= high ? order[1] : order[2]; });
        }
      }
      for (int64_t table = 0; table < 27; ++table) {
        utility([&](size_t q) { return table / std::vector<int64_t>{1, 3, 9}[static_cast<size_t>(sheet.questions[q].item.family[0] - 'a')] % 3; });
      }
      const FixedRule rule = FixedRule::tune(sheet, lambda);
      EXPECT_NEAR(rule.route(sheet).utility(lambda), best, 1e-12) << seed << " " << lambda;
      (rule.describe(sheet).starts_with("by family") ? by_family : by_length)++;
    }
  }
  EXPECT_GT(by_length, 10);
  EXPECT_GT(by_family, 10);
}

TEST(FixedRule, KnowsFamiliesItHasNotSeenByLength) {
  const Tensor x = normal_features(40, 1, 1);
  Sheet sheet = planted_sheet(x, {1, 10}, [](int64_t q, size_t j) { return (q % 2 == 0) == (j == 0); });  // family a is the cheap one's
  const FixedRule rule = FixedRule::tune(sheet, 0.01);
  EXPECT_EQ(rule.describe(sheet), "by family: a: expert 0, b: expert 1");
  sheet.questions[0].item.family = "unseen";
  const Routing routed = rule.route(sheet);
  EXPECT_TRUE(routed.chosen[0] == 0 || routed.chosen[0] == 1);
  EXPECT_EQ(std::vector<int64_t>(routed.chosen.begin() + 1, routed.chosen.begin() + 4), (std::vector<int64_t>{1, 0, 1}));
}

TEST(Cascade, PaysForAllThatRan) {
  const Sheet sheet = noisy(60, 7);
  const std::vector<int64_t> order = by_cost(sheet);
  const std::vector<double> thresholds{2.1, 2.3};
  const Routing got = Cascade(thresholds).route(sheet);
  std::vector<int64_t> n_ran(4, 0);
  for (int64_t q = 0; q < sheet.n(); ++q) {
    double cost = 0;
    size_t k = 0;
    for (;; ++k) {
      cost += sheet.cost[order[k]][q].item<double>() / unit(sheet);
      if (k == 2) break;
      double entropy = 0;
      for (int64_t a = 0; a < 13; ++a) {
        const double p = sheet.answers[static_cast<size_t>(order[k])].probabilities[q][a].item<double>();
        entropy -= p * std::log(p);
      }
      if (entropy <= thresholds[k]) break;
    }
    ++n_ran[k];
    EXPECT_EQ(got.chosen[static_cast<size_t>(q)], order[k]);
    EXPECT_NEAR(got.cost[q].item<double>(), cost, 1e-12);
    EXPECT_EQ(got.correct[q].item<double>(), sheet.correct[order[k]][q].item<double>());
  }
  EXPECT_TRUE(n_ran[0] > 5 && n_ran[1] > 5 && n_ran[2] > 5) << "the thresholds tell questions apart";
}

TEST(Cascade, StopsWhereTheCheapOneIsSure) {
  const Tensor x = normal_features(300, 1, 8);
  Sheet sheet = planted_sheet(x, {1, 10}, [&](int64_t q, size_t j) { return j == 1 || x[q][0].item<double>() > 0; });
  for (int64_t q = 0; q < 300; ++q) {
    if (x[q][0].item<double>() <= 0) sheet.answers[0].probabilities[q].fill_(1.0 / 13);  // wrong, and knows it
  }
  const Routing routed = Cascade::tune(sheet, 0.3).route(sheet);
  EXPECT_EQ(routed.accuracy(), 1.0);
  EXPECT_NEAR(routed.mean_cost(), 0.1 + sheet.correct[0].eq(0).to(at::kDouble).mean().item<double>(), 1e-12);
}

TEST(Oracle, IsAnUpperBoundOfEverySelection) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Sheet known = noisy(200, seed), sheet = noisy(200, seed + 100);
    const Coordinator coordinator = Coordinator::fit(known);
    for (const double lambda : lambda_ladder()) {
      const double bound = oracle(sheet, lambda).utility(lambda) + 1e-9;
      EXPECT_LE(coordinator.route(sheet, lambda).utility(lambda), bound);
      EXPECT_LE(route_by(sheet, sheet.correct.t(), lambda, false).utility(lambda), bound) << "who knows what is right but not what this answer costs";
      EXPECT_LE(route_by(sheet, nearest_neighbour_correctness(known, sheet, 5), lambda, false).utility(lambda), bound);
      EXPECT_LE(FixedRule::tune(sheet, lambda).route(sheet).utility(lambda), bound);
      EXPECT_LE(Cascade::tune(sheet, lambda).route(sheet).utility(lambda), bound);
      EXPECT_LE(at_random(sheet, seed).utility(lambda), bound);
      for (int64_t j = 0; j < 3; ++j) EXPECT_LE(always(sheet, j).utility(lambda), bound);
    }
  }
}

TEST(Oracle, TakesTheCheaperOfTwoThatAreRight) {
  const Sheet sheet = planted_sheet(at::zeros({4, 1}), {8, 2, 4}, [](int64_t q, size_t j) { return q == 0 || (q == 1 && j != 1) || (q == 2 && j == 0); });
  for (const double lambda : {0.0, 0.1}) EXPECT_EQ(oracle(sheet, lambda).chosen, (std::vector<int64_t>{1, 2, 0, 1})) << "where nobody is right, the cheapest";
  EXPECT_EQ(oracle(sheet, 2).chosen, (std::vector<int64_t>{1, 2, 1, 1})) << "a right answer is worth 1, this one costs 1.5 more than a wrong one";
}

TEST(NearestNeighbours, AveragesTheMostAlike) {
  const Sheet known = noisy(60, 11), sheet = noisy(20, 12);
  const Tensor got = nearest_neighbour_correctness(known, sheet, 7);
  const Tensor a = sheet.answers[static_cast<size_t>(sheet.cheapest())].before.to(at::kDouble), b = known.answers[static_cast<size_t>(known.cheapest())].before.to(at::kDouble);
  for (int64_t q = 0; q < 20; ++q) {
    std::vector<std::pair<double, int64_t>> alike;
    for (int64_t k = 0; k < 60; ++k) alike.emplace_back(-(at::dot(a[q], b[k]) / a[q].norm() / b[k].norm()).item<double>(), k);
    std::sort(alike.begin(), alike.end());
    for (int64_t j = 0; j < 3; ++j) {
      double mean = 0;
      for (size_t k = 0; k < 7; ++k) mean += known.correct[j][alike[k].second].item<double>() / 7;
      EXPECT_NEAR(got[q][j].item<double>(), mean, 1e-9);
    }
  }
  EXPECT_TRUE(at::allclose(nearest_neighbour_correctness(known, sheet, 1000)[3], known.correct.mean(1))) << "more neighbours than there are";
}

TEST(Vote, FollowsTheMostAndThenTheSurer) {
  Sheet sheet = planted_sheet(at::zeros({2, 1}), {1, 2, 3}, [](int64_t q, size_t j) { return q == 0 && j < 2; });
  Routing voted = majority_vote(sheet);
  EXPECT_EQ(voted.correct[0].item<double>(), 1);
  EXPECT_NEAR(voted.mean_cost(), 2, 1e-12) << "all run: 6 of the dearest's 3";
  EXPECT_EQ(voted.chosen, (std::vector<int64_t>{-1, -1}));
  EXPECT_EQ(voted.shares(3), (std::vector<double>{0, 0, 0}));
  // Three different answers on the second question: the surest wins.
  sheet.answers[1].probabilities[1].mul_(0.1);
  sheet.answers[1].probabilities[1][sheet.answers[1].choice[1].item<int64_t>()] = 0.95;
  EXPECT_EQ(majority_vote(sheet).answer[1].item<int64_t>(), sheet.answers[1].choice[1].item<int64_t>());
}

TEST(Blend, WeighsTheDistributions) {
  const Sheet sheet = noisy(50, 13);
  const std::vector<double> weights{0.6, 0.25, 0.15};
  const Routing got = blend(sheet, weights);
  for (int64_t q = 0; q < 50; ++q) {
    std::vector<double> mixture(13, 0.0);
    for (size_t j = 0; j < 3; ++j) {
      for (int64_t a = 0; a < 13; ++a) mixture[static_cast<size_t>(a)] += weights[j] * sheet.answers[j].probabilities[q][a].item<double>();
    }
    EXPECT_EQ(got.answer[q].item<int64_t>(), std::max_element(mixture.begin(), mixture.end()) - mixture.begin());
  }
  EXPECT_NEAR(got.mean_cost(), sheet.cost.mean(1).sum().item<double>() / unit(sheet), 1e-12);
  EXPECT_TRUE(at::equal(blend(sheet, {60, 25, 15}).answer, got.answer)) << "only ratios matter";
  const Routing alone = blend(sheet, {0, 1, 0});
  EXPECT_TRUE(at::equal(alone.answer, sheet.answers[1].probabilities.argmax(1)));
  EXPECT_NEAR(alone.mean_cost(), always(sheet, 1).mean_cost(), 1e-12) << "who has no weight is not asked";
  EXPECT_ANY_THROW(blend(sheet, {1, 0}));
}

// Truths drawn from the experts' own distributions, by an expert drawn with the planted weights.
TEST(Blend, LearnsThePlantedWeights) {
  Sheet sheet = noisy(4000, 14);
  for (Answers& one : sheet.answers) one.probabilities = (one.probabilities.log() * 3).softmax(1);
  RandomStream random = stream(15, "test");
  for (int64_t q = 0; q < 4000; ++q) {
    const double u = random.next_uniform();
    double left = random.next_uniform();
    int64_t answer = 0;
    const Tensor row = sheet.answers[u < 0.6 ? 0 : u < 0.9 ? 1 : 2].probabilities[q];
    for (; answer < 12 && left > row[answer].item<double>(); ++answer) left -= row[answer].item<double>();
    sheet.truth[q] = answer;
  }
  const std::vector<double> weights = learn_blend(sheet);
  EXPECT_NEAR(weights[0], 0.6, 0.05);
  EXPECT_NEAR(weights[1], 0.3, 0.05);
  EXPECT_NEAR(weights[2], 0.1, 0.05) << "4000 questions: a standard error of about 0.012";
  EXPECT_NEAR(weights[0] + weights[1] + weights[2], 1, 1e-9);
}

TEST(SelfEnsemble, AveragesBothSurfacesAtTheirCost) {
  const Sheet sheet = noisy(30, 16), other = noisy(30, 17);
  const Routing got = self_ensemble(sheet, other, 2);
  EXPECT_TRUE(at::equal(got.answer, (sheet.answers[2].probabilities + other.answers[2].probabilities).argmax(1)));
  EXPECT_NEAR(got.mean_cost(), (sheet.cost[2].mean() + other.cost[2].mean()).item<double>() / unit(sheet), 1e-12);
}

// The expert that fails is the first, would be free, and the fixed weights are all on it.
TEST(Failures, AreNeverChosen) {
  Sheet known = noisy(100, 18), sheet = noisy(100, 19), other = noisy(100, 20);
  for (Sheet* one : {&known, &sheet, &other}) fail(*one, 0);
  EXPECT_EQ(sheet.cheapest(), 1);
  EXPECT_EQ(sheet.dearest(), 2);
  EXPECT_EQ(by_cost(sheet), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(sheet.failures().size(), 1U);
  for (const double lambda : {0.0, 0.1, 10.0}) {
    const std::vector<Routing> all{Coordinator::fit(known).route(sheet, lambda), route_by(sheet, nearest_neighbour_correctness(known, sheet, 5), lambda, true), route_by(sheet, at::ones({100, 3}), lambda, true),
                                   FixedRule::tune(known, lambda).route(sheet), Cascade::tune(known, lambda).route(sheet), oracle(sheet, lambda), at_random(sheet, 1)};
    for (const Routing& routing : all) {
      for (const int64_t j : routing.chosen) ASSERT_NE(j, 0);
      EXPECT_TRUE(at::isfinite(routing.cost).all().item<bool>());
    }
  }
  const double both = (sheet.cost[1].mean() + sheet.cost[2].mean()).item<double>() / unit(sheet);
  EXPECT_NEAR(majority_vote(sheet).mean_cost(), both, 1e-12);
  EXPECT_TRUE(at::equal(blend(sheet, {0.6, 0.25, 0.15}).answer, blend(sheet, {0, 0.625, 0.375}).answer));
  const Routing rest = blend(sheet, {1, 0, 0});
  EXPECT_TRUE(at::equal(rest.answer, blend(sheet, {0, 1, 1}).answer)) << "no weight is left: the others count alike";
  EXPECT_NEAR(rest.mean_cost(), both, 1e-12);
  const std::vector<double> learned = learn_blend(known);
  EXPECT_EQ(learned[0], 0);
  EXPECT_NEAR(learned[1] + learned[2], 1, 1e-9);
}

TEST(Failures, LeaveOneExpertAlone) {
  Sheet sheet = noisy(40, 21);
  fail(sheet, 0);
  fail(sheet, 2);
  for (const Routing& routing : {Coordinator::fit(sheet).route(sheet, 0.1), FixedRule::tune(sheet, 0.1).route(sheet), Cascade::tune(sheet, 0.1).route(sheet), oracle(sheet, 0.1), at_random(sheet, 1)}) {
    EXPECT_EQ(routing.chosen, std::vector<int64_t>(40, 1));
  }
  EXPECT_NEAR(majority_vote(sheet).mean_cost(), 1, 1e-12);
}

TEST(Coordinator, IsWrittenAndReadBack) {
  const Sheet sheet = specialists(60, 22);
  const Coordinator coordinator = Coordinator::fit(sheet);
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [name, tensor] : coordinator.state()) tensors.emplace_back(name, tensor);
  EXPECT_TRUE(at::equal(Coordinator::from(tensors).predict(router_features(sheet)), coordinator.predict(router_features(sheet))));
  tensors.pop_back();
  EXPECT_THROW(Coordinator::from(tensors), Error);
}

TEST(Random, AsksAllAlike) {
  const Sheet sheet = noisy(3000, 23);
  const Routing routing = at_random(sheet, 1);
  for (const double share : routing.shares(3)) EXPECT_NEAR(share, 1.0 / 3, 0.035) << "four standard errors";
  EXPECT_EQ(at_random(sheet, 1).chosen, routing.chosen);
  EXPECT_NE(at_random(sheet, 2).chosen, routing.chosen);
}

}  // namespace
}  // namespace entrain::experts
