// tokenizer.json as parts, and parts as tokenizer.json. What decides ids is read in tokenizer.cpp.

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/text/byte_level.h"
#include "entrain/text/pretokenizer.h"
#include "entrain/text/tokenizer.h"

namespace entrain::text {
namespace {

OrderedJson byte_level(bool use_regex) { return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}}; }

OrderedJson pre_tokenizer(const std::string& pattern) {
  if (pattern == named_pattern("gpt2")) return byte_level(true);
  if (pattern == named_pattern("smollm")) {
    return {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)}}};
  }
  return {{"type", "Sequence"},
          {"pretokenizers", {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}}, byte_level(false)}}};
}

/// Puts one token before each text.
OrderedJson template_of(int32_t id, const std::string& token) {
  const auto special = [&](int type_id) { return OrderedJson{{"SpecialToken", {{"id", token}, {"type_id", type_id}}}}; };
  const auto sequence = [](const char* name, int type_id) { return OrderedJson{{"Sequence", {{"id", name}, {"type_id", type_id}}}}; };
  OrderedJson ids = OrderedJson::array({id}), tokens = OrderedJson::array({token});
  return {{"type", "TemplateProcessing"}, {"single", OrderedJson::array({special(0), sequence("A", 0)})},
          {"pair", OrderedJson::array({special(0), sequence("A", 0), special(1), sequence("B", 1)})},
          {"special_tokens", {{token, {{"id", token}, {"ids", ids}, {"tokens", tokens}}}}}};
}

/// The id that a post-processor puts before a text; nothing where it puts none.
std::optional<int32_t> leading_id(const Json& processor) {
  if (!processor.is_object()) return {};
  const std::string type = processor.value("type", "");
  if (type == "Sequence") {
    for (const Json& one : processor.at("processors")) {
      if (const auto id = leading_id(one)) return id;
    }
  }
  if (type != "TemplateProcessing" || processor.at("single").empty() || !processor.at("single").at(0).contains("SpecialToken")) return {};
  const Json& token = processor.at("special_tokens").at(processor.at("single").at(0).at("SpecialToken").at("id").get<std::string>());
  return token.at("ids").at(0).get<int32_t>();
}

}  // namespace

Tokenizer Tokenizer::from_parts(const TokenizerParts& parts) {
  TokenizerSpelling spelling{.tokens = {}, .merges = {}, .pattern = parts.pattern, .added = {}};
  for (const std::string& token : parts.tokens) spelling.tokens.push_back(to_byte_level(token));
  for (const int32_t id : parts.special_ids) {
    spelling.tokens.at(static_cast<size_t>(id)) = parts.tokens.at(static_cast<size_t>(id));
    spelling.added.push_back({id, true});
  }
  for (const auto& [left, right] : parts.merges) spelling.merges.emplace_back(spelling.tokens.at(static_cast<size_t>(left)), spelling.tokens.at(static_cast<size_t>(right)));
  return from_spelling(spelling);
}

Tokenizer Tokenizer::from_spelling(const TokenizerSpelling& spelling, const std::string& name) {
  OrderedJson document = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", OrderedJson::array()}, {"normalizer", nullptr}};
  if (spelling.normalizes) document["normalizer"] = {{"type", "NFC"}};
  for (const auto& [id, special] : spelling.added) {
    document["added_tokens"].push_back({{"id", id}, {"content", spelling.tokens.at(static_cast<size_t>(id))}, {"single_word", false}, {"lstrip", false},
                                        {"rstrip", false}, {"normalized", false}, {"special", special}});
  }
  document["decoder"] = byte_level(true);
  document["pre_tokenizer"] = pre_tokenizer(spelling.pattern);
  document["post_processor"] = nullptr;
  if (spelling.bos_id) document["post_processor"] = template_of(*spelling.bos_id, spelling.tokens.at(static_cast<size_t>(*spelling.bos_id)));
  OrderedJson& model = document["model"];
  model = {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr}, {"end_of_word_suffix", nullptr},
           {"fuse_unk", false}, {"byte_fallback", false}, {"ignore_merges", spelling.ignore_merges}, {"vocab", OrderedJson::object()}, {"merges", OrderedJson::array()}};
  auto& vocab = model["vocab"].get_ref<OrderedJson::object_t&>();  // operator[] would search the whole vocabulary
  for (size_t id = 0; id < spelling.tokens.size(); ++id) {
    if (!spelling.tokens[id].empty()) vocab.push_back({spelling.tokens[id], static_cast<int64_t>(id)});
  }
  for (const auto& [left, right] : spelling.merges) model["merges"].push_back({left, right});
  try {
    std::string text = document.dump(1);
    document = nullptr;  // as large as what parse() makes
    return parse(std::move(text), name);
  } catch (const OrderedJson::type_error& error) {
    throw Error(ErrorKind::kData, name + " holds a token that is no UTF-8 text: " + error.what(), "use another copy of the model");
  }
}

TokenizerSpelling Tokenizer::spelling() const try {
  const Json document = Json::parse(to_json());  // sorted: keys that keep their order take a search of the whole vocabulary each
  const Json& model = document.at("model");
  TokenizerSpelling out{.tokens = std::vector<std::string>(static_cast<size_t>(vocab_size())), .merges = {}, .pattern = pattern(), .added = {}};
  for (const auto& [token, id] : model.at("vocab").items()) out.tokens.at(id.get<size_t>()) = token;
  out.merges.reserve(model.at("merges").size());
  for (const Json& merge : model.at("merges")) {
    if (merge.is_array()) {
      out.merges.emplace_back(merge.at(0).get<std::string>(), merge.at(1).get<std::string>());
      continue;
    }
    const std::string both = merge.get<std::string>();
    const size_t space = both.find(' ');
    out.merges.emplace_back(both.substr(0, space), both.substr(space + 1));
  }
  if (document.contains("added_tokens")) {
    for (const Json& token : document["added_tokens"]) {
      const auto id = token.at("id").get<int32_t>();
      out.tokens.at(static_cast<size_t>(id)) = token.at("content").get<std::string>();
      out.added.push_back({id, token.value("special", false)});
    }
  }
  const auto present = [](const Json& object, const char* key) { return object.contains(key) && !object.at(key).is_null(); };
  out.normalizes = present(document, "normalizer");
  out.ignore_merges = present(model, "ignore_merges") && model["ignore_merges"].get<bool>();
  if (present(document, "post_processor")) out.bos_id = leading_id(document["post_processor"]);
  if (out.bos_id && (*out.bos_id < 0 || *out.bos_id >= vocab_size())) throw Error(ErrorKind::kData, "the post-processor of tokenizer.json adds an id that no token has");
  return out;
} catch (const Json::exception& error) {
  throw Error(ErrorKind::kData, std::string("tokenizer.json cannot be taken apart: ") + error.what(), "download or train the tokenizer again");
}

}  // namespace entrain::text
