#include "entrain/train/backward.h"

#include "../model/tiny_model.h"
#include "entrain/ops/ops.h"

namespace entrain::train {
namespace {

using model::Transformer;

/// Four rows of five positions with random ids, ignored targets in unequal numbers a row, and one position without any target.
text::Batch make_batch(int64_t bag, int64_t target_bag) {
  const int64_t rows = 4, positions = 5;
  text::Batch batch;
  batch.rows = rows;
  batch.positions = positions;
  batch.bag = bag;
  batch.target_bag = target_bag;
  RandomStream random = stream(1, "backward test");
  for (int64_t i = 0; i < rows * positions * bag; ++i) batch.inputs.push_back(static_cast<int64_t>(random.next_below(100)));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < positions; ++j) {
      batch.segments.push_back(static_cast<int32_t>(j >= row));
      for (int64_t k = 0; k < target_bag; ++k) {
        const bool ignored = (row == 0 && j > 0) || (row == 2 && (j == 3 || k > 0)) || random.next_below(6) == 0;
        batch.targets.push_back(ignored ? text::kIgnore : static_cast<int64_t>(random.next_below(100)));
      }
    }
  }
  return batch;
}

std::vector<Tensor> gradients_of(Transformer& model) {
  std::vector<Tensor> gradients;
  for (const model::Weight& weight : model.parameters().weights()) gradients.push_back(model.parameters().gradient(weight).clone());
  return gradients;
}

/// The loss by its definition: log-softmax of stored logits, weighted mean over a position's valid targets, mean over positions
/// with one.
Tensor naive_loss(const Transformer& model, const text::Batch& batch, const superposition::StepPlan& plan, bool masked) {
  const Tensor inputs = at::tensor(batch.inputs).view({batch.rows, batch.positions * batch.bag});
  const Tensor segments = at::tensor(batch.segments).view({batch.rows, batch.positions});
  const Tensor logp = model.logits(model.hidden(inputs, {.bag = plan.bag, .segments = masked ? segments : Tensor()})).log_softmax(-1);
  Tensor sum = at::zeros({});
  int64_t n = 0;
  for (int64_t row = 0; row < batch.rows; ++row) {
    for (int64_t j = 0; j < batch.positions; ++j) {
      Tensor position = at::zeros({});
      double weight = 0;
      for (int64_t k = 0; k < batch.target_bag; ++k) {
        const int64_t target = batch.targets[static_cast<size_t>((row * batch.positions + j) * batch.target_bag + k)];
        if (target == text::kIgnore) continue;
        const double w = plan.weights.empty() ? 1.0 : plan.weights[static_cast<size_t>(k)];
        position = position - w * logp[row][j][target];
        weight += w;
      }
      if (weight == 0) continue;
      sum = sum + position / weight;
      ++n;
    }
  }
  return sum / static_cast<double>(n);
}

// Loss and gradient equal the definition, and do not depend on the number of micro-batches: relative to a tensor's largest
// gradient, sums of some 20 positions in another order differ by a few roundings of 6e-8, far below 1e-5.
TEST(Backward, IsTheMeanOverTheWholeBatchHoweverItIsCut) {
  for (const char* shape : {"llama", "gpt2", "grouped"}) {
    for (const superposition::StepPlan& plan : std::vector<superposition::StepPlan>{{1, 1, {}}, {3, 3, {}}, {1, 3, {0.6f, 0.3f, 0.1f}}, {3, 1, {}}}) {
      for (const text::Borders borders : {text::Borders::kCross, text::Borders::kMask}) {
        Transformer model(model::tiny_config(shape), 1);
        const text::Batch batch = make_batch(plan.bag, plan.target_bag);
        const Tensor expected = naive_loss(model, batch, plan, borders == text::Borders::kMask);
        model.parameters().clear_gradients();
        expected.backward();
        const std::vector<Tensor> naive = gradients_of(model);
        for (const int64_t micro : {1, 2, 4}) {
          const double loss = backward(model, batch, plan, {.micro_batches = micro, .borders = borders});
          EXPECT_NEAR(loss, expected.item<double>(), 1e-5 * loss) << shape << " bag " << plan.bag << " in " << micro;
          const std::vector<Tensor> gradients = gradients_of(model);
          for (size_t i = 0; i < naive.size(); ++i) {
            const double scale = naive[i].abs().max().item<double>();
            EXPECT_GT(scale, 0);
            EXPECT_LT((gradients[i] - naive[i]).abs().max().item<double>(), 1e-5 * scale)
                << shape << " bag " << plan.bag << " targets " << plan.target_bag << " in " << micro << ": " << model.parameters().weights()[i].name;
          }
        }
      }
    }
  }
}

TEST(Backward, StartsFromNoGradient) {
  Transformer model(model::tiny_config("llama"), 1);
  const text::Batch batch = make_batch(1, 1);
  backward(model, batch, {}, {});
  const std::vector<Tensor> once = gradients_of(model);
  backward(model, batch, {}, {});
  const std::vector<Tensor> twice = gradients_of(model);
  for (size_t i = 0; i < once.size(); ++i) EXPECT_TRUE(at::equal(once[i], twice[i]));
}

TEST(Backward, DropoutFollowsSeedAndStep) {
  model::Config config = model::tiny_config("llama");
  config.dropout = 0.2;
  Transformer model(config, 1);
  const text::Batch batch = make_batch(1, 1);
  const auto loss = [&](uint64_t seed, int64_t step) { return backward(model, batch, {}, {.micro_batches = 2, .seed = seed, .step = step}); };
  EXPECT_EQ(loss(1, 1), loss(1, 1));
  EXPECT_NE(loss(1, 1), loss(1, 2));
  EXPECT_NE(loss(1, 1), loss(2, 1));
}

}  // namespace
}  // namespace entrain::train
