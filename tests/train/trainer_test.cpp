#include "entrain/train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <fstream>
#include <functional>

#include "../base/full_disk.h"
#include "entrain/base/error.h"
#include "tiny_run.h"

namespace entrain::train {
namespace {

using text::TemporaryFolder;

/// A data folder, runs beside it.
struct Bench {
  TemporaryFolder folder;
  explicit Bench(int n_documents = 16) { make_data(folder / "data", n_documents); }
  Recipe recipe(const std::vector<std::string>& settings = {}) const { return tiny_recipe(folder / "data", settings); }
  fs::path run(const std::string& name) const { return folder / name; }

  RunResult train(const std::string& name, const Recipe& recipe, Start start = Start::kFresh, int64_t stop_after = -1, Recorder* recorder = nullptr) const {
    Recorder own;
    Recorder& watcher = recorder == nullptr ? own : *recorder;
    watcher.stop_after = stop_after;
    Trainer trainer(recipe, run(name), start, watcher);
    return trainer.run();
  }
};

ErrorKind kind_of(const std::function<void()>& act, std::string* message = nullptr) {
  try {
    act();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::kUsage;
}

// Everything at once: Muon, dropout, micro-batches, masked borders, samples, bags of three for half of the run, more than one epoch.
const std::vector<std::string> kEverything{"optimizer.name=muon", "model.family=qwen3",     "model.dropout=0.1",       "train.micro_batches=2",       "data.borders=mask",
                                           "superposition.mode=full", "superposition.bag=3", "superposition.ratio=0.5", "evaluation.prompt=the ship", "evaluation.sample_tokens=5", "schedule.name=wsd"};

// N steps equal k steps, a stop, and N - k steps by another trainer: before, at and after the switch (step 6).
TEST(Trainer, AStopAndAResumeLeaveNoTrace) {
  const Bench bench(6);
  const Recipe recipe = bench.recipe(kEverything);
  Recorder recorder;
  const RunResult whole = bench.train("whole", recipe, Start::kFresh, -1, &recorder);
  EXPECT_TRUE(whole.finished);
  EXPECT_EQ(whole.state.step, 12);
  EXPECT_GT(static_cast<int64_t>(whole.state.raw_tokens), recorder.start.n_train_tokens) << "the run must cross an epoch to test that";
  EXPECT_EQ(recorder.steps[5].bag, 3);
  EXPECT_EQ(recorder.steps[6].bag, 1);
  const RunContents expected(bench.run("whole"));
  EXPECT_NE(expected.samples.find("--- step 8\nthe ship"), std::string::npos);
  for (const int64_t k : {1, 4, 5, 6, 7, 11}) {
    const std::string name = "stopped-" + std::to_string(k);
    const RunResult first = bench.train(name, recipe, Start::kFresh, k);
    EXPECT_FALSE(first.finished);
    EXPECT_EQ(first.state.step, k);
    verify_checkpoint(first.checkpoint);
    Recorder second;
    EXPECT_TRUE(bench.train(name, recipe, Start::kResume, -1, &second).finished);
    EXPECT_EQ(second.start.resumed_step, k);
    EXPECT_EQ(second.steps.size(), static_cast<size_t>(12 - k));
    expect_equal(RunContents(bench.run(name)), expected, name);
  }
  const RunResult stopped_at_the_end = bench.train("stopped-12", recipe, Start::kFresh, 12);
  EXPECT_TRUE(stopped_at_the_end.finished) << "a stop asked for at the last step is no stop";
}

// A kill loses the steps since the last checkpoint; they come again, and leave nothing twice.
TEST(Trainer, AKillLeavesNoTrace) {
  const Bench bench(6);
  std::vector<std::string> settings = kEverything;
  settings.insert(settings.end(), {"checkpoint.every=3", "checkpoint.keep=9"});
  const Recipe recipe = bench.recipe(settings);
  bench.train("whole", recipe);
  const RunContents expected(bench.run("whole"));
  bench.train("killed", recipe, Start::kFresh, 8);
  const fs::path checkpoints = bench.run("killed") / "checkpoints";
  fs::remove_all(checkpoints / "step-00000008");  // as if killed before it was written
  text::write_plain(checkpoints / ".writing-step-00000008" / "model.safetensors", "half");
  std::ofstream(bench.run("killed") / "metrics.jsonl", std::ios::app) << "{\"step\": 9, \"lo";
  text::write_plain(checkpoints / "step-00000006" / "optimizer.safetensors", "damaged");  // and by a bad disk
  Recorder recorder;
  bench.train("killed", recipe, Start::kResume, -1, &recorder);
  EXPECT_EQ(recorder.start.resumed_step, 3);
  EXPECT_EQ(recorder.start.damaged_checkpoints, std::vector<std::string>{(checkpoints / "step-00000006").string()});
  expect_equal(RunContents(bench.run("killed")), expected, "killed");
  EXPECT_EQ(CheckpointStore(checkpoints, 9).steps(), CheckpointStore(bench.run("whole") / "checkpoints", 9).steps());
  for (const auto& entry : fs::directory_iterator(checkpoints)) verify_checkpoint(entry.path());
}

TEST(Trainer, RunsRepeatBitForBit) {
  const Bench bench;
  std::vector<std::string> settings = kEverything;
  settings.insert(settings.end(), {"train.threads=2", "train.rows=16"});
  bench.train("a", bench.recipe(settings));
  bench.train("b", bench.recipe(settings));
  expect_equal(RunContents(bench.run("a")), RunContents(bench.run("b")), "again");
  settings.push_back("train.seed=2");
  bench.train("c", bench.recipe(settings));
  EXPECT_NE(RunContents(bench.run("c")).weights, RunContents(bench.run("a")).weights);
  at::set_num_threads(1);  // as the other tests of this process expect
}

// At a rate of 0 a run ends with the weights it began with.
TEST(Trainer, StartsFromTheSeedsWeights) {
  const Bench bench;
  const Recipe recipe = complete_from_data(bench.recipe({"optimizer.lr=0", "budget.steps=2", "train.seed=5"}));
  const model::Transformer expected(recipe.model, 5), trained = model::load_model(bench.train("run", recipe).checkpoint);
  for (size_t i = 0; i < expected.parameters().weights().size(); ++i) {
    EXPECT_TRUE(at::equal(expected.parameters().weights()[i].value, trained.parameters().weights()[i].value)) << expected.parameters().weights()[i].name;
  }
}

// Turned off, or turned on with bags of one token, superposition is plain training to the last bit.
TEST(Trainer, SuperpositionTurnedOffLeavesNoTrace) {
  const Bench bench;
  const std::vector<std::string> common{"model.dropout=0.1", "data.borders=mask", "optimizer.name=muon"};
  const auto with = [&](const std::string& name, std::vector<std::string> settings) {
    settings.insert(settings.end(), common.begin(), common.end());
    bench.train(name, bench.recipe(settings));
    return RunContents(bench.run(name));
  };
  const RunContents plain = with("plain", {});
  expect_equal(with("ratio-0", {"superposition.mode=full", "superposition.bag=4", "superposition.ratio=0"}), plain, "ratio 0");
  expect_equal(with("bag-1", {"superposition.mode=full", "superposition.bag=1", "superposition.ratio=0.9"}), plain, "bag 1");
  expect_equal(with("bag-1-harmonic", {"superposition.mode=full", "superposition.bag=1", "superposition.ratio=1", "superposition.weights=harmonic"}), plain, "bag 1, harmonic");
  expect_equal(with("off", {"superposition.mode=none", "superposition.bag=4", "superposition.ratio=0.9"}), plain, "mode none");
  EXPECT_NE(with("on", {"superposition.mode=full", "superposition.bag=4", "superposition.ratio=0.5"}).weights, plain.weights);
}

TEST(Trainer, BudgetsBuyTheirSteps) {
  const Bench bench(30);
  const double positions = 4 * 8;
  const Plan plan = make_plan(complete_from_data(bench.recipe()), 0);
  const auto steps_of = [&](const std::string& name, std::vector<std::string> settings) {
    settings.insert(settings.end(), {"budget.steps=0", "evaluation.every=0"});
    Recorder recorder;
    const RunResult result = bench.train(name, bench.recipe(settings), Start::kFresh, -1, &recorder);
    EXPECT_EQ(recorder.start.n_total_steps, result.state.step) << name;
    EXPECT_EQ(recorder.validations.size(), 1u) << "only at the end";
    EXPECT_DOUBLE_EQ(result.state.positions, positions * static_cast<double>(result.state.step));
    EXPECT_DOUBLE_EQ(result.state.flops, recorder.start.flops_per_step * static_cast<double>(result.state.step));
    return std::pair(result.state.step, result.state.raw_tokens);
  };
  EXPECT_EQ(steps_of("tokens", {"budget.tokens=" + std::to_string(10 * positions)}).first, 10);
  EXPECT_EQ(steps_of("flops", {"budget.flops=" + std::to_string(7 * plan.flops_per_step)}).first, 7);
  // Half of n steps with bags of 3: 2 x 32 raw tokens a step on average.
  const auto [steps, tokens] = steps_of("bags", {"budget.tokens=640", "superposition.mode=full", "superposition.bag=3", "superposition.ratio=0.5"});
  EXPECT_EQ(steps, 10);
  EXPECT_EQ(tokens, 640);
  const auto [output_steps, output_tokens] = steps_of("output", {"budget.tokens=640", "superposition.mode=output", "superposition.bag=3", "superposition.ratio=0.5"});
  EXPECT_EQ(output_steps, 20) << "superposed targets alone cost no data";
  EXPECT_EQ(output_tokens, 640);
  EXPECT_EQ(kind_of([&] { bench.train("none", bench.recipe({"budget.steps=0", "budget.tokens=3"})); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([&] { bench.train("none", bench.recipe({"budget.steps=0", "budget.flops=10"})); }), ErrorKind::kUsage);
}

TEST(Trainer, LogsEveryStepAndValidation) {
  const Bench bench;
  Recorder recorder;
  const RunResult result = bench.train("run", bench.recipe(kEverything), Start::kFresh, -1, &recorder);
  std::istringstream lines(read_file(bench.run("run") / "metrics.jsonl"));
  std::vector<Json> steps, validations;
  for (std::string line; std::getline(lines, line);) {
    const auto json = Json::parse(line);
    (json.contains("loss") ? steps : validations).push_back(json);
  }
  ASSERT_EQ(steps.size(), 12u);
  double raw_tokens = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const int bag = i < 6 ? 3 : 1;
    raw_tokens += 4 * 8 * bag;
    EXPECT_EQ(steps[i]["step"], i + 1);
    EXPECT_EQ(steps[i]["bag"], bag);
    EXPECT_EQ(steps[i]["target_bag"], bag);
    EXPECT_EQ(steps[i]["raw_tokens"], raw_tokens);
    EXPECT_EQ(steps[i]["loss"], recorder.steps[i].loss);
    EXPECT_GT(steps[i]["lr"], 0.0);
    EXPECT_GT(steps[i]["gradient_norm"], 0.0);
  }
  ASSERT_EQ(validations.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(validations[i]["step"], 4 * (i + 1));
  EXPECT_EQ(result.state.best_nats, std::min({recorder.validations[0].nats_per_token, recorder.validations[1].nats_per_token, recorder.validations[2].nats_per_token}));
  EXPECT_EQ(result.state.cursor, 8 * (6 * 3 + 6)) << "every lane begins at its first token and skips none";
  EXPECT_EQ(recorder.checkpoints, std::vector<fs::path>{result.checkpoint});
  EXPECT_EQ(RunState::from_json(read_file(result.checkpoint / "state.json"), "state"), result.state) << "the last validation included";
}

TEST(Trainer, Learns) {
  const Bench bench(40);
  Recorder recorder;
  bench.train("run", bench.recipe({"budget.steps=200", "evaluation.every=0", "evaluation.tokens=0", "optimizer.lr=2e-2"}), Start::kFresh, -1, &recorder);
  EXPECT_NEAR(recorder.steps[0].loss, std::log(280.0), 0.12) << "2 % of ln V";
  EXPECT_LT(recorder.validations.back().nats_per_token, 0.6 * recorder.steps[0].loss) << "18 words in any order: about 3 nats a word, less for its later tokens";
}

TEST(Trainer, RefusesTheWrongFolder) {
  const Bench bench;
  const Recipe recipe = bench.recipe();
  std::string message;
  EXPECT_EQ(kind_of([&] { bench.train("run", recipe, Start::kResume); }, &message), ErrorKind::kUsage) << "nothing to resume";
  EXPECT_FALSE(fs::exists(bench.run("run")));
  bench.train("run", recipe, Start::kFresh, 3);
  const RunContents before(bench.run("run"));
  EXPECT_EQ(kind_of([&] { bench.train("run", recipe); }, &message), ErrorKind::kUsage);
  EXPECT_NE(message.find("holds a run already"), std::string::npos);
  EXPECT_EQ(kind_of([&] { bench.train("run", bench.recipe({"optimizer.lr=2e-2"}), Start::kResume); }, &message), ErrorKind::kUsage);
  EXPECT_NE(message.find("recipe differs"), std::string::npos);
  EXPECT_NE(message.find(": optimizer.lr ("), std::string::npos) << message;
  expect_equal(RunContents(bench.run("run")), before, "refused");
  bench.train("run", recipe, Start::kResume);
  const RunContents finished(bench.run("run"));
  const RunResult again = bench.train("run", recipe, Start::kResume);
  EXPECT_TRUE(again.finished);
  EXPECT_EQ(again.state.step, 12);
  expect_equal(RunContents(bench.run("run")), finished, "resuming a finished run");
}

TEST(Trainer, RefusesDataThatDoesNotFit) {
  const Bench bench;
  EXPECT_EQ(kind_of([&] { bench.train("run", tiny_recipe(bench.folder / "nowhere")); }), ErrorKind::kData);
  EXPECT_EQ(kind_of([&] { bench.train("run", bench.recipe({"model.vocab_size=100"})); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([&] { bench.train("run", bench.recipe({"model.context=4000", "superposition.mode=full"})); }), ErrorKind::kData);
  EXPECT_FALSE(fs::exists(bench.run("run"))) << "a run that cannot start leaves no folder";
  std::string tokens = read_file(bench.folder / "data" / "train.tokens");
  tokens[tokens.size() / 2] = static_cast<char>(tokens[tokens.size() / 2] ^ 1);
  text::write_plain(bench.folder / "data" / "train.tokens", tokens);
  EXPECT_EQ(kind_of([&] { bench.train("run", bench.recipe()); }), ErrorKind::kData) << "a damaged token file";
}

// Decay of 100 x 100 makes the weights grow ten-thousandfold a step; the gradient's norm overflows while they are still finite.
TEST(Trainer, ANumericStopKeepsTheCheckpoint) {
  const Bench bench;
  std::string message;
  const Recipe recipe = bench.recipe({"optimizer.lr=100", "optimizer.weight_decay=100", "optimizer.embedding_weight_decay=100", "schedule.warmup=0", "checkpoint.every=1"});
  EXPECT_EQ(kind_of([&] { bench.train("run", recipe); }, &message), ErrorKind::kNumeric);
  EXPECT_NE(message.find("at step "), std::string::npos) << message;
  const auto newest = CheckpointStore(bench.run("run") / "checkpoints", 1).newest();
  ASSERT_TRUE(newest);
  for (const auto& [name, tensor] : model::read_safetensors(*newest / "model.safetensors")) EXPECT_TRUE(at::isfinite(tensor).all().item<bool>()) << name;
}

TEST(Trainer, AFullDiskKeepsTheOlderCheckpoint) {
  const Bench bench;
  const Recipe recipe = bench.recipe({"checkpoint.every=4", "checkpoint.keep=1"});
  bench.train("whole", recipe);
  bench.train("run", recipe, Start::kFresh, 5);
  {
    const FullDisk disk(6000);
    EXPECT_EQ(kind_of([&] { bench.train("run", recipe, Start::kResume); }), ErrorKind::kIo);
  }
  bench.train("run", recipe, Start::kResume);
  expect_equal(RunContents(bench.run("run")), RunContents(bench.run("whole")), "after the disk was full");
}

// The empty list is the default: the same bits. With a marker the held-out figures count completions only.
TEST(Trainer, LossOnCompletionsOnly) {
  const Bench bench;
  EXPECT_EQ(bench.recipe().to_toml(), bench.recipe({"data.loss_after=[]"}).to_toml());
  bench.train("plain", bench.recipe());
  bench.train("empty", bench.recipe({"data.loss_after=[]"}));
  expect_equal(RunContents(bench.run("empty")), RunContents(bench.run("plain")), "empty list");
  const std::string word = [&] {  // one that is a token of its own
    const text::Tokenizer tokenizer = text::Tokenizer::load(bench.folder / "data" / "tokenizer.json");
    for (const char* candidate : {" winter", " birds", " ship", " the", " a"}) {
      if (tokenizer.encode(candidate).size() == 1) return std::string(candidate);
    }
    ADD_FAILURE();
    return std::string();
  }();
  const std::string setting = "data.loss_after=[\"" + word + "\"]";
  const text::Tokenizer tokenizer = text::Tokenizer::load(bench.folder / "data" / "tokenizer.json");
  const Recipe recipe = complete_from_data(bench.recipe({setting, "evaluation.tokens=0"}));
  const std::vector<int64_t> ids = loss_after_ids(recipe, tokenizer);
  ASSERT_EQ(ids, std::vector<int64_t>{tokenizer.encode(word).front()});
  Recorder recorder;
  const RunResult result = bench.train("completions", recipe, Start::kFresh, -1, &recorder);
  const model::Transformer model = model::load_model(result.checkpoint);
  const text::TokenFile held_out(bench.folder / "data" / "val.tokens");
  const auto score = [&](const std::vector<int64_t>& after) { return eval::score(model, held_out, tokenizer.token_byte_lengths(), {.context = 8, .rows = 4, .loss_after = after}); };
  EXPECT_LT(score(ids).tokens, score({}).tokens);
  EXPECT_LT(score(ids).bytes, score({}).bytes);
  EXPECT_NEAR(recorder.validations.back().nats_per_token, score(ids).nats_per_token(), 1e-9);
  EXPECT_NEAR(recorder.validations.back().bits_per_byte, score(ids).bits_per_byte(), 1e-9);
  // Superposed, masked, in micro-batches, stopped and resumed.
  std::vector<std::string> everything = kEverything;
  everything.push_back(setting);
  bench.train("whole", bench.recipe(everything));
  bench.train("stopped", bench.recipe(everything), Start::kFresh, 5);
  bench.train("stopped", bench.recipe(everything), Start::kResume);
  expect_equal(RunContents(bench.run("stopped")), RunContents(bench.run("whole")), "resumed");

  std::string message;
  EXPECT_EQ(kind_of([&] { bench.train("x", bench.recipe({"data.loss_after=[\"" + word + "\", \"two words\", \"\"]"})); }, &message), ErrorKind::kUsage);
  EXPECT_NE(message.find("\"two words\""), std::string::npos) << message;
  EXPECT_EQ(message.find("\"" + word + "\""), std::string::npos) << message;
  EXPECT_EQ(kind_of([&] { bench.train("x", bench.recipe({"data.loss_after=[\"Q\"]"})); }, &message), ErrorKind::kData) << "a token that no document has";
  EXPECT_FALSE(fs::exists(bench.run("x")));
}

TEST(Trainer, ResumesARunWhoseRecipeLacksANewerKey) {
  const Bench bench;
  const Recipe recipe = bench.recipe();
  bench.train("run", recipe, Start::kFresh, 3);
  const std::string text = read_file(bench.run("run") / "config.toml"), line = "loss_after = []\n";
  ASSERT_NE(text.find(line), std::string::npos);
  std::string older = text;
  write_file(bench.run("run") / "config.toml", older.erase(older.find(line), line.size()));
  EXPECT_TRUE(bench.train("run", recipe, Start::kResume).finished);
  EXPECT_EQ(kind_of([&] { bench.train("run", bench.recipe({"data.loss_after=[\" the\"]"}), Start::kResume); }), ErrorKind::kUsage);
}

}  // namespace
}  // namespace entrain::train
