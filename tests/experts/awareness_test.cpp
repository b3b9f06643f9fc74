#include "entrain/experts/awareness.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "entrain/base/error.h"
#include "entrain/experts/judgement.h"
#include "entrain/statistics/auroc.h"
#include "planted.h"

namespace entrain::experts {
namespace {

const bool kOneThread = (at::set_num_threads(1), true);

/// Feature 0 decides the cheap expert, feature 1 the dear one, feature 2 is the depth; the third expert is right at random.
Sheet telling(int64_t n, uint64_t seed) {
  Tensor x = normal_features(n, 5, seed);
  RandomStream random = stream(seed, "test/right");
  Sheet sheet = planted_sheet(x, {1, 10, 3}, [&](int64_t q, size_t j) { return j == 2 ? random.next_uniform() < 0.5 : x[q][static_cast<int64_t>(j)].item<double>() > 0; }, seed);
  for (int64_t q = 0; q < n; ++q) {
    for (Answers& one : sheet.answers) one.before[q][2] = static_cast<float>(sheet.questions[static_cast<size_t>(q)].item.depth);
  }
  for (Answers& one : sheet.answers) one.after = one.before;
  return sheet;
}

double auroc(const Tensor& score, const Tensor& label) { return statistics::auroc(to_doubles(score), to_labels(label)).auroc.estimate; }

TEST(Awareness, ReadsWhatTheStatesTell) {
  const Sheet known = telling(800, 1), fresh = telling(800, 2);
  const Awareness cheap = AwarenessHeads::fit(known, 0).judge(fresh.answers[0].before, fresh.answers[0].after);
  EXPECT_GT(auroc(cheap.before, fresh.correct[0]), 0.98);
  EXPECT_GT(auroc(cheap.after, fresh.correct[0]), 0.98);
  EXPECT_GT(auroc(cheap.urgency, fresh.correct[0]), 0.98);
  EXPECT_GT(auroc(cheap.precision, (1 - fresh.correct[0]) * fresh.correct[1]), 0.9);
  ASSERT_EQ(cheap.defer_to.sizes(), (std::vector<int64_t>{800, 3}));
  EXPECT_GT(auroc(cheap.defer_to.select(1, 0), fresh.correct[0]), 0.98);
  EXPECT_GT(auroc(cheap.defer_to.select(1, 1), fresh.correct[1]), 0.98);
  EXPECT_NEAR(auroc(cheap.defer_to.select(1, 2), fresh.correct[2]), 0.5, 0.09) << "nothing tells: four standard errors";
  const Awareness dear = AwarenessHeads::fit(known, 1).judge(fresh.answers[1].before, fresh.answers[1].after);
  EXPECT_GT(auroc(dear.before, fresh.correct[1]), 0.98) << "of its own answers, not the cheap one's";
  EXPECT_NEAR(auroc(dear.before, fresh.correct[0]), 0.5, 0.09);
  for (const Tensor& value : {cheap.before, cheap.after, cheap.complexity, cheap.urgency, cheap.precision, cheap.defer_to}) {
    EXPECT_TRUE((value >= 0).all().item<bool>() && (value <= 1).all().item<bool>());
  }
  for (int64_t depth = 1; depth <= 3; ++depth) {
    double sum = 0, n = 0;
    for (int64_t q = 0; q < 800; ++q) {
      if (fresh.questions[static_cast<size_t>(q)].item.depth == depth) sum += cheap.complexity[q].item<double>(), ++n;
    }
    EXPECT_NEAR(sum / n, static_cast<double>(depth) / 3, 0.1) << "three shares on one sigmoid: 0.751 for 2/3 is the best it does";
  }
}

TEST(Awareness, FitsOtherStatesAndAnswersThanTheSheets) {
  const Sheet known = telling(400, 3);
  const Tensor states = normal_features(400, 2, 9), right = (states.select(1, 0) > 0).to(at::kDouble);
  const AwarenessHeads heads = AwarenessHeads::fit(known, states, states, right);
  EXPECT_GT(auroc(heads.judge(states, states).before, right), 0.99);
  EXPECT_GT(auroc(heads.judge(states, states).after, right), 0.99);
}

TEST(Awareness, LeavesFailedExpertsOutOfUrgencyAndPrecision) {
  Sheet known = telling(500, 4), fresh = telling(500, 5);
  fail(known, 0);  // then the random one is the cheapest
  const Awareness says = AwarenessHeads::fit(known, 1).judge(fresh.answers[1].before, fresh.answers[1].after);
  EXPECT_GT(auroc(says.before, fresh.correct[1]), 0.98);
  EXPECT_NEAR(says.urgency.mean().item<double>(), 0.5, 0.1);
  EXPECT_LT(says.defer_to.select(1, 0).max().item<double>(), 0.01) << "it never was right";
}

TEST(Awareness, IsWrittenAndReadBack) {
  const Sheet known = telling(100, 6);
  const AwarenessHeads heads = AwarenessHeads::fit(known, 0);
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const std::string& name : {std::string("other."), std::string("mine.")}) {
    for (const auto& [key, tensor] : (name == "mine." ? heads : AwarenessHeads::fit(known, 1)).state(name)) tensors.emplace_back(key, tensor);
  }
  const Tensor x = known.answers[0].before;
  EXPECT_TRUE(at::equal(AwarenessHeads::from(tensors, "mine.").judge(x, x).defer_to, heads.judge(x, x).defer_to));
  EXPECT_THROW(AwarenessHeads::from(tensors, "nobody."), Error);
}

TEST(Awareness, MeasuresConfidenceWithoutTraining) {
  Answers answers;
  answers.probabilities = at::zeros({3, 13});
  answers.probabilities[0][4] = 1;
  answers.probabilities[1].fill_(1.0 / 13);
  answers.probabilities[2][0] = 0.5;
  answers.probabilities[2][1] = 0.3;
  answers.probabilities[2][2] = 0.2;
  const double expected[3][3] = {{1, 1, 0}, {1.0 / 13, 0, -std::log(13.0)}, {0.5, 0.2, 0.5 * std::log(0.5) + 0.3 * std::log(0.3) + 0.2 * std::log(0.2)}};
  for (int64_t q = 0; q < 3; ++q) {
    EXPECT_NEAR(max_probability(answers)[q].item<double>(), expected[q][0], 1e-7);
    EXPECT_NEAR(margin(answers)[q].item<double>(), expected[q][1], 1e-7);
    EXPECT_NEAR(negative_entropy(answers)[q].item<double>(), expected[q][2], 1e-6) << "float32 probabilities";
  }
}

}  // namespace
}  // namespace entrain::experts
