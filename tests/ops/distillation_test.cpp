#include "entrain/ops/distillation.h"

#include "gradients.h"

namespace entrain::ops {
namespace {

using namespace testing;

struct Case {
  Tensor hidden = normal({2, 5, 6}), head = normal({11, 6}, 1, 2), teacher_hidden = normal({2, 5, 4}, 1, 3), teacher_head = normal({11, 4}, 1, 4);
  Tensor valid = integers(4, {2, 5}) > 0;

  Tensor loss(const std::vector<Tensor>& in, double temperature) const {
    const auto type = in[0].scalar_type();
    return head_distillation(in[0], in[1], teacher_hidden.to(type), teacher_head.to(type), valid, temperature, 7.5);
  }
};

TEST(HeadDistillation, IsTheDivergenceOfTheTwoDistributions) {
  const Case c;
  for (const double temperature : {0.5, 1.0, 3.0}) {
    const Tensor q = (c.hidden.matmul(c.head.t()) / temperature).to(at::kDouble).softmax(-1), p = (c.teacher_hidden.matmul(c.teacher_head.t()) / temperature).to(at::kDouble).softmax(-1);
    double expected = 0;
    for (int64_t i = 0; i < 2; ++i) {
      for (int64_t j = 0; j < 5; ++j) {
        if (c.valid[i][j].item<bool>()) expected += (p[i][j] * (p[i][j] / q[i][j]).log()).sum().item<double>();
      }
    }
    expected *= temperature * temperature / 7.5;
    EXPECT_NEAR(c.loss({c.hidden, c.head}, temperature).item<double>(), expected, 1e-5 * expected) << "float32 sums of 110 terms";
  }
  EXPECT_FALSE(c.valid.all().item<bool>());
  EXPECT_NEAR(head_distillation(c.hidden, c.head, c.hidden, c.head, c.valid, 2, 1).item<double>(), 0, 1e-6) << "nothing to learn from oneself";
}

TEST(HeadDistillation, GradientsMatchDifferences) {
  const Case c;
  for (const double temperature : {1.0, 2.5}) expect_gradients_match_differences([&](const auto& in) { return c.loss(in, temperature); }, {c.hidden, c.head});
}

TEST(HeadDistillation, FloatMatchesDoubleAcrossChunks) {
  const Tensor teacher = normal({2500, 8}, 1, 3), teacher_head = normal({17, 8}, 1, 4), valid = at::ones({2500}, at::kBool);
  // Mean over 2,500 positions: sums of as many roundings, 6e-8 each, at random.
  const auto f = [&](const auto& in) { return head_distillation(in[0], in[1], teacher.to(in[0].scalar_type()), teacher_head.to(in[0].scalar_type()), valid, 2, 2500); };
  expect_float_matches_double(f, {normal({2500, 8}), normal({17, 8}, 1, 2)}, 5e-6, 1.0 / 2500);
  expect_repeats(f, {normal({2500, 8}), normal({17, 8}, 1, 2)});
}

TEST(HeadDistillation, RejectsWrongArguments) {
  const Case c;
  EXPECT_THROW(head_distillation(c.hidden, normal({11, 5}), c.teacher_hidden, c.teacher_head, c.valid, 1, 1), c10::Error);
  EXPECT_THROW(head_distillation(c.hidden, c.head, c.teacher_hidden, normal({12, 4}), c.valid, 1, 1), c10::Error);
  EXPECT_THROW(head_distillation(c.hidden, c.head, c.teacher_hidden, c.teacher_head, c.valid.narrow(1, 0, 4), 1, 1), c10::Error);
  EXPECT_THROW(c.loss({c.hidden, c.head}, 0), c10::Error);
}

}  // namespace
}  // namespace entrain::ops
