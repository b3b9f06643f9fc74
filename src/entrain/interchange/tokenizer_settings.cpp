#include "entrain/interchange/tokenizer_settings.h"

#include <algorithm>
#include <array>

#include "entrain/base/error.h"
#include "entrain/base/foreign_json.h"

namespace entrain::interchange {
namespace {

constexpr const char* kTemplateFile = "chat_template.jinja";
constexpr const char* kTemplateFolder = "additional_chat_templates";
constexpr const char* kGenerationFile = "generation_config.json";

/// Member and key in tokenizer_config.json of each role.
constexpr std::array<std::pair<int64_t TokenizerSettings::*, const char*>, 4> kRoles{{{&TokenizerSettings::bos, "bos_token"}, {&TokenizerSettings::eos, "eos_token"},
                                                                                    {&TokenizerSettings::pad, "pad_token"}, {&TokenizerSettings::unk, "unk_token"}}};

OrderedJson parse_file(const fs::path& path) {
  try {
    OrderedJson json = parse_foreign<OrderedJson>(read_file(path));
    if (!json.is_object()) throw Error(ErrorKind::kData, path.string() + " is no JSON object", "copy it again from where the model came from");
    return json;
  } catch (const OrderedJson::exception& error) {
    throw Error(ErrorKind::kData, path.string() + " does not parse: " + error.what(), "copy it again from where the model came from");
  }
}

/// A token is spelled out, or an object that spells it.
std::string spelling_of(const OrderedJson& token) {
  if (token.is_string()) return token.get<std::string>();
  return token.is_object() && token.contains("content") && token["content"].is_string() ? token["content"].get<std::string>() : "";
}

/// A key's id, or ids where it lists several; what cannot be one is passed over.
std::vector<int64_t> ids_of(const OrderedJson& object, const char* key) {
  if (!object.contains(key)) return {};
  const OrderedJson& value = object[key];
  std::vector<int64_t> ids;
  for (const OrderedJson& one : value.is_array() ? value : OrderedJson::array({value})) {
    if (one.is_number_unsigned() && one.get<uint64_t>() <= INT32_MAX) ids.push_back(one.get<int64_t>());
  }
  return ids;
}

/// Older folders keep templates in tokenizer_config.json: one text, or a list of {name, template}.
void read_templates(const OrderedJson& value, std::map<std::string, std::string>& out) {
  if (value.is_string()) out["default"] = value.get<std::string>();
  if (!value.is_array()) return;
  for (const OrderedJson& one : value) {
    if (one.is_object() && one.contains("name") && one.contains("template") && one["name"].is_string() && one["template"].is_string()) out[one["name"]] = one["template"];
  }
}

/// Sampling defaults as they were; the ids are those of the settings.
std::string generation_file(const TokenizerSettings& settings) {
  OrderedJson generation = settings.generation_config.empty() ? OrderedJson::object() : OrderedJson::parse(settings.generation_config);
  if (settings.bos >= 0) generation["bos_token_id"] = settings.bos;
  const std::vector<int32_t> eos = settings.eos_ids();
  if (eos.size() == 1) generation["eos_token_id"] = eos.front();
  if (eos.size() > 1) generation["eos_token_id"] = eos;
  if (settings.pad >= 0) generation["pad_token_id"] = settings.pad;
  return generation.dump(2) + "\n";
}

/// A template's name becomes a file's.
void check_name(const std::string& name) {
  const bool good = !name.empty() && name.size() <= 64 && name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == std::string::npos;
  if (!good) throw Error(ErrorKind::kData, "a chat template is called '" + name + "', which cannot be a file's name", "rename it to letters, digits, - and _");
}

}  // namespace

std::vector<int32_t> TokenizerSettings::eos_ids() const {
  if (eos < 0) return {};
  std::vector<int32_t> ids{static_cast<int32_t>(eos)};
  for (const int64_t id : more_eos) ids.push_back(static_cast<int32_t>(id));
  return ids;
}

void set_eos(TokenizerSettings& settings, const std::vector<int64_t>& ids, const text::Tokenizer& tokenizer) {
  const auto exists = [&](int64_t id) { return id >= 0 && id < tokenizer.vocab_size(); };
  if (!exists(settings.eos)) settings.eos = tokenizer.eos_id().value_or(-1);
  for (const int64_t id : ids) {
    if (!exists(id) || id == settings.eos || std::find(settings.more_eos.begin(), settings.more_eos.end(), id) != settings.more_eos.end()) continue;
    (settings.eos < 0 ? settings.eos : settings.more_eos.emplace_back()) = id;
  }
}

TokenizerSettings read_settings(const fs::path& folder, const text::Tokenizer& tokenizer) {
  TokenizerSettings settings;
  std::vector<int64_t> eos;
  if (fs::exists(folder / "config.json")) {
    const OrderedJson config = parse_file(folder / "config.json");
    const auto id = [&](const char* key) {
      const std::vector<int64_t> ids = ids_of(config, key);
      return ids.empty() ? -1 : ids.front();
    };
    settings.bos = id("bos_token_id");
    settings.eos = id("eos_token_id");
    settings.pad = id("pad_token_id");
    eos = ids_of(config, "eos_token_id");
  }
  if (fs::exists(folder / kGenerationFile)) {
    const OrderedJson generation = parse_file(folder / kGenerationFile);
    settings.generation_config = generation.dump();
    if (const std::vector<int64_t> ids = ids_of(generation, "eos_token_id"); !ids.empty()) eos = ids;
  }
  settings.add_bos = tokenizer.spelling().bos_id.has_value();
  if (fs::exists(folder / "tokenizer_config.json")) {
    const OrderedJson config = parse_file(folder / "tokenizer_config.json");
    for (const auto& [role, key] : kRoles) {
      if (!config.contains(key)) continue;
      const auto id = tokenizer.token_id(spelling_of(config[key]));
      if (id) settings.*role = *id;
    }
    if (config.contains("add_bos_token") && config["add_bos_token"].is_boolean()) settings.add_bos = config["add_bos_token"].get<bool>();
    if (config.contains("chat_template")) read_templates(config["chat_template"], settings.chat_templates);
  }
  if (fs::exists(folder / kTemplateFile)) settings.chat_templates["default"] = read_file(folder / kTemplateFile);
  if (fs::is_directory(folder / kTemplateFolder)) {
    for (const auto& file : fs::directory_iterator(folder / kTemplateFolder)) {
      if (file.path().extension() == ".jinja") settings.chat_templates[file.path().stem().string()] = read_file(file.path());
    }
  }
  set_eos(settings, eos, tokenizer);
  for (const auto& [role, key] : kRoles) {
    if (settings.*role >= tokenizer.vocab_size()) settings.*role = -1;
  }
  return settings;
}

std::map<std::string, std::string> settings_files(const TokenizerSettings& settings, const text::Tokenizer& tokenizer, int64_t context) {
  const std::vector<std::string> spellings = tokenizer.spelling().tokens;
  OrderedJson config{{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}, {"model_max_length", context}, {"add_bos_token", settings.add_bos}};
  for (const auto& [role, key] : kRoles) {
    if (settings.*role >= 0) config[key] = spellings.at(static_cast<size_t>(settings.*role));
  }
  std::map<std::string, std::string> files{{"tokenizer_config.json", config.dump(2) + "\n"}};
  if (!settings.generation_config.empty() || !settings.more_eos.empty()) files[kGenerationFile] = generation_file(settings);
  for (const auto& [name, text] : settings.chat_templates) {
    check_name(name);
    files[name == "default" ? kTemplateFile : std::string(kTemplateFolder) + "/" + name + ".jinja"] = text;
  }
  return files;
}

void write_settings(const fs::path& folder, const std::map<std::string, std::string>& files) {
  for (const auto& [name, text] : files) {
    make_folder((folder / name).parent_path());
    write_file(folder / name, text);
  }
}

}  // namespace entrain::interchange
