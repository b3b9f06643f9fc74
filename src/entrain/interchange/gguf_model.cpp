#include "entrain/interchange/gguf_model.h"

#include <ATen/ATen.h>

#include <map>

#include "entrain/base/error.h"
#include "entrain/interchange/gguf_names.h"
#include "entrain/interchange/quantization.h"
#include "entrain/model/memory.h"
#include "entrain/model/weight_shapes.h"

namespace entrain::interchange {
namespace {

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

}  // namespace

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
