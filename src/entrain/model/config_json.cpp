#include "entrain/model/config_json.h"

#include <map>

#include "entrain/base/error.h"
#include "entrain/base/foreign_json.h"
#include "entrain/model/weight_shapes.h"

namespace entrain::model {
namespace {

constexpr const char* kOwnModelType = "entrain";

const std::map<std::string, std::string> kActivationNames{{"silu", "silu"}, {"gelu_tanh", "gelu_pytorch_tanh"}, {"relu2", "relu2"}};

std::string activation_from(const std::string& name) {
  for (const auto& [ours, theirs] : kActivationNames) {
    if (theirs == name) return ours;
  }
  if (name == "gelu_new") return "gelu_tanh";
  throw Error(ErrorKind::kData, "the activation " + name + " is not supported", "supported: silu, gelu_pytorch_tanh, gelu_new, relu2");
}

OrderedJson memory_to_json(const MemoryConfig& m) {
  return {{"rows", m.rows}, {"orders", m.orders}, {"heads", m.heads}, {"blocks", m.blocks}, {"into", m.into}, {"width", m.width}, {"sign", m.sign}, {"gate", m.gate}, {"lr", m.lr}};
}

/// Throws Error{kData} for values no model has.
MemoryConfig memory_from_json(const OrderedJson& json, const std::string& name) {
  MemoryConfig m{.rows = json.at("rows"), .orders = json.at("orders"), .heads = json.at("heads"), .blocks = json.at("blocks"), .into = json.at("into"), .width = json.at("width"),
                 .sign = json.at("sign"), .gate = json.at("gate"), .lr = json.at("lr")};
  const bool possible = m.rows >= 1 && m.rows <= int64_t{100'000'000'000} && m.heads >= 1 && m.heads <= 64 && m.width >= 1 && m.width <= 65536 &&
                        (m.into == "residual" || m.into == "values") && m.lr >= 0 && m.lr <= 100;
  if (!possible) throw Error(ErrorKind::kData, name + " describes an impossible memory: " + json.dump());
  return m;
}

OrderedJson mixing_to_json(const MixingConfig& m) { return {{"blocks", m.blocks}, {"width", m.width}, {"features", m.features}, {"temperature", m.temperature}}; }

MixingConfig mixing_from_json(const OrderedJson& json, const std::string& name) {
  MixingConfig m{.blocks = json.at("blocks"), .width = json.at("width"), .features = json.at("features"), .temperature = json.at("temperature")};
  const bool possible = m.width >= 2 && m.width <= 65536 && m.features >= 1 && m.features <= 1 << 20 && m.temperature >= 0.25 && m.temperature <= 100;
  if (!possible) throw Error(ErrorKind::kData, name + " describes an impossible mixing: " + json.dump());
  return m;
}

OrderedJson lora_to_json(const LoraConfig& l) { return {{"rank", l.rank}, {"alpha", l.alpha}, {"targets", l.targets}, {"dropout", l.dropout}, {"rslora", l.rslora}, {"base", l.base}}; }

LoraConfig lora_from_json(const OrderedJson& json, const std::string& name) {
  LoraConfig l{.rank = json.at("rank"), .alpha = json.at("alpha"), .targets = json.at("targets"), .dropout = json.at("dropout"), .rslora = json.at("rslora"), .base = json.at("base")};
  const bool possible = l.rank >= 1 && l.rank <= 65536 && l.alpha > 0 && l.alpha <= 1e6 && l.dropout >= 0 && l.dropout < 1;
  if (!possible) throw Error(ErrorKind::kData, name + " describes impossible adapters: " + json.dump());
  return l;
}

}  // namespace

std::string to_config_json(const Config& c, const SpecialIds& ids, const std::string& dtype) {
  OrderedJson json;
  if (c.is_gpt2()) {
    json = {{"architectures", {"GPT2LMHeadModel"}}, {"model_type", "gpt2"}, {"n_embd", c.width}, {"n_layer", c.layers}, {"n_head", c.heads},
            {"n_inner", c.mlp_width}, {"n_positions", c.context}, {"n_ctx", c.context}, {"activation_function", "gelu_new"},
            {"layer_norm_epsilon", c.norm_eps}, {"attn_pdrop", 0.0}, {"embd_pdrop", 0.0}, {"resid_pdrop", c.dropout}};
  } else {
    const bool qwen3 = c.family == "qwen3";
    json = {{"architectures", {qwen3 ? "Qwen3ForCausalLM" : "LlamaForCausalLM"}}, {"model_type", c.family}, {"hidden_size", c.width},
            {"num_hidden_layers", c.layers}, {"num_attention_heads", c.heads}, {"num_key_value_heads", c.kv_heads}, {"head_dim", c.head_width},
            {"intermediate_size", c.mlp_width}, {"hidden_act", kActivationNames.at(c.activation)}, {"max_position_embeddings", c.context},
            {"rms_norm_eps", c.norm_eps}, {"rope_theta", c.rope_theta}, {"attention_bias", false}, {"attention_dropout", 0.0}};
    json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", c.rope_theta}};
    if (!qwen3) json["mlp_bias"] = false;
    if (qwen3) json["use_sliding_window"] = false;
  }
  json["vocab_size"] = c.vocab_size;
  json["tie_word_embeddings"] = c.tied_head;
  json["initializer_range"] = c.init_std;
  const int64_t bos = ids.bos >= 0 ? ids.bos : ids.eos;
  json["bos_token_id"] = bos >= 0 ? OrderedJson(bos) : OrderedJson(nullptr);
  json["eos_token_id"] = ids.eos >= 0 ? OrderedJson(ids.eos) : OrderedJson(nullptr);
  if (!ids.more_eos.empty()) {
    json["eos_token_id"] = {ids.eos};
    for (const int64_t id : ids.more_eos) json["eos_token_id"].push_back(id);
  }
  if (ids.pad >= 0) json["pad_token_id"] = ids.pad;
  json["torch_dtype"] = dtype;
  json["use_cache"] = true;
  if (c.is_own()) {  // a model type of our own, so that other programs refuse it where they would leave parts out
    json["base_model_type"] = json["model_type"];
    json["model_type"] = kOwnModelType;
    json.erase("architectures");
    if (c.memory.is_on()) json["memory"] = memory_to_json(c.memory);
    if (c.mixing.is_on()) json["mixing"] = mixing_to_json(c.mixing);
    if (c.lora.is_on()) json["lora"] = lora_to_json(c.lora);
  }
  return json.dump(2) + "\n";
}

Config from_config_json(const std::string& text, const std::string& name) {
  Config c;
  try {
    const OrderedJson json = parse_foreign<OrderedJson>(text);
    c.family = json.at("model_type").get<std::string>();
    if (c.family == kOwnModelType) {
      c.family = json.at("base_model_type").get<std::string>();
      if (json.contains("memory")) c.memory = memory_from_json(json["memory"], name);
      if (json.contains("mixing")) c.mixing = mixing_from_json(json["mixing"], name);
      if (json.contains("lora")) c.lora = lora_from_json(json["lora"], name);
      if (!c.is_own()) throw Error(ErrorKind::kData, name + " has the model type entrain but neither a memory nor mixing nor adapters");
    }
    std::vector<std::string> unsupported;
    const auto flag = [&](const char* key) {
      if (json.contains(key) && json[key].is_boolean() && json[key].get<bool>()) unsupported.push_back(key);
    };
    const auto integer = [&](const char* key, int64_t fallback) {
      return json.contains(key) && json[key].is_number() ? json[key].get<int64_t>() : fallback;
    };
    if (c.is_gpt2()) {
      c.width = json.at("n_embd");
      c.layers = json.at("n_layer");
      c.heads = json.at("n_head");
      c.mlp_width = integer("n_inner", 4 * c.width);
      c.context = json.at("n_positions");
      c.activation = activation_from(json.value("activation_function", "gelu_new"));
      c.norm_eps = json.value("layer_norm_epsilon", 1e-5);
      for (const char* key : {"scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"}) flag(key);
      if (!json.value("scale_attn_weights", true)) unsupported.push_back("scale_attn_weights false");
    } else if (c.family == "llama" || c.family == "qwen3") {
      c.width = json.at("hidden_size");
      c.layers = json.at("num_hidden_layers");
      c.heads = json.at("num_attention_heads");
      c.kv_heads = integer("num_key_value_heads", c.heads);
      c.head_width = integer("head_dim", c.family == "qwen3" ? 128 : 0);
      c.mlp_width = json.at("intermediate_size");
      c.context = json.at("max_position_embeddings");
      c.activation = activation_from(json.value("hidden_act", "silu"));
      c.norm_eps = json.value("rms_norm_eps", 1e-6);
      OrderedJson rope = OrderedJson::object();
      for (const char* key : {"rope_parameters", "rope_scaling"}) {
        if (json.contains(key) && !json[key].is_null()) rope = json[key];
      }
      c.rope_theta = rope.contains("rope_theta") ? rope["rope_theta"].get<double>() : json.value("rope_theta", 10000.0);
      const std::string type = rope.value("rope_type", rope.value("type", "default"));
      if (type != "default") unsupported.push_back("rope_type " + type);
      if (rope.value("partial_rotary_factor", json.value("partial_rotary_factor", 1.0)) != 1.0) unsupported.push_back("partial_rotary_factor");
      for (const char* key : {"attention_bias", "mlp_bias", "use_sliding_window"}) flag(key);
      for (const OrderedJson& layer : json.value("layer_types", OrderedJson::array())) {
        if (layer != "full_attention") unsupported.push_back("layer_types " + layer.dump());
      }
    } else {
      throw Error(ErrorKind::kData, name + " is a model of the family " + c.family, "supported: llama, qwen3, gpt2");
    }
    if (json.contains("quantization_config")) unsupported.push_back("quantization_config");
    if (!unsupported.empty()) throw Error(ErrorKind::kData, name + " uses what this program does not have: " + joined(unsupported));
    c.vocab_size = json.at("vocab_size");
    c.tied_head = json.value("tie_word_embeddings", c.is_gpt2());
    c.init_std = json.value("initializer_range", 0.02);
  } catch (const OrderedJson::exception& error) {
    throw Error(ErrorKind::kData, name + " is not a usable config.json: " + error.what());
  }
  const int64_t largest = int64_t{1} << 24;
  for (const int64_t size : {c.width, c.layers, c.heads, c.vocab_size, c.context, c.mlp_width}) {
    if (size < 1 || size > largest) throw Error(ErrorKind::kData, name + " holds an impossible size: " + std::to_string(size));
  }
  for (const int64_t size : {c.kv_heads, c.head_width}) {  // 0: derived
    if (size < 0 || size > largest) throw Error(ErrorKind::kData, name + " holds an impossible size: " + std::to_string(size));
  }
  try {
    c.resolve();
  } catch (const Error& error) {
    throw Error(ErrorKind::kData, name + " describes a model that cannot be: " + error.what());
  }
  const std::vector<std::string> problems = lora_problems(c);
  if (!problems.empty()) throw Error(ErrorKind::kData, name + " describes adapters that cannot work: " + joined(problems));
  return c;
}

SpecialIds special_ids(const std::string& text, const std::string& name) {
  try {
    const OrderedJson json = parse_foreign<OrderedJson>(text);
    const auto id = [&](const char* key) -> int64_t {
      OrderedJson value = json.value(key, OrderedJson());
      if (value.is_array() && !value.empty()) value = OrderedJson(value.front());
      return value.is_number_integer() ? value.get<int64_t>() : -1;
    };
    SpecialIds ids{.eos = id("eos_token_id"), .bos = id("bos_token_id"), .pad = id("pad_token_id")};
    const OrderedJson eos = json.value("eos_token_id", OrderedJson());
    for (size_t i = 1; eos.is_array() && i < eos.size(); ++i) ids.more_eos.push_back(eos[i].get<int64_t>());
    return ids;
  } catch (const OrderedJson::exception& error) {
    throw Error(ErrorKind::kData, name + " is not a usable config.json: " + error.what());
  }
}

}  // namespace entrain::model
