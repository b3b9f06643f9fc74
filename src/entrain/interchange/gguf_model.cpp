#include "entrain/interchange/gguf_model.h"

#include <ATen/ATen.h>

#include <charconv>
#include <map>

#include "entrain/base/error.h"
#include "entrain/interchange/quantization.h"
#include "entrain/model/huggingface.h"
#include "entrain/model/memory.h"
#include "entrain/model/weight_shapes.h"

namespace entrain::interchange {
namespace {

constexpr const char* kNoWholeModel = " holds no whole model of its architecture:";
constexpr const char* kNoWholeModelHint = "take a file of one of the architectures llama, qwen3 and gpt2, without additions";

/// How a weight lies in the file, beside how Transformers lays it out.
enum class Layout {
  kSame,
  kTransposed,  ///< gpt2's matrices: (in, out) here, (out, in) there
  kRotary,      ///< llama's queries and keys: the two halves that a rotation mixes alternate there
};

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

struct Place {
  std::string name;
  Layout layout;
};

/// Where a weight under Transformers' name stands in the file.
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

/// (H D, in): within each head from halves to alternating rows.
Tensor alternated(const Tensor& rows, int64_t head_width) { return rows.view({-1, 2, head_width / 2, rows.size(1)}).transpose(1, 2).reshape(rows.sizes()); }
/// The inverse.
Tensor halved(const Tensor& rows, int64_t head_width) { return rows.view({-1, head_width / 2, 2, rows.size(1)}).transpose(1, 2).reshape(rows.sizes()); }

Tensor to_file(const Tensor& weight, Layout layout, int64_t head_width) {
  if (layout == Layout::kTransposed) return weight.t().contiguous();
  return layout == Layout::kRotary ? alternated(weight.contiguous(), head_width) : weight.contiguous();
}

Tensor from_file(const Tensor& numbers, Layout layout, int64_t head_width) {
  if (layout == Layout::kTransposed) return numbers.t();
  return layout == Layout::kRotary ? halved(numbers, head_width) : numbers;
}

/// The decimal that a float32 was written from: 1e-5, not 9.99999974737875e-6.
double decimal(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, static_cast<float>(value)).ptr;
  double out = value;
  std::from_chars(text, end, out);
  return out;
}

const GgufTensor* find_tensor(const GgufReader& file, const std::string& name) {
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

/// Settings under the architecture's prefix that change what a model computes and that no model here has.
std::vector<std::string> unsupported_settings(const GgufReader& file, const std::string& prefix, int64_t head_width) {
  std::vector<std::string> found;
  const std::string scaling = file.text(prefix + "rope.scaling.type").value_or("none");
  if (scaling != "none") found.push_back("rotary scaling " + scaling);
  if (find_tensor(file, "rope_freqs.weight") != nullptr) found.push_back("scaled rotary frequencies (rope_freqs)");
  for (const char* key : {"expert_count", "attention.sliding_window"}) {
    if (file.integer(prefix + key).value_or(0) != 0) found.push_back(prefix + key);
  }
  for (const char* key : {"rope.scale_linear", "rope.scaling.factor", "logit_scale", "residual_scale", "embedding_scale"}) {
    if (const double value = file.number(prefix + key).value_or(1.0); value != 1.0 && value != 0.0) found.push_back(prefix + key);
  }
  if (file.number(prefix + "attention.scale").value_or(0.0) != 0.0) found.push_back(prefix + "attention.scale");
  if (file.integer(prefix + "rope.dimension_count").value_or(head_width) != head_width) found.push_back("rotary embedding of a part of each head");
  if (file.integer(prefix + "attention.value_length").value_or(head_width) != head_width) found.push_back("values of another width than keys");
  if (!file.flag(prefix + "attention.causal").value_or(true)) found.push_back("attention that is not causal");
  return found;
}

Tensor numbers_of(const GgufTensor& tensor) {
  const Tensor out = at::empty(tensor.shape, at::kFloat);
  dequantize(tensor.type, tensor.data, {out.data_ptr<float>(), static_cast<size_t>(out.numel())});
  return out;
}

/// The type a weight is written in.
GgmlType type_of(const std::vector<int64_t>& shape, const std::string& name, GgmlType wanted) {
  if (shape.size() < 2 || name.starts_with("position_embd")) return GgmlType::kF32;
  return shape.back() % block_shape(wanted).n_numbers == 0 ? wanted : GgmlType::kF16;
}

uint32_t file_type(GgmlType type) {  // general.file_type: what most tensors are
  switch (type) {
    case GgmlType::kF16: return 1;
    case GgmlType::kQ8_0: return 7;
    case GgmlType::kBF16: return 32;
    default: return 0;
  }
}

void add_shape(GgufWriter& writer, const model::Config& c, GgmlType type) {
  const std::string prefix = c.family + ".";
  const auto set = [&](const char* key, int64_t value) { writer.set_integer(prefix + key, static_cast<uint32_t>(value)); };
  writer.set_text("general.architecture", c.family);
  writer.set_text("general.name", "entrain " + c.family);
  writer.set_integer("general.file_type", file_type(type));
  if (type == GgmlType::kQ8_0) writer.set_integer("general.quantization_version", 2);
  set("context_length", c.context);
  set("embedding_length", c.width);
  set("block_count", c.layers);
  set("feed_forward_length", c.mlp_width);
  set("attention.head_count", c.heads);
  if (c.is_gpt2()) {
    writer.set_number(prefix + "attention.layer_norm_epsilon", static_cast<float>(c.norm_eps));
    return;
  }
  set("attention.head_count_kv", c.kv_heads);
  set("attention.key_length", c.head_width);
  set("attention.value_length", c.head_width);
  set("rope.dimension_count", c.head_width);
  set("vocab_size", c.vocab_size);
  writer.set_number(prefix + "attention.layer_norm_rms_epsilon", static_cast<float>(c.norm_eps));
  writer.set_number(prefix + "rope.freq_base", static_cast<float>(c.rope_theta));
}

/// Throws Error{kData} where a weight of the configuration is missing or of another shape.
void check_tensors(const GgufReader& file, const model::Config& config) {
  model::Shapes stored;
  for (const GgufTensor& tensor : file.tensors()) stored.emplace(tensor.name, tensor.shape);
  const auto in_file = [&](const std::string& name, std::vector<int64_t> shape) {
    const Place place = place_of(name, config);
    if (place.layout == Layout::kTransposed) std::swap(shape[0], shape[1]);
    return std::pair(place.name, std::move(shape));
  };
  model::check_stored(config, stored, in_file, file.name() + kNoWholeModel, kNoWholeModelHint);
}

}  // namespace

model::Config gguf_config(const GgufReader& file) {
  model::Config c;
  const auto family = file.text("general.architecture");
  if (!family) file.corrupt("it lacks general.architecture");
  if (*family != "llama" && *family != "qwen3" && *family != "gpt2") {
    throw Error(ErrorKind::kData, file.name() + " is a model of the architecture " + *family, "supported: llama, qwen3, gpt2");
  }
  c.family = *family;
  const std::string prefix = c.family + ".";
  const auto size = [&](const std::string& key, std::optional<int64_t> fallback) {
    const auto value = file.integer(prefix + key);
    if (!value && !fallback) file.corrupt("it lacks " + prefix + key);
    const int64_t n = value.value_or(fallback.value_or(0));
    if (n < 1 || n > int64_t{1} << 24) file.corrupt(prefix + key + " is " + std::to_string(n));
    return n;
  };
  c.width = size("embedding_length", {});
  c.layers = size("block_count", {});
  c.heads = size("attention.head_count", {});
  c.kv_heads = size("attention.head_count_kv", c.heads);
  c.head_width = size("attention.key_length", std::max<int64_t>(c.width / c.heads, 1));
  c.mlp_width = size("feed_forward_length", {});
  c.context = size("context_length", {});
  const GgufTensor* embedding = find_tensor(file, "token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2 || embedding->shape[0] > int64_t{1} << 24) file.corrupt("it has no matrix token_embd.weight of a usable size");
  c.vocab_size = embedding->shape[0];
  c.tied_head = find_tensor(file, "output.weight") == nullptr;
  c.norm_eps = decimal(file.number(prefix + (c.is_gpt2() ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon")).value_or(1e-5));
  c.rope_theta = decimal(file.number(prefix + "rope.freq_base").value_or(10000.0));
  if (!(c.norm_eps >= 0 && c.norm_eps <= 1) || !(c.rope_theta >= 1 && c.rope_theta <= 1e12)) file.corrupt("its norms or rotary embedding have impossible settings");
  const std::vector<std::string> unsupported = unsupported_settings(file, prefix, c.head_width);
  if (!unsupported.empty()) throw Error(ErrorKind::kData, file.name() + " uses what this program does not have: " + model::joined(unsupported), "take a model without it");
  c.resolve();
  double n_bytes = 0;
  for (const GgufTensor& tensor : file.tensors()) n_bytes += static_cast<double>(tensor.data.size());
  model::check_weights_fit(c, n_bytes, 0.5, file.name());  // the smallest type takes 18 bytes for 32 numbers
  check_tensors(file, c);
  return c;
}

void load_gguf_weights(model::Transformer& model, const GgufReader& file) {
  at::NoGradGuard no_grad;
  std::map<std::string, const GgufTensor*> tensors;
  for (const GgufTensor& tensor : file.tensors()) tensors.emplace(tensor.name, &tensor);
  std::vector<std::string> missing, misshapen, surplus;
  const int64_t head_width = model.config().head_width;
  for (const model::Weight& weight : model.parameters().weights()) {
    if (model::is_memory_name(weight.name) || weight.role == model::Role::kAdapter) continue;
    const Place place = place_of(weight.name, model.config());
    const auto found = tensors.find(place.name);
    if (found == tensors.end()) {
      missing.push_back(place.name);
      continue;
    }
    std::vector<int64_t> shape = weight.value.sizes().vec();
    if (place.layout == Layout::kTransposed) std::swap(shape[0], shape[1]);
    if (found->second->shape != shape) {
      misshapen.push_back(place.name);
    } else {
      weight.value.copy_(from_file(numbers_of(*found->second), place.layout, head_width));
    }
    tensors.erase(found);
  }
  for (const auto& [name, tensor] : tensors) surplus.push_back(name);
  if (missing.empty() && misshapen.empty() && surplus.empty()) return;
  std::string message = file.name() + kNoWholeModel;
  if (!missing.empty()) message += " missing " + model::joined(missing) + ";";
  if (!misshapen.empty()) message += " of another shape " + model::joined(misshapen) + ";";
  if (!surplus.empty()) message += " unexpected " + model::joined(surplus) + ";";
  message.pop_back();
  throw Error(ErrorKind::kData, message, kNoWholeModelHint);
}

void add_model(GgufWriter& writer, const model::Transformer& model, GgmlType type) {
  const model::Config& c = model.config();
  const std::string own = c.is_gpt2() ? "gelu_tanh" : "silu";
  if (c.activation != own) throw Error(ErrorKind::kUsage, "GGUF has no " + c.family + " with the activation " + c.activation + ", only with " + own, "export it with --format hf");
  add_shape(writer, c, type);
  for (const model::Weight& weight : model.parameters().weights()) {
    if (model::is_memory_name(weight.name)) continue;
    const Place place = place_of(weight.name, c);
    std::vector<int64_t> shape = weight.value.sizes().vec();
    if (place.layout == Layout::kTransposed) std::swap(shape[0], shape[1]);
    const GgmlType stored = type_of(shape, place.name, type);
    writer.add_tensor(place.name, stored, shape, [value = weight.value, layout = place.layout, head_width = c.head_width, stored] {
      const Tensor numbers = to_file(value, layout, head_width);
      return quantize(stored, {numbers.data_ptr<float>(), static_cast<size_t>(numbers.numel())});
    });
  }
}

}  // namespace entrain::interchange
