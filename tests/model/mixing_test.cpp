#include "entrain/model/mixing.h"

#include <torch/csrc/autograd/autograd.h>

#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "entrain/model/huggingface.h"
#include "tiny_model.h"

namespace entrain::model {
namespace {

Config mixing_config(const std::string& shape = "llama") {
  Config config = tiny_config(shape);
  config.mixing = {.blocks = {0, 1}, .width = 8, .features = 16};
  return config;
}

/// A model whose gate has opened.
Transformer open_model(const std::string& shape = "llama") {
  Transformer model(mixing_config(shape), 1);
  at::NoGradGuard no_grad;
  for (const Weight& weight : model.parameters().weights()) {
    if (weight.name == "mixing.gate") weight.value.fill_(0.7);
  }
  return model;
}

TEST(Mixing, StartsAsThePlainModel) {
  const Transformer plain(tiny_config("llama"), 1), mixing(mixing_config(), 1);
  const Tensor ids = random_ids({2, 16});
  EXPECT_TRUE(at::equal(plain.hidden(ids), mixing.hidden(ids)));
  EXPECT_FALSE(at::allclose(plain.hidden(ids), open_model().hidden(ids), 1e-3, 1e-3));
}

TEST(Mixing, LogitsDoNotSeeLaterTokens) {
  for (const std::string shape : {"llama", "gpt2"}) {
    const Transformer model = open_model(shape);
    const Tensor ids = random_ids({2, 16});
    Tensor changed = ids.clone();
    changed.slice(1, 9) = (changed.slice(1, 9) + 1) % 100;
    EXPECT_TRUE(at::equal(model.hidden(ids).slice(1, 0, 9), model.hidden(changed).slice(1, 0, 9))) << shape;
    EXPECT_FALSE(at::allclose(model.hidden(ids).slice(1, 10), model.hidden(changed).slice(1, 10), 1e-3, 1e-3)) << shape;
  }
}

TEST(Mixing, PrefixSumsAreTheDirectSums) {
  const Tensor phi = at::rand({2, 150, 5}, at::kDouble), u = at::randn({2, 150, 3}, at::kDouble);
  Tensor state;
  const Tensor sums = causal_feature_sums(phi, u, state);
  const Tensor direct = at::bmm(at::bmm(phi, phi.transpose(1, 2)).tril(-1), u);
  EXPECT_LT((sums - direct).abs().max().item<double>(), 1e-11);
  // In two goes with the state between them.
  Tensor carried;
  const Tensor first = causal_feature_sums(phi.narrow(1, 0, 71), u.narrow(1, 0, 71), carried), rest = causal_feature_sums(phi.narrow(1, 71, 79), u.narrow(1, 71, 79), carried);
  EXPECT_LT((at::cat({first, rest}, 1) - direct).abs().max().item<double>(), 1e-11);
  EXPECT_LT((state - carried).abs().max().item<double>(), 1e-11);
}

TEST(Mixing, CachedPassesAgree) {
  at::NoGradGuard no_grad;
  const Transformer model = open_model();
  const Tensor ids = random_ids({1, 12});
  KvCache cache;
  Forward forward;
  forward.cache = &cache;
  std::vector<Tensor> parts{model.hidden(ids.narrow(1, 0, 5), forward)};
  for (int64_t i = 5; i < 12; ++i) parts.push_back(model.hidden(ids.narrow(1, i, 1), forward));
  EXPECT_TRUE(at::allclose(at::cat(parts, 1), model.hidden(ids), 1e-4, 1e-5));
}

TEST(Mixing, StaysInsideASegment) {
  const Transformer model = open_model();
  const Tensor ids = random_ids({1, 16});
  Forward forward;
  forward.segments = at::zeros({1, 16}, at::kInt);
  EXPECT_TRUE(at::allclose(model.hidden(ids, forward), model.hidden(ids), 1e-4, 1e-5));
  forward.segments.slice(1, 8) = 1;
  Tensor changed = ids.clone();
  changed.slice(1, 0, 8) = (changed.slice(1, 0, 8) + 1) % 100;
  EXPECT_TRUE(at::equal(model.hidden(ids, forward).slice(1, 8), model.hidden(changed, forward).slice(1, 8)));
}

TEST(Mixing, GateLearnsFromZero) {
  Transformer model(mixing_config(), 1);
  model.hidden(random_ids({2, 16})).square().sum().backward();
  for (const Weight& weight : model.parameters().weights()) {
    if (weight.name == "mixing.gate") {
      EXPECT_GT(model.parameters().gradient(weight).abs().max().item<double>(), 0);
    }
  }
}

TEST(Mixing, SavesAndLoads) {
  const text::TemporaryFolder folder;
  fs::create_directories(folder / "model");
  const Transformer model = open_model();
  save_model(model, {}, folder / "model");
  const Transformer loaded = load_model(folder / "model");
  const Tensor ids = random_ids({2, 16});
  EXPECT_EQ(loaded.config().mixing, model.config().mixing);
  EXPECT_TRUE(at::equal(model.hidden(ids), loaded.hidden(ids)));
  EXPECT_NE(read_file(folder / "model" / "config.json").find("\"model_type\": \"entrain\""), std::string::npos);
}

TEST(Mixing, BadBlocksNameTheFix) {
  Config config = mixing_config();
  config.mixing.blocks = {2};
  config.mixing.width = 64;
  try {
    config.resolve();
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("blocks 0 to 1"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("mixing.width"), std::string::npos);
  }
}

}  // namespace
}  // namespace entrain::model
