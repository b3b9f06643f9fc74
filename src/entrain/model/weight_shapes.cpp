#include "entrain/model/weight_shapes.h"

#include <algorithm>
#include <cstdio>

#include "entrain/base/error.h"

namespace entrain::model {
namespace {

using Sizes = std::vector<int64_t>;

/// Transformers' name of a gpt2 part of `out` numbers: its matrix (in, out), its bias.
void add_affine(Shapes& shapes, const std::string& name, int64_t in, int64_t out) {
  shapes[name + ".weight"] = {in, out};
  shapes[name + ".bias"] = {out};
}

void add_layer_norm(Shapes& shapes, const std::string& name, int64_t width) { shapes[name + ".weight"] = shapes[name + ".bias"] = {width}; }

/// What is not as it should be.
struct Unfit {
  std::vector<std::string> missing, misshapen;

  void compare(const Shapes& expected, const Shapes& stored, const InFile& in_file) {
    for (const auto& [weight, sizes] : expected) {
      const auto [name, shape] = in_file(weight, sizes);
      const auto found = stored.find(name);
      if (found == stored.end()) {
        missing.push_back(name);
      } else if (found->second != shape) {
        misshapen.push_back(name);
      }
    }
  }

  void check(std::string message, const std::string& hint) const {
    if (missing.empty() && misshapen.empty()) return;
    if (!missing.empty()) message += " missing " + joined(missing) + ";";
    if (!misshapen.empty()) message += " of another shape " + joined(misshapen) + ";";
    message.pop_back();
    throw Error(ErrorKind::kData, message, hint);
  }
};

}  // namespace

Shapes block_shapes(const Config& c, int64_t layer) {
  const std::string name = block_prefix(c, layer);
  Shapes shapes;
  if (c.is_gpt2()) {
    add_layer_norm(shapes, name + "ln_1", c.width);
    add_affine(shapes, name + "attn.c_attn", c.width, 3 * c.width);
    add_affine(shapes, name + "attn.c_proj", c.width, c.width);
    add_layer_norm(shapes, name + "ln_2", c.width);
    add_affine(shapes, name + "mlp.c_fc", c.width, c.mlp_width);
    add_affine(shapes, name + "mlp.c_proj", c.mlp_width, c.width);
    return shapes;
  }
  for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"}) shapes[name + norm] = {c.width};
  shapes[name + "self_attn.q_proj.weight"] = {c.query_width(), c.width};
  shapes[name + "self_attn.k_proj.weight"] = shapes[name + "self_attn.v_proj.weight"] = {c.kv_width(), c.width};
  shapes[name + "self_attn.o_proj.weight"] = {c.width, c.query_width()};
  shapes[name + "mlp.gate_proj.weight"] = shapes[name + "mlp.up_proj.weight"] = {c.mlp_width, c.width};
  shapes[name + "mlp.down_proj.weight"] = {c.width, c.mlp_width};
  if (c.has_qk_norm()) shapes[name + "self_attn.q_norm.weight"] = shapes[name + "self_attn.k_norm.weight"] = {c.head_width};
  return shapes;
}

Shapes outer_shapes(const Config& c) {
  Shapes shapes;
  if (c.is_gpt2()) {
    shapes["transformer.wte.weight"] = {c.vocab_size, c.width};
    shapes["transformer.wpe.weight"] = {c.context, c.width};
    add_layer_norm(shapes, "transformer.ln_f", c.width);
  } else {
    shapes["model.embed_tokens.weight"] = {c.vocab_size, c.width};
    shapes["model.norm.weight"] = {c.width};
  }
  if (!c.tied_head) shapes["lm_head.weight"] = {c.vocab_size, c.width};
  return shapes;
}

Shapes memory_shapes(const Config& c) {
  Shapes shapes;
  if (c.memory.is_on()) {
    const MemoryConfig& m = c.memory;
    const int64_t n_blocks = std::ssize(m.blocks), target = c.memory_target_width();
    for (const double order : m.orders) {
      for (int64_t head = 0; head < m.heads; ++head) shapes["memory." + std::to_string(static_cast<int64_t>(order)) + "-gram." + std::to_string(head) + ".rows"] = {m.rows, m.width};
    }
    shapes["memory.scale"] = {n_blocks};
    if (m.gate) shapes["memory.gate"] = {n_blocks, target};
    if (m.width != target) shapes["memory.projection"] = {target, m.width};
  }
  if (c.mixing.is_on()) {
    const int64_t n_blocks = std::ssize(c.mixing.blocks);
    shapes["mixing.projection"] = {n_blocks * c.mixing.width, c.width};
    shapes["mixing.gate"] = {n_blocks, c.width};
  }
  return shapes;
}

double weight_count(const Config& c) {
  const auto number = [](int64_t size) { return static_cast<double>(size); };
  const double attention = number(c.width) * 2 * (number(c.heads) + number(c.kv_heads)) * number(c.head_width);
  const double feed_forward = (c.is_gpt2() ? 2 : 3) * number(c.width) * number(c.mlp_width);
  const double embedding = number(c.vocab_size) * number(c.width);
  return number(c.layers) * (attention + feed_forward) + embedding * (c.tied_head ? 1 : 2) + (c.is_gpt2() ? number(c.context) * number(c.width) : 0);
}

void check_weights_fit(const Config& config, double n_bytes, double bytes_per_weight, const std::string& name) {
  const double needed = weight_count(config) * bytes_per_weight;
  if (needed <= n_bytes) return;
  char numbers[96];
  std::snprintf(numbers, sizeof numbers, "%.0f weights, more than %.0f bytes of weights can hold", weight_count(config), n_bytes);
  throw Error(ErrorKind::kData, name + " describes a model of " + numbers, "the weights were cut short or belong to another model; take config.json and model.safetensors, or the GGUF file, of one model and whole");
}

void check_stored(const Config& config, const Shapes& stored, const InFile& in_file, const std::string& message, const std::string& hint) {
  Unfit unfit;
  unfit.compare(outer_shapes(config), stored, in_file);
  const int64_t n_blocks = std::min(config.layers, static_cast<int64_t>(stored.size()) + 1);
  for (int64_t layer = 0; layer < n_blocks; ++layer) unfit.compare(block_shapes(config, layer), stored, in_file);
  unfit.check(message, hint);
}

void check_memory_stored(const Config& config, const Shapes& stored, const std::string& message, const std::string& hint) {
  Unfit unfit;
  unfit.compare(memory_shapes(config), stored, [](const std::string& name, const Sizes& shape) { return std::pair(name, shape); });
  unfit.check(message, hint);
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 5; ++i) text += (i ? ", " : "") + names[i];
  return names.size() > 5 ? text + " and " + std::to_string(names.size() - 5) + " more" : text;
}

}  // namespace entrain::model
