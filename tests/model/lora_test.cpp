#include "entrain/model/lora.h"

#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "../ops/gradients.h"
#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "entrain/model/adapter.h"
#include "entrain/model/generate.h"
#include "entrain/model/huggingface.h"
#include "tiny_model.h"

namespace entrain::model {
namespace {

Config lora_config(const std::string& shape, std::vector<std::string> targets = {"all-linear"}, int64_t rank = 4) {
  Config config = tiny_config(shape);
  config.lora = {.rank = rank, .alpha = 6, .targets = std::move(targets)};
  return config;
}

/// Adapters that add something: B is no longer zero.
Transformer open_model(const Config& config) {
  Transformer model(config, 1);
  at::NoGradGuard no_grad;
  uint64_t seed = 0;
  for (const Weight& weight : model.parameters().weights()) {
    if (weight.name.ends_with(".lora_B.weight")) weight.value.normal_(0, 0.3, at::make_generator<at::CPUGeneratorImpl>(++seed));
  }
  return model;
}

Transformer merged(const Transformer& model) {
  const text::TemporaryFolder folder;
  save_model(model, {}, folder.path());
  return load_model(folder.path());
}

Tensor value_of(const Transformer& model, const std::string& name) {
  for (const Weight& weight : model.parameters().weights()) {
    if (weight.name == name) return weight.value;
  }
  ADD_FAILURE() << "no weight " << name;
  return {};
}

/// One target, several with gaps between them in the fused matrices, and all.
std::vector<std::vector<std::string>> target_sets(const std::string& shape) {
  if (shape == "gpt2") return {{"c_attn"}, {"c_proj"}, {"mlp.c_proj", "c_fc"}, {"all-linear"}};
  return {{"k_proj"}, {"q_proj", "v_proj"}, {"v_proj", "up_proj"}, {"o_proj", "gate_proj"}, {"mlp.down_proj"}, {"all-linear"}};
}

TEST(Lora, StartsAsTheModelAlone) {
  const Tensor ids = random_ids({2, 16});
  for (const std::string& shape : kShapes) {
    const Transformer plain(tiny_config(shape), 1);
    for (const auto& targets : target_sets(shape)) EXPECT_TRUE(at::equal(Transformer(lora_config(shape, targets), 1).hidden(ids), plain.hidden(ids))) << shape << " " << targets[0];
  }
}

// W x + B A x against (W + B A) x: float32 sums in another order, two blocks deep, on states of size 1.
TEST(Lora, AddsWhatTheMergedWeightsAdd) {
  const Tensor ids = random_ids({2, 16}), bags = random_ids({2, 24});
  const Tensor segments = at::arange(16, at::kInt).div(5, "floor").to(at::kInt).expand({2, 16}).contiguous();
  for (const std::string& shape : kShapes) {
    const Transformer plain(tiny_config(shape), 1);
    for (const auto& targets : target_sets(shape)) {
      const Transformer adapted = open_model(lora_config(shape, targets)), whole = merged(adapted);
      EXPECT_FALSE(whole.config().lora.is_on());
      EXPECT_FALSE(at::allclose(adapted.hidden(ids), plain.hidden(ids), 1e-2, 1e-2)) << "nothing was added";
      Forward in_bags, in_segments;
      in_bags.bag = 3;
      in_segments.segments = segments;
      EXPECT_LT((adapted.hidden(ids) - whole.hidden(ids)).abs().max().item<double>(), 1e-5) << shape << " " << targets[0];
      EXPECT_LT((adapted.hidden(bags, in_bags) - whole.hidden(bags, in_bags)).abs().max().item<double>(), 1e-5) << shape << " " << targets[0];
      EXPECT_LT((adapted.hidden(ids, in_segments) - whole.hidden(ids, in_segments)).abs().max().item<double>(), 1e-5) << shape << " " << targets[0];
    }
  }
}

TEST(Lora, RankStabilisedScale) {
  Config config = lora_config("llama");
  EXPECT_EQ(config.lora.scale(), 1.5);
  config.lora.rslora = true;
  EXPECT_EQ(config.lora.scale(), 3.0);
  const Transformer adapted = open_model(config);
  const Tensor ids = random_ids({1, 8});
  EXPECT_LT((adapted.hidden(ids) - merged(adapted).hidden(ids)).abs().max().item<double>(), 1e-5);
}

TEST(Lora, CachedGenerationIsThatOfTheMergedModel) {
  const std::vector<int32_t> prompt{5, 17, 3};
  for (const std::string& shape : kShapes) {
    const Transformer adapted = open_model(lora_config(shape));
    const auto ours = generate(adapted, prompt, {.n_tokens = 10, .temperature = 0}, {});
    EXPECT_EQ(ours, generate(merged(adapted), prompt, {.n_tokens = 10, .temperature = 0}, {})) << shape;
    EXPECT_EQ(ours.size(), 10u);
  }
}

TEST(Lora, ThePlainFormDefinesIt) {
  const Tensor y = at::randn({2, 3, 7}, at::kDouble), x = at::randn({2, 3, 5}, at::kDouble), a = at::randn({4, 5}, at::kDouble);
  const std::vector<Tensor> b{at::randn({2, 2}, at::kDouble), at::randn({3, 2}, at::kDouble)};  // outputs 1-2 and 4-6; 0 and 3 have none
  const Tensor got = add_low_rank(y, x, a, b, {1, 4}, 0.7);
  Tensor expected = y.clone();
  const std::vector<int64_t> begins{1, 4};
  for (int64_t n = 0; n < 6; ++n) {
    for (size_t part = 0; part < 2; ++part) {
      for (int64_t o = 0; o < b[part].size(0); ++o) {
        double sum = 0;
        for (int64_t r = 0; r < 2; ++r) {
          for (int64_t i = 0; i < 5; ++i) sum += b[part][o][r].item<double>() * a[static_cast<int64_t>(part) * 2 + r][i].item<double>() * x[n / 3][n % 3][i].item<double>();
        }
        expected[n / 3][n % 3][begins[part] + o] += 0.7 * sum;
      }
    }
  }
  EXPECT_LT((got - expected).abs().max().item<double>(), 1e-12);
}

TEST(Lora, GradientsMatchDifferences) {
  using ops::testing::normal;
  ops::testing::expect_gradients_match_differences([](const auto& in) { return add_low_rank(in[0], in[1], in[2], {in[3], in[4]}, {1, 4}, 0.7); },
                                                   {normal({2, 3, 7}), normal({2, 3, 5}, 1, 2), normal({4, 5}, 1, 3), normal({2, 2}, 1, 4), normal({3, 2}, 1, 5)});
  ops::testing::expect_gradients_match_differences([](const auto& in) { return add_low_rank(in[0], in[1], in[2], {in[3]}, {0}, 2.0); },
                                                   {normal({4, 3}), normal({4, 2}, 1, 2), normal({1, 2}, 1, 3), normal({3, 1}, 1, 4)});
}

// dB = s dW A^T and dA = s B^T dW, dW of the merged model; float32 sums of 32 positions.
TEST(Lora, GradientsAreThoseOfTheMergedMatrices) {
  const Tensor ids = random_ids({2, 16});
  for (const std::string& shape : kShapes) {
    Transformer adapted = open_model(lora_config(shape)), whole = merged(adapted);
    const Tensor upstream = ops::testing::normal({2, 16, 32});
    for (Transformer* model : {&adapted, &whole}) (model->hidden(ids) * upstream).sum().backward();
    std::map<std::string, Tensor> of_matrices;
    for (const Weight& weight : whole.parameters().weights()) of_matrices[weight.name] = whole.parameters().gradient(weight);
    int n_checked = 0;
    for (const Weight& weight : adapted.parameters().weights()) {
      const Tensor gradient = adapted.parameters().gradient(weight);
      EXPECT_EQ(gradient.defined(), weight.role == Role::kAdapter) << weight.name;
      if (!weight.name.ends_with(".lora_A.weight")) continue;
      const std::string stem = weight.name.substr(0, weight.name.size() - std::string(".lora_A.weight").size());
      const Tensor raw = of_matrices.at(stem + ".weight"), dw = shape == "gpt2" ? raw.t() : raw;
      const Tensor a = weight.value, b = value_of(adapted, stem + ".lora_B.weight");
      const Tensor expected = at::mm(b.t(), dw) * 1.5;
      EXPECT_LT((gradient - expected).abs().max().item<double>(), 1e-4 * expected.abs().max().item<double>()) << shape << " " << weight.name;
      for (const Weight& other : adapted.parameters().weights()) {
        if (other.name != stem + ".lora_B.weight") continue;
        const Tensor of_b = at::mm(dw, a.t()) * 1.5;
        EXPECT_LT((adapted.parameters().gradient(other) - of_b).abs().max().item<double>(), 1e-4 * of_b.abs().max().item<double>()) << shape << " " << other.name;
      }
      ++n_checked;
    }
    EXPECT_EQ(n_checked, shape == "gpt2" ? 8 : 14);
  }
}

TEST(Lora, StartsWithKaimingsRule) {
  Config config = lora_config("llama", {"all-linear"}, 16);
  const Transformer model(config, 1);
  for (const Weight& weight : model.parameters().weights()) {
    if (weight.role != Role::kAdapter) continue;
    if (weight.name.ends_with(".lora_B.weight")) {
      EXPECT_EQ(weight.value.abs().max().item<double>(), 0);
      continue;
    }
    const double bound = 1 / std::sqrt(static_cast<double>(weight.value.size(1)));
    EXPECT_LE(weight.value.abs().max().item<double>(), bound);
    EXPECT_NEAR(weight.value.std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound) << weight.name;  // of 512 or 768 draws
  }
  EXPECT_FALSE(at::equal(value_of(model, "model.layers.0.self_attn.q_proj.lora_A.weight"), value_of(model, "model.layers.1.self_attn.q_proj.lora_A.weight")));
  EXPECT_TRUE(at::equal(value_of(model, "model.layers.0.self_attn.q_proj.lora_A.weight"), value_of(Transformer(config, 1), "model.layers.0.self_attn.q_proj.lora_A.weight")));
}

TEST(Lora, CountsWhatIsTrained) {
  for (const std::string& shape : kShapes) {
    for (const auto& targets : target_sets(shape)) {
      const Config config = lora_config(shape, targets);
      const Transformer model(config, 1), plain(tiny_config(shape), 1);
      EXPECT_EQ(model.parameters().trained_count(), lora_parameters(config)) << shape;
      EXPECT_EQ(model.parameters().count(), plain.parameters().count() + lora_parameters(config)) << shape;
      EXPECT_EQ(plain.parameters().trained_count(), plain.parameters().count());
      const double whole = training_flops_per_position(tiny_config(shape), 16), frozen = training_flops_per_position(config, 16);
      EXPECT_DOUBLE_EQ(frozen, whole - 2.0 * static_cast<double>(matmul_parameters(config)) + 6.0 * static_cast<double>(lora_parameters(config)));
    }
  }
}

TEST(Lora, DropoutIsOfTheAdaptersInputInTrainingOnly) {
  Config config = lora_config("llama");
  config.lora.dropout = 0.5;
  const Transformer model = open_model(config), without = open_model(lora_config("llama"));
  const Tensor ids = random_ids({2, 16});
  EXPECT_TRUE(at::equal(model.hidden(ids), without.hidden(ids)));
  const auto training = [&](const Transformer& m, uint64_t seed) {
    RandomStream draws = stream(seed, "test");
    Forward forward;
    forward.dropout = &draws;
    return m.hidden(ids, forward);
  };
  EXPECT_TRUE(at::equal(training(model, 1), training(model, 1)));
  EXPECT_FALSE(at::allclose(training(model, 1), training(model, 2), 1e-3, 1e-3));
  EXPECT_TRUE(at::equal(training(Transformer(config, 1), 1), Transformer(tiny_config("llama"), 1).hidden(ids))) << "the frozen path drops nothing";
  RandomStream draws = stream(3, "test");
  const Tensor ones = at::ones({100, 100}), kept = dropped(ones, 0.25, &draws);
  EXPECT_NEAR(kept.mean().item<double>(), 1.0, 0.03);  // five standard errors of 10,000 draws
  EXPECT_NEAR(kept.max().item<double>(), 1 / 0.75, 1e-6);
  EXPECT_TRUE(at::equal(dropped(ones, 0.25, nullptr), ones));
}

TEST(Lora, SaysWhatCannotWork) {
  const auto problems = [](const std::string& shape, std::vector<std::string> targets, int64_t rank) {
    std::string all;
    for (const std::string& problem : lora_problems(lora_config(shape, std::move(targets), rank))) all += problem + "\n";
    return all;
  };
  EXPECT_EQ(problems("llama", {"q_proj"}, 32), "");
  EXPECT_EQ(problems("llama", {"no_such"}, 0), "") << "off";
  EXPECT_NE(problems("llama", {"q_proj", "c_attn"}, 4).find("lora.targets names \"c_attn\", the blocks of a llama have self_attn.q_proj"), std::string::npos);
  EXPECT_NE(problems("gpt2", {"q_proj"}, 4).find("attn.c_attn, attn.c_proj, mlp.c_fc, mlp.c_proj"), std::string::npos);
  EXPECT_NE(problems("llama", {"proj"}, 4).find("\"proj\""), std::string::npos) << "an end counts from a dot on";
  EXPECT_NE(problems("llama", {}, 4).find("empty"), std::string::npos);
  EXPECT_NE(problems("llama", {"q_proj"}, 33).find("lora.rank (33) is larger than the rank of self_attn.q_proj, 32 x 32"), std::string::npos);
  EXPECT_NE(problems("grouped", {"k_proj"}, 13).find("12 x 32"), std::string::npos);
}

TEST(Lora, FilesOfAdapters) {
  const Transformer model = open_model(lora_config("gpt2", {"attn.c_proj"}));
  const text::TemporaryFolder folder;
  save_model(model, {}, folder.path());
  const std::string config = read_file(folder.path() / "config.json");
  EXPECT_NE(config.find("\"model_type\": \"entrain\""), std::string::npos) << "no other program may leave the adapters out";
  EXPECT_EQ(from_config_json(config, "c"), [&] { Config c = model.config(); c.tied_head = true; return c; }());
  std::map<std::string, Tensor> stored;
  for (const auto& [name, tensor] : read_safetensors(folder.path() / kAdapterFile)) stored[name] = tensor;
  ASSERT_EQ(stored.size(), 4u);
  EXPECT_EQ(stored.at("base_model.model.transformer.h.1.attn.c_proj.lora_A.weight").sizes(), (at::IntArrayRef{4, 32}));
  EXPECT_EQ(stored.at("base_model.model.transformer.h.1.attn.c_proj.lora_B.weight").sizes(), (at::IntArrayRef{32, 4}));
  for (const auto& [name, tensor] : read_safetensors(folder.path() / "model.safetensors")) EXPECT_EQ(name.find("lora"), std::string::npos);

  Transformer back(model.config(), 2);
  load_weights(back, folder.path());
  load_adapter(back, folder.path());
  for (const Weight& weight : model.parameters().weights()) EXPECT_TRUE(at::equal(value_of(back, weight.name), weight.value)) << weight.name;

  const auto error_of = [&] {
    try {
      load_model(folder.path());
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  NamedTensors wrong(stored.begin(), stored.end());
  const std::string last = wrong.back().first;
  wrong.back().second = at::zeros({3, 4});
  write_safetensors(folder.path() / kAdapterFile, wrong);
  EXPECT_NE(error_of().find("of another shape " + last), std::string::npos) << error_of();
  wrong.pop_back();
  wrong.emplace_back("base_model.model.extra", at::zeros({1}));
  write_safetensors(folder.path() / kAdapterFile, wrong);
  EXPECT_NE(error_of().find("missing " + last), std::string::npos);
  EXPECT_NE(error_of().find("unexpected base_model.model.extra"), std::string::npos);
  fs::resize_file(folder.path() / kAdapterFile, 100);
  EXPECT_NE(error_of().find(kAdapterFile), std::string::npos);
  fs::remove(folder.path() / kAdapterFile);
  EXPECT_NE(error_of().find(kAdapterFile), std::string::npos);
  for (const char* bad : {"\"rank\": 0", "\"rank\": 33", "\"rank\": 99999999", "\"rank\": \"x\""}) {
    std::string text = config;
    text.replace(text.find("\"rank\": 4"), 9, bad);
    EXPECT_THROW(from_config_json(text, "c"), Error) << bad;
  }
}

}  // namespace
}  // namespace entrain::model
