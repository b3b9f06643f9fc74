#include "entrain/model/config.h"

#include <vector>

#include "entrain/base/error.h"

namespace entrain::model {

void Config::bind(config::Binder& b) {
  b.section("model", "The shape of the model. 0 or an empty text means: derived from the other values.");
  b.bind("family", &family, "architecture, as Transformers names it; `qwen3` is `llama` with normalised queries and keys")
      .one_of({"llama", "qwen3", "gpt2"});
  b.bind("width", &width, "C, width of the residual stream").range(1, 65536);
  b.bind("layers", &layers, "L, number of blocks").range(1, 1024);
  b.bind("heads", &heads, "H, query heads").range(1, 1024);
  b.bind("kv_heads", &kv_heads, "key/value heads (grouped-query attention); derived: as many as `heads`").range(0, 1024);
  b.bind("head_width", &head_width, "D, width of a head; derived: width / heads").range(0, 4096);
  b.bind("mlp_width", &mlp_width, "inner width of the feed-forward part; derived: 8/3 width to the next multiple of 32, gpt2: 4 width")
      .range(0, 1 << 20);
  b.bind("context", &context, "T, positions the model is trained on in one row").range(1, 1 << 20);
  b.bind("vocab_size", &vocab_size, "V; derived: the tokenizer's").range(0, 1 << 24);
  b.bind("tied_head", &tied_head, "one matrix serves as embedding and head");
  b.bind("activation", &activation, "of the feed-forward part; derived: silu, gpt2: gelu_tanh").one_of({"", "silu", "gelu_tanh", "relu2"});
  b.bind("norm_eps", &norm_eps, "added to the mean square in norms").range(0, 1);
  b.bind("rope_theta", &rope_theta, "base of the rotary embedding's wavelengths").range(1, 1e12);
  b.bind("init_std", &init_std, "standard deviation of initial weights; those that write into the residual stream are divided by sqrt(2L)").range(0, 10);
  b.bind("head_init", &head_init, "`zero` starts an untied head at zero, so the first loss is exactly ln V").one_of({"normal", "zero"});
  b.bind("dropout", &dropout, "share of the attention's and feed-forward part's outputs dropped in training").range(0, 0.95);
  memory.bind(b);
  mixing.bind(b);
  lora.bind(b);
}

void Config::resolve() {
  const bool whole_heads = head_width > 0 || width < heads || width % heads == 0;
  if (kv_heads == 0) kv_heads = heads;
  if (head_width == 0) head_width = width / heads;
  if (mlp_width == 0) mlp_width = is_gpt2() ? 4 * width : (8 * width / 3 + 31) / 32 * 32;
  if (activation.empty()) activation = is_gpt2() ? "gelu_tanh" : "silu";
  std::vector<std::string> problems;
  const auto need = [&](bool good, const std::string& problem) {
    if (!good) problems.push_back(problem);
  };
  need(head_width > 0, "model.heads is larger than model.width: set fewer heads or model.head_width");
  need(whole_heads, "model.width (" + std::to_string(width) + ") is no multiple of model.heads (" + std::to_string(heads) + "): change one of them" + (family == "qwen3" ? ", or set model.head_width" : ""));
  need(heads % kv_heads == 0, "model.heads (" + std::to_string(heads) + ") is no multiple of model.kv_heads (" + std::to_string(kv_heads) + ")");
  need(!whole_heads || is_gpt2() || head_width % 2 == 0, "rotary embedding needs an even model.head_width, is " + std::to_string(head_width));
  need(!is_gpt2() || kv_heads == heads, "gpt2 has no grouped-query attention: leave model.kv_heads at 0");
  need(!whole_heads || !is_gpt2() || head_width * heads == width, "gpt2 needs width = heads x head_width");
  need(!is_gpt2() || activation == "gelu_tanh", "gpt2 uses the activation gelu_tanh");
  need(head_init == "normal" || !tied_head, "model.head_init = \"zero\" needs an untied head: set model.tied_head = false");
  for (const std::string& problem : memory.resolve(layers, memory_target_width())) problems.push_back(problem);
  for (const std::string& problem : mixing.problems(layers, width)) problems.push_back(problem);
  if (problems.empty()) return;
  std::string message = "the model's shape does not work:";
  for (const std::string& problem : problems) message += problems.size() == 1 ? " " + problem : "\n  - " + problem;
  throw Error(ErrorKind::kUsage, message);
}

int64_t matmul_parameters(const Config& c) {
  const int64_t attention = c.width * (2 * c.query_width() + 2 * c.kv_width());
  const int64_t feed_forward = (c.is_gpt2() ? 2 : 3) * c.width * c.mlp_width;
  return c.layers * (attention + feed_forward) + c.vocab_size * c.width + projection_parameters(c.memory, c.memory_target_width());
}

double training_flops_per_position(const Config& c, int64_t context, int64_t bag) {
  return (c.lora.is_on() ? 4.0 : 6.0) * static_cast<double>(matmul_parameters(c)) + 6.0 * static_cast<double>(lora_parameters(c)) +
         12.0 * static_cast<double>(c.layers * c.query_width()) * static_cast<double>(context) + memory_flops_per_position(c.memory, c.memory_target_width(), bag) +
         mixing_flops_per_position(c.mixing, c.width);
}

}  // namespace entrain::model
