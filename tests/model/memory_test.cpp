#include "entrain/model/memory.h"

#include <cmath>
#include <functional>

#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/interchange/export.h"
#include "entrain/model/generate.h"
#include "entrain/model/huggingface.h"
#include "entrain/model/safetensors.h"
#include "entrain/ops/hashed_rows.h"
#include "entrain/text/byte_level.h"
#include "entrain/text/pretokenizer.h"
#include "entrain/text/tokenizer.h"
#include "tiny_model.h"

namespace entrain::model {
namespace {

Config with_memory(const std::string& shape, const MemoryConfig& memory) {
  Config config = tiny_config(shape);
  config.memory = memory;
  config.resolve();
  return config;
}

const std::vector<MemoryConfig> kMemories{
    {.rows = 50}, {.rows = 50, .orders = {1, 2, 4}, .heads = 2, .blocks = {0, 1}, .gate = true}, {.rows = 50, .blocks = {1}, .into = "values", .sign = false},
    {.rows = 50, .blocks = {1, 0}, .into = "values", .width = 5, .gate = true}, {.rows = 50, .width = 8}};

/// Rows, scales and gates that are no longer those of the start.
void fill(Transformer& model, uint64_t seed = 5) {
  at::NoGradGuard no_grad;
  const auto random = [&] { return at::make_generator<at::CPUGeneratorImpl>(seed++); };
  for (const RowTable& table : model.parameters().tables()) table.value.detach().normal_(0, 0.5, random());
  for (const Weight& weight : model.parameters().weights()) {
    if (is_memory_name(weight.name)) weight.value.normal_(1, 0.5, random());
  }
}

/// The memory of a model by itself, with tables of its own.
struct Alone {
  Parameters parameters;
  Memory memory;
  explicit Alone(const MemoryConfig& config) : memory(config, config.width, 1e-5, parameters) {
    uint64_t seed = 1;
    for (const RowTable& table : parameters.tables()) table.value.detach().normal_(0, 1, at::make_generator<at::CPUGeneratorImpl>(seed++));
  }
};

// Zero rows: the bits of the model without memory, in its output and in every gradient of its weights, and all rows' gradients are there.
TEST(Memory, TheFirstStepIsThatOfThePlainModel) {
  const Tensor ids = random_ids({2, 12}, 100), upstream = at::randn({2, 12, 32}, at::make_generator<at::CPUGeneratorImpl>(3));
  for (const std::string& shape : kShapes) {
    for (const MemoryConfig& memory : kMemories) {
      Transformer plain(tiny_config(shape), 3), model(with_memory(shape, memory), 3);
      const Tensor expected = plain.hidden(ids), hidden = model.hidden(ids);
      EXPECT_TRUE(at::equal(hidden, expected)) << shape << " into " << memory.into;
      expected.backward(upstream);
      hidden.backward(upstream);
      for (const Weight& weight : plain.parameters().weights()) {
        const Weight* same = nullptr;
        for (const Weight& other : model.parameters().weights()) same = other.name == weight.name ? &other : same;
        ASSERT_NE(same, nullptr);
        const Tensor a = plain.parameters().gradient(weight), b = model.parameters().gradient(*same);
        EXPECT_EQ(a.defined(), b.defined()) << weight.name;
        EXPECT_TRUE(!a.defined() || at::equal(a, b)) << weight.name;
      }
      EXPECT_EQ(model.parameters().tables().size(), static_cast<size_t>(memory.n_tables()));
      for (const RowTable& table : model.parameters().tables()) EXPECT_GT(model.parameters().gradient(table).value().values.abs().max().item<double>(), 0) << table.name;
    }
  }
}

TEST(Memory, AModelWithoutOneHasNoTraceOfIt) {
  const Transformer model(tiny_config("llama"), 3);
  EXPECT_EQ(model.parameters().table_count(), 0);
  for (const Weight& weight : model.parameters().weights()) EXPECT_FALSE(is_memory_name(weight.name));
  const std::string json = to_config_json(model.config(), {});
  EXPECT_EQ(json.find("memory"), std::string::npos);
  KvCache cache;
  model.hidden(random_ids({1, 4}), {.cache = &cache});
  EXPECT_FALSE(cache.recent_ids.defined());
}

// The definition: scale_i times the sum over orders and heads of the row of each gram under its signs, added before block i.
TEST(Memory, AddsTheRowsOfItsGrams) {
  const MemoryConfig memory{.rows = 40, .orders = {2, 3}, .heads = 2, .blocks = {1}};
  Transformer model(with_memory("llama", memory), 3);
  fill(model);
  const Tensor ids = random_ids({2, 7}, 6);
  Tensor before, after;
  Taps taps(2);
  taps.add("blocks.0.hook_resid_post", [&](const Tensor& x) { return before = x; });
  taps.add("blocks.1.hook_resid_pre", [&](const Tensor& x) { return after = x; });
  model.hidden(ids, {.taps = &taps});
  Tensor sum = at::zeros({2, 7, 32}, at::kDouble);
  size_t i = 0;
  for (const int64_t order : {2, 3}) {
    for (const int64_t head : {0, 1}) {
      const Tensor keys = ops::reference::ngram_keys(ids, order, head, std::nullopt);
      EXPECT_EQ((keys == 0).sum().item<int64_t>(), 2 * (order - 1)) << "no contribution where too few tokens lie before";
      sum += ops::reference::hashed_rows_forward(model.parameters().tables()[i++].value.detach().to(at::kDouble), keys, 1, true);
    }
  }
  double scale = 0;
  for (const Weight& weight : model.parameters().weights()) {
    if (weight.name == "memory.scale") scale = weight.value[0].item<double>();
  }
  EXPECT_LT((after - before - scale * sum).abs().max().item<double>(), 1e-5) << "float32 sums of numbers below 10";
  EXPECT_GT(sum.abs().max().item<double>(), 0.5);
  EXPECT_TRUE(at::equal(sum.select(1, 0), at::zeros({2, 32}, at::kDouble)));
}

// Bag j holds tokens 3j .. 3j+2; its bigrams reach back to token 3j-1, none reaches forward.
TEST(Memory, InBagsItSeesPastTokensOnly) {
  const Alone alone({.rows = 1000, .orders = {2, 3}, .width = 8});
  const Tensor ids = random_ids({1, 15}, 50);
  const Tensor features = alone.memory.read(ids, {.bag = 3});
  ASSERT_EQ(features.sizes(), (std::vector<int64_t>{1, 5, 8}));
  EXPECT_LT((features - alone.memory.read(ids, {}).view({1, 5, 3, 8}).mean(2)).abs().max().item<double>(), 1e-6) << "the mean of its tokens' rows";
  for (int64_t token = 0; token < 15; ++token) {
    Tensor changed = ids.clone();
    changed[0][token] += 50;
    const Tensor differs = (alone.memory.read(changed, {.bag = 3}) != features).any(-1)[0];
    for (int64_t bag = 0; bag < 5; ++bag) {
      // A gram of order 3 ends at most two tokens after the changed one; the first two tokens of the text end none.
      const bool reached = bag >= token / 3 && bag <= (token + 2) / 3;
      EXPECT_EQ(differs[bag].item<bool>(), reached) << "token " << token << " bag " << bag;
    }
  }
  Transformer model(with_memory("llama", {.rows = 50, .blocks = {0, 1}, .gate = true}), 3);
  fill(model);
  const Tensor whole = model.hidden(ids, {.bag = 3});
  for (int64_t token = 3; token < 15; ++token) {
    Tensor changed = ids.clone();
    changed[0][token] += 50;
    EXPECT_TRUE(at::equal(model.hidden(changed, {.bag = 3}).narrow(1, 0, token / 3), whole.narrow(1, 0, token / 3))) << token;
  }
}

TEST(Memory, GramsStayInsideASegment) {
  const Alone alone({.rows = 1000, .orders = {2, 3}, .width = 8});
  const Tensor ids = random_ids({1, 8}, 50), segments = at::tensor(std::vector<int32_t>{0, 0, 0, 0, 1, 1, 1, 1}).unsqueeze(0);
  Forward forward;
  forward.segments = segments;
  const Tensor masked = alone.memory.read(ids, forward);
  EXPECT_TRUE(at::equal(masked.narrow(1, 0, 4), alone.memory.read(ids.narrow(1, 0, 4), {})));
  EXPECT_TRUE(at::equal(masked.narrow(1, 4, 4), alone.memory.read(ids.narrow(1, 4, 4), {}))) << "as if each were a text of its own";
  EXPECT_FALSE(at::equal(masked.narrow(1, 4, 4), alone.memory.read(ids, {}).narrow(1, 4, 4)));
  // In bags of two a position's segment is its last token's: grams over both bags of a segment count, over a border do not.
  forward.bag = 2;
  forward.segments = at::tensor(std::vector<int32_t>{0, 0, 1, 1}).unsqueeze(0);
  EXPECT_TRUE(at::equal(alone.memory.read(ids, forward), masked.view({1, 4, 2, 8}).mean(2)) ||
              at::allclose(alone.memory.read(ids, forward), masked.view({1, 4, 2, 8}).mean(2), 1e-6, 1e-6));
}

// In pieces through the cache or at once: the same bits, whatever the pieces.
TEST(Memory, TheCacheKeepsTheLastIds) {
  const Alone alone({.rows = 1000, .orders = {2, 4}, .heads = 2, .width = 8});
  const Tensor ids = random_ids({2, 13}, 50), whole = alone.memory.read(ids, {});
  for (const std::vector<int64_t>& pieces : std::vector<std::vector<int64_t>>{{13}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {5, 1, 2, 5}, {1, 12}, {2, 11}}) {
    KvCache cache;
    int64_t begin = 0;
    for (const int64_t n : pieces) {
      EXPECT_TRUE(at::equal(alone.memory.read(ids.narrow(1, begin, n), {.cache = &cache}), whole.narrow(1, begin, n)));
      begin += n;
      EXPECT_EQ(cache.recent_ids.size(1), std::min<int64_t>(3, begin));
    }
  }
}

// As in generate_test: 60 tokens through the cache are those of the whole text read anew, and the choice is never close.
TEST(Memory, GenerationWithACacheIsThatWithout) {
  at::NoGradGuard no_grad;
  for (const std::string& shape : kShapes) {
    for (const MemoryConfig& memory : kMemories) {
      Config config = with_memory(shape, memory);
      config.context = 128;
      Transformer model(config, 3);
      fill(model);
      const std::vector<int32_t> prompt{5, 17, 3};
      const std::vector<int32_t> cached = generate(model, prompt, {.n_tokens = 60, .temperature = 0}, {});
      std::vector<int64_t> ids(prompt.begin(), prompt.end());
      for (size_t i = 0; i < cached.size(); ++i) {
        const Tensor hidden = model.hidden(at::tensor(ids).unsqueeze(0));
        const Tensor logits = model.logits(hidden.select(1, hidden.size(1) - 1)).squeeze(0), best = std::get<0>(logits.topk(2));
        if ((best[0] - best[1]).item<double>() < 1e-4) break;  // rounding may decide from here on
        ASSERT_EQ(cached[i], logits.argmax().item<int64_t>()) << shape << " token " << i;
        ids.push_back(cached[i]);
      }
      EXPECT_GT(ids.size(), 20u) << "too close to call too early, choose another seed";
    }
  }
}

// Central differences in float64, step 1e-6: 1e-10 from rounding and from curvature, times the size of the numbers.
TEST(Memory, GradientsOfGateAndScaleMatchDifferences) {
  const auto random = [](at::IntArrayRef sizes, uint64_t seed) { return at::randn(sizes, at::make_generator<at::CPUGeneratorImpl>(seed), at::TensorOptions().dtype(at::kDouble)); };
  for (const bool gated : {false, true}) {
    std::vector<Tensor> in{random({2, 3, 4}, 1), random({2, 3, 4}, 2), random({}, 3), random({4}, 4)};
    const Tensor upstream = random({2, 3, 4}, 5);
    const auto value = [&] { return (add_memory(in[0], in[1], in[2], gated ? in[3] : Tensor(), 1e-5) * upstream).sum(); };
    for (Tensor& tensor : in) tensor.requires_grad_();
    value().backward();
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < (gated ? 4u : 3u); ++i) {
      Tensor flat = in[i].view({-1});
      for (int64_t j = 0; j < flat.numel(); ++j) {
        const double held = flat[j].item<double>();
        flat[j] = held + 1e-6;
        const double above = value().item<double>();
        flat[j] = held - 1e-6;
        const double below = value().item<double>();
        flat[j] = held;
        EXPECT_NEAR(in[i].grad().view({-1})[j].item<double>(), (above - below) / 2e-6, 1e-7) << "input " << i << " element " << j;
      }
    }
  }
}

TEST(Memory, TheGateFollowsItsFormula) {
  const Tensor state = at::tensor({3.0, -4.0}), rows = at::tensor({1.0, 1.0}), gate = at::tensor({2.0, 0.5});
  const double rms = std::sqrt(12.5), agreement = (2.0 * 3.0 / rms - 0.5 * 4.0 / rms) / std::sqrt(2.0), a = 1 / (1 + std::exp(-agreement));
  const Tensor out = add_memory(state, rows, at::scalar_tensor(0.5, at::kDouble), gate, 0);
  EXPECT_NEAR(out[0].item<double>(), 3 + 0.5 * a, 1e-12);
  EXPECT_NEAR(out[1].item<double>(), -4 + 0.5 * a, 1e-12);
}

TEST(MemoryConfig, DerivesItsWidthAndListsWhatCannotWork) {
  EXPECT_EQ(with_memory("grouped", {.rows = 5}).memory.width, 32);
  EXPECT_EQ(with_memory("grouped", {.rows = 5, .into = "values"}).memory.width, 12);
  EXPECT_EQ(with_memory("grouped", {.rows = 5, .width = 7}).memory.width, 7);
  const auto problem = [](const MemoryConfig& memory) -> std::string {
    try {
      with_memory("llama", memory);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "";
  };
  for (const MemoryConfig& bad : std::vector<MemoryConfig>{{.rows = 5, .orders = {}}, {.rows = 5, .orders = {2, 2}}, {.rows = 5, .orders = {2.5}}, {.rows = 5, .orders = {0}}, {.rows = 5, .orders = {17}}}) {
    EXPECT_NE(problem(bad).find("memory.orders"), std::string::npos);
  }
  for (const MemoryConfig& bad : std::vector<MemoryConfig>{{.rows = 5, .blocks = {}}, {.rows = 5, .blocks = {2}}, {.rows = 5, .blocks = {-1}}, {.rows = 5, .blocks = {0.5}}, {.rows = 5, .blocks = {1, 1}}}) {
    EXPECT_NE(problem(bad).find("memory.blocks"), std::string::npos);
  }
  EXPECT_NE(problem({.rows = 100'000'000'000, .heads = 64, .width = 65536}).find("memory.rows"), std::string::npos);
  EXPECT_EQ(problem({.rows = 0, .orders = {}, .blocks = {99}}), "") << "off";
}

TEST(MemoryConfig, CountsParametersAndFlops) {
  const Config plain = tiny_config("grouped");
  const Config config = with_memory("grouped", {.rows = 1000, .orders = {2, 3}, .heads = 2, .blocks = {0, 1}});
  const Transformer model(config, 1);
  EXPECT_EQ(model.parameters().count(), Transformer(plain, 1).parameters().count() + 2) << "two scales";
  EXPECT_EQ(model.parameters().table_count(), 4 * 1000 * 32);
  const double before = training_flops_per_position(plain, 16);
  EXPECT_DOUBLE_EQ(training_flops_per_position(config, 16), before + 8 * 4 * 32 + 6 * 2 * 32);
  EXPECT_DOUBLE_EQ(training_flops_per_position(config, 16, 3), before + 3 * 8 * 4 * 32 + 6 * 2 * 32);
  EXPECT_DOUBLE_EQ(training_flops_per_position(plain, 16, 3), before);
  const Config projected = with_memory("grouped", {.rows = 1000, .orders = {2}, .into = "values", .width = 5, .gate = true});
  EXPECT_EQ(matmul_parameters(projected), matmul_parameters(plain) + 5 * 12);
  EXPECT_DOUBLE_EQ(training_flops_per_position(projected, 16), before + 6 * 5 * 12 + 8 * 5 + 39 * 12);
}

std::string error_of(const std::function<void()>& act, ErrorKind kind = ErrorKind::kData) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return std::string(error.what()) + " " + error.hint();
  }
  return "no error";
}

TEST(MemoryFiles, RoundTrip) {
  at::NoGradGuard no_grad;
  for (const std::string& shape : kShapes) {
    for (const MemoryConfig& memory : kMemories) {
      const text::TemporaryFolder folder;
      Transformer model(with_memory(shape, memory), 4);
      fill(model);
      save_model(model, {.eos = 7}, folder.path());
      const Json json = Json::parse(read_file(folder / "config.json"));
      EXPECT_EQ(json["model_type"], "entrain");
      EXPECT_EQ(json["base_model_type"], model.config().family);
      EXPECT_FALSE(json.contains("architectures"));
      for (const auto& [name, tensor] : read_safetensors(folder / "model.safetensors")) EXPECT_FALSE(is_memory_name(name));
      const Transformer again = load_model(folder.path());
      EXPECT_EQ(again.config(), model.config());
      EXPECT_TRUE(at::equal(again.hidden(random_ids({2, 8})), model.hidden(random_ids({2, 8})))) << shape;
    }
  }
}

TEST(MemoryFiles, RefusesWhatIsCraftedOrMissing) {
  const text::TemporaryFolder folder;
  Transformer model(with_memory("llama", kMemories[0]), 4);
  save_model(model, {}, folder.path());
  const Json sound = Json::parse(read_file(folder / "config.json"));
  const auto changed = [&](const std::string& key, const Json& value) {
    Json json = sound;
    json["memory"][key] = value;
    return error_of([&] { from_config_json(json.dump(), "c.json"); });
  };
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"rows", 0}, {"rows", -1}, {"rows", int64_t{1} << 60}, {"rows", "many"}, {"orders", Json::array()}, {"orders", {2, 1e9}}, {"orders", 3},
                                                                            {"heads", 0}, {"heads", 1000000}, {"blocks", {7}}, {"blocks", {-1}}, {"into", "keys"}, {"width", -4}, {"width", 1 << 30}, {"width", 0},
                                                                            {"sign", 3}, {"gate", nullptr}, {"lr", -1.0}}) {
    EXPECT_NE(changed(key, value).find("c.json"), std::string::npos) << key << " " << value;
  }
  EXPECT_EQ(changed("rows", 51), "no error");
  Json json = sound;
  json["base_model_type"] = "mamba";
  EXPECT_NE(error_of([&] { from_config_json(json.dump(), "c.json"); }).find("mamba"), std::string::npos);
  json = sound;
  json.erase("memory");
  EXPECT_NE(error_of([&] { from_config_json(json.dump(), "c.json"); }).find("c.json"), std::string::npos);

  json = sound;
  json["memory"]["rows"] = int64_t{1} << 33;  // a terabyte that the file does not hold
  write_file(folder / "config.json", json.dump());
  EXPECT_NE(error_of([&] { load_model(folder.path()); }).find("of another shape memory."), std::string::npos);
  write_file(folder / "config.json", sound.dump());
  load_model(folder.path());
  fs::remove(folder / "memory.safetensors");
  EXPECT_NE(error_of([&] { load_model(folder.path()); }, ErrorKind::kIo).find("memory.safetensors"), std::string::npos);
}

TEST(Export, IsTheModelWithoutItsMemory) {
  at::NoGradGuard no_grad;
  const text::TemporaryFolder folder;
  make_folder(folder / "run");
  Transformer model(with_memory("qwen3", kMemories[0]), 4);
  const Transformer plain(tiny_config("qwen3"), 4);
  fill(model);
  save_model(model, {.eos = 7}, folder / "run");
  text::TokenizerParts bytes{.tokens = {}, .merges = {}, .pattern = text::named_pattern("gpt2"), .special_ids = {}};
  for (const unsigned char byte : text::bytes_in_alphabet_order()) bytes.tokens.emplace_back(1, static_cast<char>(byte));
  text::Tokenizer::from_parts(bytes).save(folder / "run" / "tokenizer.json");
  using interchange::export_huggingface, interchange::MemoryPolicy;
  const std::string refusal = error_of([&] { export_huggingface(folder / "run", folder / "out", {}); }, ErrorKind::kUsage);
  for (const char* way : {"entrain distill", "--drop-memory"}) EXPECT_NE(refusal.find(way), std::string::npos) << refusal;
  EXPECT_FALSE(fs::exists(folder / "out"));
  export_huggingface(folder / "run", folder / "out", {.memory = MemoryPolicy::kDrop});
  EXPECT_EQ(read_file(folder / "out" / "config.json"), to_config_json(plain.config(), {.eos = 7}));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "out"), {}), 4);  // with tokenizer_config.json
  EXPECT_TRUE(at::equal(load_model(folder / "out").hidden(random_ids({1, 8})), plain.hidden(random_ids({1, 8}))));
  EXPECT_NE(error_of([&] { export_huggingface(folder / "run", folder / "out", {.memory = MemoryPolicy::kDrop}); }, ErrorKind::kUsage).find("exists"), std::string::npos);
  // A plain model is copied as it is.
  save_model(plain, {}, folder / "run");
  export_huggingface(folder / "run", folder / "copy/", {});
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"}) EXPECT_EQ(read_file(folder / "copy" / file), read_file(folder / "run" / file));
}

}  // namespace
}  // namespace entrain::model
