// Training with the entanglement layer in place, through the whole trainer.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "entrain/base/error.h"
#include "entrain/interchange/pretrained.h"
#include "entrain/model/generate.h"
#include "entrain/model/safetensors.h"
#include "entrain/train/method.h"
#include "tiny_run.h"

namespace entrain::train {
namespace {

using text::TemporaryFolder;

struct Bench {
  TemporaryFolder folder;
  Bench() { make_data(folder / "data", 16); }
  Recipe recipe(std::vector<std::string> settings = {}) const {
    if (!settings.empty() && settings[0].starts_with("entanglement")) settings.insert(settings.begin(), {"entanglement.mode=side", "entanglement.width=8", "entanglement.monitor_every=3"});
    return tiny_recipe(folder / "data", settings);
  }
  fs::path run(const std::string& name) const { return folder / name; }
  Recorder train(const std::string& name, const Recipe& recipe, Start start = Start::kFresh, int64_t stop_after = -1) const {
    Recorder recorder;
    recorder.stop_after = stop_after;
    Trainer(recipe, run(name), start, recorder).run();
    return recorder;
  }
  fs::path checkpoint(const std::string& name) const { return CheckpointStore(run(name) / "checkpoints", 1).newest().value(); }
};

TEST(Entangled, WeightZeroGivesTheBitsOfPlainTraining) {
  const Bench bench;
  bench.train("plain", bench.recipe());
  bench.train("zero", bench.recipe({"entanglement.weight=0"}));
  for (const char* file : {"model.safetensors", "config.json", "optimizer.safetensors"}) {
    EXPECT_EQ(read_file(bench.checkpoint("plain") / file), read_file(bench.checkpoint("zero") / file)) << file;
  }
  bench.train("on", bench.recipe({"entanglement.weight=0.5"}));
  EXPECT_NE(read_file(bench.checkpoint("plain") / "model.safetensors"), read_file(bench.checkpoint("on") / "model.safetensors"));
}

TEST(Entangled, ModelHoldsNoTrace) {
  const Bench bench;
  bench.train("on", bench.recipe({"entanglement.weight=0.5"}));
  for (const auto& [name, tensor] : model::read_safetensors(bench.checkpoint("on") / "model.safetensors")) EXPECT_EQ(name.find("entanglement"), std::string::npos) << name;
  EXPECT_EQ(read_file(bench.checkpoint("on") / "config.json").find("entanglement"), std::string::npos);
  EXPECT_TRUE(fs::exists(bench.checkpoint("on") / "methods.safetensors"));
  bench.train("plain", bench.recipe());
  EXPECT_FALSE(fs::exists(bench.checkpoint("plain") / "methods.safetensors"));
}

TEST(Entangled, ResumesToTheSameBits) {
  const std::string memory = "entanglement.weight=0.5 memory.rows=50 memory.blocks=[0,1] memory.gate=true";
  for (const std::string settings : {"entanglement.positives=next", "entanglement.positives=same_token", "entanglement.positives=views", "entanglement.positives=ppmi", "entanglement.positives=window",
                                     "entanglement.positives=random", "entanglement.pairs=random_features", "entanglement.pairs=positive_features",
                                     "entanglement.pairs=fft entanglement.scope=sequence", memory.c_str()}) {
    const Bench bench;
    std::vector<std::string> all;
    std::istringstream words(settings);
    for (std::string word; words >> word;) all.push_back(word);
    all.insert(all.end(), {"model.dropout=0.1", "train.micro_batches=2"});
    const Recipe recipe = bench.recipe(all);
    bench.train("whole", recipe);
    bench.train("parts", recipe, Start::kFresh, 5);
    bench.train("parts", recipe, Start::kResume);
    expect_equal(RunContents(bench.run("whole")), RunContents(bench.run("parts")), settings);
    EXPECT_EQ(checksum(read_file(bench.checkpoint("whole") / "methods.safetensors")), checksum(read_file(bench.checkpoint("parts") / "methods.safetensors"))) << settings;
  }
}

TEST(Entangled, EveryLossAndEveryPositiveTrains) {
  const Bench bench;
  std::vector<std::vector<std::string>> all;
  for (const std::string loss : {"infonce", "align_uniform", "ecf", "sigreg", "entropy_floor", "simctg", "hsic", "cosreg", "decov", "barlow", "vicreg", "total_correlation", "literal"}) {
    all.push_back({"entanglement.loss=" + loss});
  }
  for (const std::string positives : {"next", "same_token", "views", "window", "ppmi", "random"}) all.push_back({"entanglement.positives=" + positives});
  all.push_back({"entanglement.loss=contraclm", "entanglement.positives=views"});
  for (const std::string gate : {"none", "matrix", "cosine", "pcgrad", "gradnorm"}) all.push_back({"entanglement.gate=" + gate});
  for (const std::string pairs : {"exact", "random_features", "positive_features"}) all.push_back({"entanglement.pairs=" + pairs});
  all.push_back({"entanglement.pairs=fft", "entanglement.scope=sequence"});
  all.push_back({"entanglement.blocks=[0, 1]", "superposition.mode=full", "superposition.bag=2"});
  text::write_plain(bench.folder / "attribute.tsv", "ship\tthing\nbirds\tanimal\nsky\tthing\nthe\tthing\nseven\tanimal\n");
  all.push_back({"entanglement.loss=attribute_hsic", "entanglement.attribute=" + (bench.folder / "attribute.tsv").string()});
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<std::string> settings = all[i];
    settings.insert(settings.end(), {"model.dropout=0.1", "budget.steps=4", "evaluation.every=0"});
    const Recorder recorder = bench.train("run" + std::to_string(i), bench.recipe(settings));
    ASSERT_EQ(recorder.steps.size(), 4u) << all[i][0];
    bool found = false;
    for (const auto& [name, value] : recorder.steps.back().figures) {
      EXPECT_TRUE(std::isfinite(value)) << all[i][0] << " " << name;
      found |= name.ends_with(".loss") && value != 0;
    }
    EXPECT_TRUE(found) << all[i][0];
  }
}

TEST(Entangled, ShowsTheMonitorAndChargesItsFlops) {
  const Bench bench;
  const Recorder plain = bench.train("plain", bench.recipe()), on = bench.train("on", bench.recipe({"entanglement.weight=0.5"}));
  EXPECT_GT(on.start.flops_per_step, plain.start.flops_per_step);
  EXPECT_TRUE(plain.steps[2].figures.empty());
  const auto has = [](const StepRecord& record, const std::string& ending) {
    for (const auto& [name, value] : record.figures) {
      if (name.ends_with(ending)) return true;
    }
    return false;
  };
  EXPECT_TRUE(has(on.steps[2], ".effective_rank"));   // step 3
  EXPECT_FALSE(has(on.steps[3], ".effective_rank"));
  EXPECT_TRUE(has(on.steps[3], ".gate_rate"));
  EXPECT_NE(read_file(bench.run("on") / "metrics.jsonl").find("entanglement.1.effective_rank"), std::string::npos);
  for (const StepRecord& record : bench.train("end", bench.recipe({"entanglement.weight=0.5", "entanglement.monitor_every=0"})).steps) {
    EXPECT_EQ(has(record, ".effective_rank"), record.step == 12) << record.step;  // only at the end
  }
  const Recorder uneven = bench.train("uneven", bench.recipe({"entanglement.weight=0.5", "entanglement.monitor_every=5", "train.micro_batches=2"}));
  for (const StepRecord& record : uneven.steps) EXPECT_EQ(has(record, ".effective_rank"), record.step % 5 == 0 || record.step == 12) << record.step;
  const Recorder views = bench.train("views", bench.recipe({"entanglement.positives=views", "model.dropout=0.1"}));
  EXPECT_GT(views.start.flops_per_step, 1.9 * plain.start.flops_per_step);
}

TEST(Entangled, SaysHowPairsAreMade) {
  const Bench bench;
  const auto said = [&](const std::string& run, const std::vector<std::string>& settings) { return bench.train(run, bench.recipe(settings)).start.methods; };
  EXPECT_EQ(said("plain", {}), std::vector<std::string>{});
  EXPECT_EQ(said("auto", {"entanglement.blocks=[0, 1]"}), std::vector<std::string>{"entanglement: infonce, positives next, exact pairs among 32 positions"});
  EXPECT_EQ(said("features", {"entanglement.pairs=random_features"}), std::vector<std::string>{"entanglement: infonce, positives next, random features, 256 orthogonal frequencies, for the pairs among 32 positions"});
  // By row whatever the scope says, and two views of 8 positions in each; with weight 0 there is one.
  const std::vector<std::string> contraclm = {"entanglement.loss=contraclm", "entanglement.positives=views", "train.micro_batches=2"};
  EXPECT_EQ(said("views", contraclm), std::vector<std::string>{"entanglement: contraclm, positives views, exact pairs among 16 positions"});
  EXPECT_EQ(said("batch", {"entanglement.positives=views", "train.micro_batches=2"}), std::vector<std::string>{"entanglement: infonce, positives views, exact pairs among 32 positions"});
  EXPECT_EQ(said("zero", {"entanglement.positives=views", "entanglement.weight=0"}), std::vector<std::string>{"entanglement: infonce, positives next, exact pairs among 32 positions"});
  EXPECT_EQ(said("moments", {"entanglement.loss=decov"}), std::vector<std::string>{"entanglement: decov, positives next, covariances of all positions"});
}

TEST(Entangled, LiteralLossRaisesAnAlarm) {
  const Bench bench;
  const Recorder recorder = bench.train("literal", bench.recipe({"entanglement.loss=literal", "entanglement.weight=10", "entanglement.gate=none", "entanglement.norm_cap=0", "entanglement.temperature=0.1",
                                                                 "entanglement.head_lr=0.05", "budget.steps=120", "evaluation.every=0"}));
  std::multiset<std::string> kinds;
  for (const StepRecord& record : recorder.steps) {
    for (const std::string& alarm : record.alarms) kinds.insert(alarm_kind(alarm));
  }
  EXPECT_GT(kinds.size(), 0u);
  for (const std::string& kind : kinds) EXPECT_EQ(kinds.count(kind), 1u) << kind;
}

TEST(Entangled, WorksBesideAMemory) {
  const Bench bench;
  const std::vector<std::string> memory = {"entanglement.weight=0", "memory.rows=50", "memory.blocks=[0, 1]", "memory.gate=true", "memory.lr=0.5", "budget.steps=40"};
  std::vector<std::string> both = memory;
  both[0] = "entanglement.weight=0.5";
  bench.train("memory", bench.recipe(memory));
  bench.train("both", bench.recipe(both));
  const RunContents alone(bench.run("memory")), together(bench.run("both"));
  EXPECT_NE(alone.weights, together.weights) << "the layer works";
  ASSERT_FALSE(together.memory.empty());
  EXPECT_NE(alone.memory, together.memory) << "its gradient reaches the rows below it";
  for (const auto& [name, tensor] : model::read_safetensors(bench.checkpoint("both") / "memory.safetensors")) {
    EXPECT_EQ(name.find("entanglement"), std::string::npos) << name;
    EXPECT_GT(tensor.abs().max().item<double>(), 0.0) << name;
  }
  // Generation through the cache is that of the whole text read anew.
  const model::Transformer model = interchange::load_model(bench.checkpoint("both"));
  const std::vector<int32_t> prompt = {1, 2, 3};
  const std::vector<int32_t> cached = model::generate(model, prompt, {.n_tokens = 20, .temperature = 0}, {});
  ASSERT_EQ(cached.size(), 20u);
  const at::NoGradGuard no_grad;
  std::vector<int64_t> ids(prompt.begin(), prompt.end());
  for (size_t i = 0; i < cached.size(); ++i) {
    const Tensor logits = model.logits(model.hidden(at::tensor(ids).unsqueeze(0))).select(1, static_cast<int64_t>(ids.size()) - 1);
    ASSERT_EQ(cached[i], logits.argmax().item<int64_t>()) << i;
    ids.push_back(cached[i]);
  }
}

TEST(Entangled, ResumingRaisesNoAlarmAgain) {
  const Bench bench;
  const Recipe recipe = bench.recipe({"entanglement.loss=literal", "entanglement.weight=10", "entanglement.gate=none", "entanglement.norm_cap=0", "entanglement.temperature=0.1",
                                      "entanglement.head_lr=0.05", "budget.steps=60", "evaluation.every=0"});
  const auto first_alarm = [](const Recorder& recorder) -> int64_t {
    for (const StepRecord& record : recorder.steps) {
      if (!record.alarms.empty()) return record.step;
    }
    return -1;
  };
  const int64_t step = first_alarm(bench.train("whole", recipe));
  ASSERT_GT(step, 0);
  ASSERT_LT(step, 59);
  bench.train("parts", recipe, Start::kFresh, step + 1);
  bench.train("parts", recipe, Start::kResume);
  expect_equal(RunContents(bench.run("whole")), RunContents(bench.run("parts")), "alarms");
}

TEST(Entangled, ResumesFromACheckpointWithoutTheMonitorsNotes) {
  const Bench bench;
  const Recipe recipe = bench.recipe({"entanglement.weight=0.5"});
  bench.train("whole", recipe);
  bench.train("parts", recipe, Start::kFresh, 6);
  const fs::path checkpoint = bench.checkpoint("parts"), file = checkpoint / "methods.safetensors", manifest = checkpoint / "manifest.json";
  model::NamedTensors kept;
  for (const auto& [name, tensor] : model::read_safetensors(file)) {
    if (!name.ends_with(kOptional)) kept.emplace_back(name, tensor.clone());
  }
  ASSERT_LT(kept.size(), model::read_safetensors(file).size());
  model::write_safetensors(file, kept);
  OrderedJson json = OrderedJson::parse(read_file(manifest));
  json["files"]["methods.safetensors"] = {{"bytes", fs::file_size(file)}, {"xxh3", to_hex(file_checksum(file))}};
  write_file(manifest, json.dump());
  bench.train("parts", recipe, Start::kResume);
  EXPECT_EQ(read_file(bench.checkpoint("whole") / "model.safetensors"), read_file(bench.checkpoint("parts") / "model.safetensors"));
}

TEST(TrainFrom, StartsWithTheWeights) {
  const Bench bench;
  bench.train("first", bench.recipe());
  Recipe recipe = bench.recipe({"train.from=" + bench.run("first").string(), "budget.steps=1", "optimizer.lr=0", "model.layers=5"});
  const Recorder recorder = bench.train("second", recipe);
  EXPECT_EQ(read_file(bench.checkpoint("first") / "model.safetensors"), read_file(bench.checkpoint("second") / "model.safetensors"));
  // On with the layer, as domain adaptation does.
  const Recipe entangled = bench.recipe({"entanglement.blocks=[1]", "train.from=" + bench.run("first").string(), "budget.steps=4"});
  EXPECT_EQ(bench.train("third", entangled).steps.size(), 4u);
  const Recipe wrong_block = bench.recipe({"entanglement.blocks=[2]", "train.from=" + bench.run("first").string()});
  EXPECT_THROW(bench.train("fourth", wrong_block), Error);
}

TEST(TrainFrom, AnotherTokenizerIsAnError) {
  const Bench bench;
  bench.train("first", bench.recipe());
  const fs::path folder = bench.checkpoint("first");
  make_data(bench.folder / "other-data", 3);  // other text, other merges
  fs::create_directories(bench.folder / "other");
  for (const char* file : {"config.json", "model.safetensors"}) fs::copy_file(folder / file, bench.folder / "other" / file);
  fs::copy_file(bench.folder / "other-data" / "tokenizer.json", bench.folder / "other" / "tokenizer.json");
  try {
    bench.train("second", bench.recipe({"train.from=" + (bench.folder / "other").string()}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_NE(error.hint().find("data prepare --tokenizer"), std::string::npos);
  }
}

}  // namespace
}  // namespace entrain::train
