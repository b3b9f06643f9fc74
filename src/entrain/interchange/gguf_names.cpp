#include "entrain/interchange/gguf_names.h"

#include <span>

#include "entrain/base/error.h"

namespace entrain::interchange {
namespace {

struct Naming {
  const char *here, *there;
  Layout layout = Layout::kSame;
};

constexpr Naming kLlamaTop[] = {{"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
constexpr Naming kLlamaBlock[] = {{"input_layernorm", "attn_norm"}, {"self_attn.q_proj", "attn_q", Layout::kRotary}, {"self_attn.k_proj", "attn_k", Layout::kRotary},
                                  {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
                                  {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"}, {"mlp.gate_proj", "ffn_gate"},
                                  {"mlp.up_proj", "ffn_up"}, {"mlp.down_proj", "ffn_down"}};
constexpr Naming kGpt2Top[] = {{"transformer.wte", "token_embd"}, {"transformer.wpe", "position_embd"}, {"transformer.ln_f", "output_norm"}, {"lm_head", "output"}};
constexpr Naming kGpt2Block[] = {{"ln_1", "attn_norm"}, {"attn.c_attn", "attn_qkv", Layout::kTransposed}, {"attn.c_proj", "attn_output", Layout::kTransposed},
                                 {"ln_2", "ffn_norm"}, {"mlp.c_fc", "ffn_up", Layout::kTransposed}, {"mlp.c_proj", "ffn_down", Layout::kTransposed}};

}  // namespace

Place place_of(const std::string& weight, const model::Config& config) {
  const size_t dot = weight.rfind('.');
  std::string stem = weight.substr(0, dot), prefix;
  const std::string ending = weight.substr(dot);  // ".weight" or ".bias"
  const std::string blocks = config.is_gpt2() ? "transformer.h." : "model.layers.";
  const bool in_block = stem.starts_with(blocks);
  if (in_block) {
    const size_t end = stem.find('.', blocks.size());
    prefix = "blk." + stem.substr(blocks.size(), end - blocks.size()) + ".";
    stem = stem.substr(end + 1);
  }
  const auto table = config.is_gpt2() ? (in_block ? std::span<const Naming>(kGpt2Block) : kGpt2Top) : (in_block ? std::span<const Naming>(kLlamaBlock) : kLlamaTop);
  for (const Naming& naming : table) {
    if (stem != naming.here) continue;
    const bool as_it_is = ending == ".bias" || (naming.layout == Layout::kRotary && config.family != "llama");  // qwen3 rotates halves there too
    return {prefix + naming.there + ending, as_it_is ? Layout::kSame : naming.layout};
  }
  ENTRAIN_CHECK(false, "no GGUF name for " + weight);
}

}  // namespace entrain::interchange
