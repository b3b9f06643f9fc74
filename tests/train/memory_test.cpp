// Memory in training: gradients, clipping, row-wise Adagrad, checkpoints.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "../model/tiny_model.h"
#include "entrain/base/error.h"
#include "entrain/train/backward.h"
#include "entrain/train/guard.h"
#include "tiny_run.h"

namespace entrain::train {
namespace {

using model::RowTable;
using model::Transformer;

/// C = 32, L = 2, two tables of 23 rows, so that every row collects several grams.
Transformer make_model(double lr = 0.1) {
  model::Config config = model::tiny_config("llama");
  config.memory = {.rows = 23, .blocks = {0, 1}, .gate = true, .lr = lr};
  config.resolve();
  return Transformer(config, 1);
}

text::Batch make_batch(uint64_t seed, int64_t bag = 1) {
  text::Batch batch{.rows = 4, .positions = 6, .bag = bag, .target_bag = bag, .inputs = {}, .targets = {}, .segments = std::vector<int32_t>(24, 0)};
  RandomStream random = stream(seed, "memory test");
  for (int64_t i = 0; i < 24 * bag; ++i) {
    batch.inputs.push_back(static_cast<int64_t>(random.next_below(100)));
    batch.targets.push_back(static_cast<int64_t>(random.next_below(100)));
  }
  return batch;
}

Tensor dense_gradient(const Transformer& model, const RowTable& table) {
  const auto gradient = model.parameters().gradient(table);
  return at::zeros(table.value.sizes()).index_copy(0, gradient->indices, gradient->values);
}

// The same sum however it is cut, up to rounding: sums of some 24 positions in another order, far below 1e-5 of the largest.
TEST(MemoryTraining, MicroBatchesAddUp) {
  for (const int64_t bag : {1, 3}) {
    Transformer model = make_model();
    const text::Batch batch = make_batch(1, bag);
    std::vector<Tensor> whole;
    for (const int64_t micro : {1, 2, 4}) {
      backward(model, batch, {bag, bag, {}}, {.micro_batches = micro});
      for (size_t i = 0; i < model.parameters().tables().size(); ++i) {
        const RowTable& table = model.parameters().tables()[i];
        const auto gradient = model.parameters().gradient(table);
        const Tensor rows = gradient->indices;
        EXPECT_TRUE((rows.narrow(0, 1, rows.size(0) - 1) > rows.narrow(0, 0, rows.size(0) - 1)).all().item<bool>()) << "each row once, ascending";
        const Tensor dense = dense_gradient(model, table);
        if (micro == 1) whole.push_back(dense);
        EXPECT_LT((dense - whole[i]).abs().max().item<double>(), 1e-5 * whole[i].abs().max().item<double>()) << micro;
      }
    }
  }
}

TEST(MemoryTraining, TheNormAndItsLimitCoverTheRows) {
  Transformer model = make_model();
  const text::Batch batch = make_batch(1);
  backward(model, batch, {}, {.micro_batches = 2});
  double squares = 0, of_rows = 0;
  for (const Tensor& stored : model.parameters().stored()) squares += stored.grad().defined() ? stored.grad().square().sum(at::kDouble).item<double>() : 0;
  std::vector<Tensor> before;
  for (const RowTable& table : model.parameters().tables()) {
    before.push_back(dense_gradient(model, table));
    of_rows += before.back().square().sum(at::kDouble).item<double>();
  }
  EXPECT_GT(of_rows, 1e-3 * squares) << "the rows weigh enough to be noticed";
  const double norm = std::sqrt(squares + of_rows);
  EXPECT_NEAR(guard_and_clip(model.parameters(), 1.0, norm / 4, 1, 0, batch), norm, 1e-5 * norm);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::allclose(dense_gradient(model, model.parameters().tables()[i]), before[i] / 4, 1e-4, 1e-9));
}

TEST(MemoryTraining, TheGuardNamesATableWhoseGradientIsNotFinite) {
  Transformer model = make_model();
  const text::Batch batch = make_batch(1);
  for (const RowTable& table : model.parameters().tables()) {
    backward(model, batch, {}, {});
    model.parameters().gradient(table)->values[0][0].fill_(NAN);
    try {
      guard_and_clip(model.parameters(), 1.0, 1.0, 1, 0, batch);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNumeric);
      EXPECT_NE(std::string(error.what()).find("the gradient of " + table.name + " "), std::string::npos) << error.what();
    }
  }
}

// Dense Adagrad in float64 on the same gradients, clipping included. Rows stay below 4: each of 8 steps rounds to 2.4e-7.
TEST(MemoryTraining, SparseStepsAreThoseOfDenseAdagrad) {
  for (const char* name : {"adamw", "muon"}) {
    Transformer model = make_model();
    OptimizerConfig config;
    config.name = name;
    const auto optimizer = make_optimizer(config, model.parameters());
    std::vector<Tensor> rows(2, at::zeros({23, 32}, at::kDouble)), sums(2, at::zeros({23}, at::kDouble));
    for (int64_t step = 1; step <= 8; ++step) {
      const text::Batch batch = make_batch(static_cast<uint64_t>(step));
      const double loss = backward(model, batch, {}, {.micro_batches = 2}), multiplier = 1.0 / static_cast<double>(step);
      guard_and_clip(model.parameters(), loss, 0.5, step, 0, batch);
      for (size_t i = 0; i < 2; ++i) {
        const Tensor g = dense_gradient(model, model.parameters().tables()[i]).to(at::kDouble);
        sums[i] = sums[i] + g.square().mean(1);
        rows[i] = rows[i] - 0.1 * multiplier * g / (sums[i].sqrt() + 1e-10).unsqueeze(1);
      }
      optimizer->step(step, multiplier);
    }
    for (size_t i = 0; i < 2; ++i) {
      const Tensor table = model.parameters().tables()[i].value;
      EXPECT_GT(table.abs().max().item<double>(), 0.1);
      EXPECT_LT((table - rows[i]).abs().max().item<double>(), 5e-6) << name;
      const model::NamedTensors state = optimizer->state();
      const auto found = std::find_if(state.begin(), state.end(), [&](const auto& entry) { return entry.first == model.parameters().tables()[i].name + ".sum"; });
      ASSERT_NE(found, state.end());
      EXPECT_LT((found->second - sums[i]).abs().max().item<double>(), 1e-5 * sums[i].max().item<double>());
    }
  }
}

TEST(MemoryTraining, ScalesAndGatesDoNotDecay) {
  Transformer model = make_model();
  OptimizerConfig config;
  config.weight_decay = config.embedding_weight_decay = 5;
  const auto optimizer = make_optimizer(config, model.parameters());
  for (const Tensor& stored : model.parameters().stored()) stored.mutable_grad() = at::zeros_like(stored);
  optimizer->step(1, 1.0);
  for (const model::Weight& weight : model.parameters().weights()) {
    EXPECT_TRUE(!weight.name.starts_with("memory.") || at::equal(weight.value, at::ones_like(weight.value))) << weight.name;
  }
  for (const RowTable& table : model.parameters().tables()) EXPECT_EQ(table.value.abs().max().item<double>(), 0) << "no gradient, no update";
}

struct Bench {
  text::TemporaryFolder folder;
  Bench() { make_data(folder / "data", 6); }
  fs::path run(const std::string& name) const { return folder / name; }
  RunResult train(const std::string& name, const std::vector<std::string>& settings, Start start = Start::kFresh, int64_t stop_after = -1, Recorder* recorder = nullptr) const {
    Recorder own;
    Recorder& watcher = recorder == nullptr ? own : *recorder;
    watcher.stop_after = stop_after;
    return Trainer(tiny_recipe(folder / "data", settings), run(name), start, watcher).run();
  }
};

const std::vector<std::string> kMemory{"memory.rows=500", "memory.blocks=[0, 1]", "memory.gate=true", "memory.heads=2", "optimizer.name=muon", "model.dropout=0.1", "train.micro_batches=2",
                                       "data.borders=mask", "superposition.mode=full", "superposition.bag=3", "superposition.ratio=0.5", "evaluation.prompt=the ship"};

// N steps equal k steps, a stop and N - k steps by another trainer, to the last bit of rows and their state.
TEST(MemoryTraining, AStopAndAResumeLeaveNoTrace) {
  const Bench bench;
  Recorder recorder;
  bench.train("whole", kMemory, Start::kFresh, -1, &recorder);
  EXPECT_EQ(recorder.start.n_memory_parameters, 4 * 500 * 16);
  const RunContents expected(bench.run("whole"));
  EXPECT_GT(expected.memory.size(), 4u * 500 * 16 * 4);
  for (const int64_t k : {1, 6, 11}) {
    const std::string name = "stopped-" + std::to_string(k);
    bench.train(name, kMemory, Start::kFresh, k);
    EXPECT_TRUE(bench.train(name, kMemory, Start::kResume).finished);
    expect_equal(RunContents(bench.run(name)), expected, name);
  }
  bool moved = false;
  for (const auto& [name, tensor] : model::read_safetensors(CheckpointStore(bench.run("whole") / "checkpoints", 1).newest().value() / "memory.safetensors")) {
    moved |= name.ends_with(".rows") && tensor.abs().max().item<double>() > 0;
  }
  EXPECT_TRUE(moved);
}

TEST(MemoryTraining, RunsRepeatOnSeveralThreads) {
  const Bench bench;
  std::vector<std::string> settings = kMemory;
  settings.insert(settings.end(), {"train.threads=2", "train.rows=16", "budget.steps=6"});
  bench.train("a", settings);
  bench.train("b", settings);
  expect_equal(RunContents(bench.run("a")), RunContents(bench.run("b")), "again");
  at::set_num_threads(1);  // as the other tests of this process expect
}

// With no rows the other keys change nothing; and a rate of 0 leaves the plain model's losses, to the bit in its first step.
TEST(MemoryTraining, SwitchedOffItLeavesNoTrace) {
  const Bench bench;
  Recorder plain, still;
  bench.train("plain", {}, Start::kFresh, -1, &plain);
  bench.train("off", {"memory.rows=0", "memory.gate=true", "memory.heads=3", "memory.lr=1"});
  expect_equal(RunContents(bench.run("off")), RunContents(bench.run("plain")), "off");
  bench.train("still", {"memory.rows=100", "memory.lr=0", "train.clip=0"}, Start::kFresh, -1, &still);
  EXPECT_EQ(still.steps[0].loss, plain.steps[0].loss);
  EXPECT_GT(still.steps[0].gradient_norm, plain.steps[0].gradient_norm);
}

TEST(MemoryTraining, ItRemembers) {
  const Bench bench;
  const std::vector<std::string> common{"budget.steps=60", "evaluation.every=0", "schedule.name=constant"};
  Recorder plain, remembering;
  bench.train("plain", common, Start::kFresh, -1, &plain);
  std::vector<std::string> settings = common;
  settings.insert(settings.end(), {"memory.rows=5000"});
  bench.train("memory", settings, Start::kFresh, -1, &remembering);
  EXPECT_LT(remembering.steps.back().loss, plain.steps.back().loss - 0.3) << "a few thousand tokens read many times";
}

}  // namespace
}  // namespace entrain::train
