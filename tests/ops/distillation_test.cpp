#include "entrain/ops/distillation.h"

#include "gradients.h"
#include "largest_allocation.h"

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

// Several teachers of different widths.
struct Ensemble {
  Tensor hidden = normal({2, 5, 6}), head = normal({11, 6}, 1, 2), valid = integers(4, {2, 5}) > 0;
  std::vector<Tensor> states{normal({2, 5, 4}, 1, 3), normal({2, 5, 7}, 1, 5), normal({2, 5, 3}, 2, 7)}, heads{normal({11, 4}, 1, 4), normal({11, 7}, 1, 6), normal({11, 3}, 2, 8)};

  Tensor loss(const std::vector<Tensor>& in, double temperature) const {
    std::vector<Tensor> s, h;
    for (const Tensor& x : states) s.push_back(x.to(in[0].scalar_type()));
    for (const Tensor& x : heads) h.push_back(x.to(in[0].scalar_type()));
    return head_distillation(in[0], in[1], s, h, valid, temperature, 7.5);
  }
};

TEST(HeadDistillation, AveragesProbabilitiesOfSeveralTeachers) {
  const Ensemble e;
  for (const double temperature : {0.5, 1.0, 3.0}) {
    const Tensor q = (e.hidden.matmul(e.head.t()) / temperature).to(at::kDouble).softmax(-1);
    Tensor p = at::zeros_like(q);
    for (size_t k = 0; k < 3; ++k) p += (e.states[k].matmul(e.heads[k].t()) / temperature).to(at::kDouble).softmax(-1) / 3;
    const double expected = ((p * (p / q).log()).sum(-1) * e.valid).sum().item<double>() * temperature * temperature / 7.5;
    EXPECT_NEAR(e.loss({e.hidden, e.head}, temperature).item<double>(), expected, 1e-5 * expected) << "float32 sums of 110 terms";
  }
  // One teacher given twice, or as a list of one, is that teacher.
  const Case c;
  const double once = c.loss({c.hidden, c.head}, 2).item<double>();
  const std::vector<Tensor> twice{c.teacher_hidden, c.teacher_hidden}, twice_head{c.teacher_head, c.teacher_head};
  EXPECT_NEAR(head_distillation(c.hidden, c.head, twice, twice_head, c.valid, 2, 7.5).item<double>(), once, 1e-6 * once);
  EXPECT_EQ(head_distillation(c.hidden, c.head, std::vector<Tensor>{c.teacher_hidden}, std::vector<Tensor>{c.teacher_head}, c.valid, 2, 7.5).item<double>(), once);
}

TEST(HeadDistillation, GradientsOfSeveralTeachersMatchDifferences) {
  const Ensemble e;
  for (const double temperature : {1.0, 2.5}) expect_gradients_match_differences([&](const auto& in) { return e.loss(in, temperature); }, {e.hidden, e.head});
  expect_repeats([&](const auto& in) { return e.loss(in, 2); }, {e.hidden, e.head});
}

TEST(HeadDistillation, StoresOneChunkOfLogits) {
  const Tensor hidden = normal({5000, 4}), head = normal({700, 4}, 1, 2), valid = at::ones({5000}, at::kBool);
  const std::vector<Tensor> states{normal({5000, 3}, 1, 3), normal({5000, 5}, 1, 4), normal({5000, 3}, 1, 5)}, heads{normal({700, 3}, 1, 6), normal({700, 5}, 1, 7), normal({700, 3}, 1, 8)};
  const Tensor leaf = hidden.clone().requires_grad_();
  LargestAllocation largest;
  head_distillation(leaf, head, states, heads, valid, 2, 5000).backward();
  EXPECT_LE(largest.bytes(), int64_t{1024} * 700 * 4 + 4096) << "float32 logits of 1,024 rows, and the allocator's alignment";
}

TEST(HeadDistillation, RejectsWrongLists) {
  const Ensemble e;
  EXPECT_THROW(head_distillation(e.hidden, e.head, std::vector<Tensor>{}, std::vector<Tensor>{}, e.valid, 1, 1), c10::Error);
  EXPECT_THROW(head_distillation(e.hidden, e.head, e.states, std::vector<Tensor>{e.heads[0], e.heads[1]}, e.valid, 1, 1), c10::Error);
  EXPECT_THROW(head_distillation(e.hidden, e.head, e.states, std::vector<Tensor>{e.heads[0], e.heads[1], normal({12, 3})}, e.valid, 1, 1), c10::Error);
}

}  // namespace
}  // namespace entrain::ops
