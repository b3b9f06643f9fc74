#include "entrain/model/config.h"

#include "entrain/base/error.h"
#include "tiny_model.h"

namespace entrain::model {
namespace {

TEST(ModelConfig, DerivesWhatIsLeftOut) {
  Config llama{.width = 96, .heads = 4};
  llama.resolve();
  EXPECT_EQ(llama.kv_heads, 4);
  EXPECT_EQ(llama.head_width, 24);
  EXPECT_EQ(llama.mlp_width, 256);  // 8/3 x 96
  EXPECT_EQ(llama.activation, "silu");
  Config odd{.width = 100, .heads = 5};
  odd.resolve();
  EXPECT_EQ(odd.mlp_width, 288);  // 266.7, up to a multiple of 32
  Config gpt2{.family = "gpt2", .width = 96, .heads = 4};
  gpt2.resolve();
  EXPECT_EQ(gpt2.mlp_width, 384);
  EXPECT_EQ(gpt2.activation, "gelu_tanh");
  Config again = gpt2;
  again.resolve();
  EXPECT_EQ(again, gpt2) << "resolving twice changes nothing";
}

TEST(ModelConfig, ListsEveryShapeThatCannotWork) {
  const auto problem = [](Config config) -> std::string {
    try {
      config.resolve();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "";
  };
  const auto contains = [](const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(contains(problem({.width = 4, .heads = 8}), "larger than model.width"));
  EXPECT_TRUE(contains(problem({.heads = 8, .kv_heads = 3}), "no multiple"));
  EXPECT_TRUE(contains(problem({.width = 30, .heads = 2}), "even"));
  for (const char* family : {"llama", "gpt2"}) {  // one reason, and no way out that Transformers or the family itself would refuse
    EXPECT_EQ(problem({.family = family, .width = 100, .heads = 3}), "the model's shape does not work: model.width (100) is no multiple of model.heads (3): change one of them");
  }
  EXPECT_TRUE(contains(problem({.family = "qwen3", .width = 100, .heads = 3}), "or set model.head_width"));
  EXPECT_EQ(problem({.family = "qwen3", .width = 100, .heads = 3, .head_width = 32}), "");
  EXPECT_TRUE(contains(problem({.head_init = "zero"}), "untied"));
  EXPECT_EQ(problem({.tied_head = false, .head_init = "zero"}), "");
  EXPECT_EQ(problem({.family = "gpt2", .width = 30, .heads = 2}), "") << "without rotation an odd head width works";
  const std::string several = problem({.family = "gpt2", .width = 64, .heads = 4, .kv_heads = 2, .head_width = 8, .activation = "silu"});
  for (const char* part : {"grouped-query", "width = heads", "gelu_tanh"}) EXPECT_TRUE(contains(several, part)) << several;
}

// N counted by hand, and against the weights of the models: matrices and the head, no norm, bias or mere look-up.
TEST(ModelConfig, CountsMatrixWeightsAndFlops) {
  // grouped: L = 2, C = 32, H D = 24, Hkv D = 12, F = 48, V = 100
  const Config grouped = tiny_config("grouped");
  EXPECT_EQ(matmul_parameters(grouped), 2 * (32 * 24 + 2 * 32 * 12 + 24 * 32 + 3 * 32 * 48) + 100 * 32);
  EXPECT_DOUBLE_EQ(training_flops_per_position(grouped, 16), 6.0 * matmul_parameters(grouped) + 12 * 2 * 24 * 16);
  const Config gpt2 = tiny_config("gpt2");
  EXPECT_EQ(matmul_parameters(gpt2), 2 * (4 * 32 * 32 + 2 * 32 * 48) + 100 * 32);
  for (const std::string& shape : kShapes) {
    const Config config = tiny_config(shape);
    const Transformer model(config, 1);
    int64_t n = 0, all = 0;
    for (const Weight& weight : model.parameters().weights()) {
      n += weight.role == Role::kMatrix ? weight.value.numel() : 0;
      all += weight.value.numel();
    }
    EXPECT_EQ(matmul_parameters(config), n + model.head().numel()) << shape;
    EXPECT_EQ(model.parameters().count(), all) << shape;
  }
}

}  // namespace
}  // namespace entrain::model
