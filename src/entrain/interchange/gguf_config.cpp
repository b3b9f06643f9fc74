#include "entrain/interchange/gguf_config.h"

#include <algorithm>
#include <charconv>

#include "entrain/base/error.h"
#include "entrain/interchange/gguf_names.h"
#include "entrain/model/weight_shapes.h"

namespace entrain::interchange {
namespace {

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

}  // namespace entrain::interchange
