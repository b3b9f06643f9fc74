#include "entrain/train/checkpoint.h"

#include "../base/full_disk.h"
#include "../model/tiny_model.h"
#include "../text/temporary_folder.h"
#include "entrain/base/error.h"

namespace entrain::train {
namespace {

using model::Transformer;
using text::TemporaryFolder;
using text::write_plain;

struct TinyRun {
  Transformer model{model::tiny_config("llama"), 1};
  std::unique_ptr<Optimizer> optimizer = make_optimizer({}, model.parameters());
  Methods methods;
  RunState state{.step = 1, .cursor = 77, .raw_tokens = 1.0 / 3, .positions = 1e18, .flops = 1.2345678901234567e21, .seconds = 0.1, .best_nats = 2.5, .best_step = 1};

  explicit TinyRun(uint64_t seed) : model(model::tiny_config("llama"), seed) {
    at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : optimizer->state()) tensor.normal_(0, 1, at::make_generator<at::CPUGeneratorImpl>(seed));
  }
  CheckpointParts parts() { return {model, *optimizer, state, methods}; }
};

struct Store {
  TemporaryFolder folder;
  CheckpointStore store;
  explicit Store(int64_t keep) : store(folder / "checkpoints", keep) {}
  fs::path save(TinyRun& run, int64_t step) {
    run.state.step = step;
    return store.save(run.parts(), {.eos = 3}, {{"tokenizer.json", "{\"a\": 1}"}, {"additional_chat_templates/tools.jinja", "{{ tools }}"}});
  }
};

TEST(RunState, KeepsEveryBit) {
  const RunState state{.step = int64_t{1} << 60, .cursor = 3, .raw_tokens = 0.1, .positions = 1.0 / 3, .flops = 1.7976931348623157e308, .seconds = 5e-324, .best_nats = 2.7, .best_step = -1};
  EXPECT_EQ(RunState::from_json(state.to_json(), "s"), state);
  for (const char* bad : {"", "{}", "[]", "{\"step\": \"x\"}"}) EXPECT_THROW(RunState::from_json(bad, "s"), Error);
}

TEST(Checkpoint, RestoresEverything) {
  Store store(2);
  TinyRun run(1), other(2);
  const fs::path path = store.save(run, 12);
  EXPECT_EQ(path.filename(), "step-00000012");
  EXPECT_EQ(read_file(path / "tokenizer.json"), "{\"a\": 1}");
  EXPECT_EQ(read_file(path / "additional_chat_templates" / "tools.jinja"), "{{ tools }}");
  verify_checkpoint(path);
  restore_checkpoint(path, other.parts());
  EXPECT_EQ(other.state, run.state);
  for (size_t i = 0; i < run.model.parameters().weights().size(); ++i) {
    EXPECT_TRUE(at::equal(run.model.parameters().weights()[i].value, other.model.parameters().weights()[i].value));
  }
  const auto a = run.optimizer->state(), b = other.optimizer->state();
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(a[i].second, b[i].second)) << a[i].first;
  // The folder is a model by itself.
  EXPECT_TRUE(at::equal(model::load_model(path).head(), run.model.head()));
  EXPECT_EQ(resolve_model(path), path);
  EXPECT_EQ(resolve_model(store.folder.path()), path);
  EXPECT_THROW(resolve_model(store.folder / "nowhere"), Error);
}

// Whatever happens to whichever file, the checkpoint is refused with kData, and the one before it is found.
TEST(Checkpoint, VerifyCatchesAnyDamage) {
  Store store(5);
  TinyRun run(1);
  const fs::path sound = store.save(run, 10), path = store.save(run, 20);
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  EXPECT_EQ(files.size(), 7u);
  const auto expect_damaged = [&](const std::string& what) {
    try {
      verify_checkpoint(path);
      ADD_FAILURE() << what << " went unnoticed";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos);
    }
    TinyRun target(3);
    const std::vector<float> before = model::floats(target.model.head());
    EXPECT_THROW(restore_checkpoint(path, target.parts()), Error) << what;
    EXPECT_EQ(model::floats(target.model.head()), before) << what << ": nothing was restored";
  };
  for (const fs::path& file : files) {
    const std::string whole = read_file(file);
    const bool manifest = file.filename() == "manifest.json";
    for (const size_t n : {size_t{0}, whole.size() / 2, whole.size() - 2}) {  // the manifest's last byte is a line break
      write_plain(file, whole.substr(0, n));
      expect_damaged(file.filename().string() + " cut to " + std::to_string(n));
    }
    if (!manifest) {
      for (const size_t at : {size_t{0}, whole.size() / 3, whole.size() - 1}) {
        std::string flipped = whole;
        flipped[at] = static_cast<char>(flipped[at] ^ 4);
        write_plain(file, flipped);
        expect_damaged(file.filename().string() + " flipped at " + std::to_string(at));
      }
      write_plain(file, whole + "x");
      expect_damaged(file.filename().string() + " grown");
    }
    fs::remove(file);
    expect_damaged(file.filename().string() + " missing");
    fs::create_directory(file);
    expect_damaged(file.filename().string() + " a folder");
    fs::remove(file);
    std::vector<std::string> damaged;
    EXPECT_EQ(store.store.newest(&damaged), sound);
    EXPECT_EQ(damaged, std::vector<std::string>{path.string()});
    write_plain(file, whole);
    verify_checkpoint(path);
  }
  EXPECT_EQ(store.store.newest(), path);
}

// (Every eleventh bit.) A flipped bit of the manifest either leaves its meaning (white space, say) or is refused; nothing but Error comes out.
TEST(Checkpoint, FlippedBitsOfTheManifestAreHarmless) {
  Store store(5);
  TinyRun run(1);
  const fs::path path = store.save(run, 10);
  const std::string whole = read_file(path / "manifest.json");
  int n_refused = 0;
  for (size_t bit = 0; bit < whole.size() * 8; bit += 11) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    write_plain(path / "manifest.json", flipped);
    try {
      verify_checkpoint(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      ++n_refused;
    }
  }
  EXPECT_GT(n_refused, static_cast<int>(whole.size()) * 8 / 11 / 4);
}

TEST(Checkpoint, ItsManifestReachesNoOtherFolder) {
  Store store(5);
  TinyRun run(1);
  const fs::path path = store.save(run, 10);
  const std::string whole = read_file(path / "manifest.json");
  write_plain(store.folder / "checkpoints" / "state.json", read_file(path / "state.json"));
  for (const std::string& name : {std::string("../state.json"), std::string("x/../../state.json"), (store.folder / "checkpoints" / "state.json").string()}) {
    std::string changed = whole;
    changed.replace(changed.find("{\n    \"additional"), 1, "{\"" + name + "\": " + R"({"bytes": 1, "xxh3": ""},)");
    write_plain(path / "manifest.json", changed);
    try {
      verify_checkpoint(path);
      ADD_FAILURE() << name << " was read";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("lies outside"), std::string::npos) << error.what();
    }
  }
}

TEST(CheckpointStore, KeepsTheNewestAndTheBest) {
  Store store(2);
  TinyRun run(1);
  run.state.best_step = 20;
  for (const int64_t step : {10, 20, 30, 40, 50}) store.save(run, step);
  EXPECT_EQ(store.store.steps(), (std::vector<int64_t>{20, 40, 50}));
  run.state.best_step = 60;
  store.save(run, 60);
  EXPECT_EQ(store.store.steps(), (std::vector<int64_t>{50, 60}));
  EXPECT_EQ(store.store.newest()->filename(), "step-00000060");
}

// A resume passes over a damaged checkpoint of a later step; what it saves on the way there must not be pruned in its favour.
TEST(CheckpointStore, ADamagedLaterOneCrowdsOutNothing) {
  Store store(1);
  TinyRun run(1);
  run.state.best_step = -1;
  const fs::path later = store.save(run, 60);
  write_plain(later / "state.json", "damaged");
  const fs::path saved = store.save(run, 40);
  EXPECT_EQ(store.store.newest(), saved);
  EXPECT_EQ(store.save(run, 60), later) << "a damaged one of the same step is replaced";
  EXPECT_EQ(store.store.newest(), later);
  EXPECT_EQ(store.store.steps(), std::vector<int64_t>{60});
}

TEST(CheckpointStore, AFullDiskLeavesTheOlderOnes) {
  Store store(1);
  TinyRun run(1);
  const fs::path old = store.save(run, 10);
  {
    const FullDisk disk(5000);  // enough for config.json, not for the weights
    EXPECT_THROW(store.save(run, 20), Error);
  }
  EXPECT_EQ(store.store.newest(), old);
  EXPECT_EQ(std::distance(fs::directory_iterator(store.folder / "checkpoints"), {}), 1) << "nothing is left aside";
}

TEST(CheckpointStore, RemovesWhatKilledSavesLeft) {
  Store store(1);
  TinyRun run(1);
  store.store.remove_leftovers();  // no folder yet
  const fs::path old = store.save(run, 10);
  write_plain(store.folder / "checkpoints" / ".writing-step-00000020" / "model.safetensors", "half");
  EXPECT_EQ(store.store.newest(), old);
  store.store.remove_leftovers();
  EXPECT_EQ(std::distance(fs::directory_iterator(store.folder / "checkpoints"), {}), 1);
}

}  // namespace
}  // namespace entrain::train
