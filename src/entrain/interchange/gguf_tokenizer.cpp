#include "entrain/interchange/gguf_tokenizer.h"

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/text/pretokenizer.h"

namespace entrain::interchange {
namespace {

const std::string kPrefix = "tokenizer.ggml.", kTemplate = "tokenizer.chat_template";
constexpr const char* kMoreEos[] = {"eot_token_id", "eom_token_id"};  // of a turn and of a message: llama.cpp stops at them too

/// What llama.cpp takes a token for.
enum TokenType : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

/// A value of tokenizer.ggml.pre and what it means; of equal meanings the first is written.
struct Splitting {
  const char *pre, *pattern;
  bool ignore_merges;
};
constexpr Splitting kSplittings[] = {{"gpt-2", "gpt2", false}, {"olmo", "gpt2", false}, {"llama-bpe", "llama3", true}, {"llama3", "llama3", true}, {"llama-v3", "llama3", true},
                                     {"smaug-bpe", "llama3", false}, {"dbrx", "llama3", false}, {"qwen2", "qwen2", false}, {"deepseek-r1-qwen", "qwen2", false},
                                     {"smollm", "smollm", false}, {"starcoder", "smollm", false}, {"command-r", "smollm", false}};

const Splitting& splitting_of(const GgufReader& file) {
  const std::string pre = file.text(kPrefix + "pre").value_or("");
  std::string known;
  for (const Splitting& one : kSplittings) {
    if (pre == one.pre) return one;
    known += (known.empty() ? "" : ", ") + std::string(one.pre);
  }
  throw Error(ErrorKind::kData, file.name() + (pre.empty() ? " does not say how its tokenizer splits text" : " splits text by " + pre + ", which this program does not know") + " (tokenizer.ggml.pre)",
              "known: " + known);
}

const Splitting& splitting_of(const text::TokenizerSpelling& spelling) {
  for (const Splitting& one : kSplittings) {
    if (spelling.pattern == text::named_pattern(one.pattern) && spelling.ignore_merges == one.ignore_merges) return one;
  }
  throw Error(ErrorKind::kUsage, "GGUF has no name for the way this tokenizer splits text", "export with --format hf; GGUF knows the patterns gpt2, llama3, qwen2 and smollm");
}

std::pair<std::string, std::string> merge_of(std::string_view both, const GgufReader& file) {
  const size_t space = both.find(' ', 1);
  if (space == std::string_view::npos) file.corrupt("the merge '" + std::string(both) + "' has no two parts");
  return {std::string(both.substr(0, space)), std::string(both.substr(space + 1))};
}

}  // namespace

text::Tokenizer gguf_tokenizer(const GgufReader& file) {
  const std::string model = file.text(kPrefix + "model").value_or("");
  if (model != "gpt2") {
    throw Error(ErrorKind::kData, file.name() + (model.empty() ? " has no tokenizer" : " has a tokenizer of the kind " + model) + " (tokenizer.ggml.model)",
                "only byte-level BPE, which GGUF calls gpt2, can be used");
  }
  const Splitting& splitting = splitting_of(file);
  text::TokenizerSpelling spelling{.tokens = {}, .merges = {}, .pattern = text::named_pattern(splitting.pattern), .added = {}, .ignore_merges = splitting.ignore_merges};
  for (const std::string_view token : file.texts(kPrefix + "tokens")) spelling.tokens.emplace_back(token);
  const std::vector<int64_t> types = file.integers(kPrefix + "token_type");
  if (!types.empty() && types.size() != spelling.tokens.size()) file.corrupt("its tokenizer has " + std::to_string(spelling.tokens.size()) + " tokens and " + std::to_string(types.size()) + " types of them");
  for (size_t id = 0; id < types.size(); ++id) {
    if (types[id] == kUnused) spelling.tokens[id].clear();
    if (spelling.tokens[id].empty()) continue;
    if (types[id] == kControl || types[id] == kUserDefined) spelling.added.push_back({static_cast<int32_t>(id), types[id] == kControl});
  }
  for (const std::string_view merge : file.texts(kPrefix + "merges")) spelling.merges.push_back(merge_of(merge, file));
  const int64_t bos = file.integer(kPrefix + "bos_token_id").value_or(-1);
  const bool known = bos >= 0 && bos < std::ssize(spelling.tokens) && !spelling.tokens[static_cast<size_t>(bos)].empty();
  if (known && file.flag(kPrefix + "add_bos_token").value_or(splitting.ignore_merges)) spelling.bos_id = static_cast<int32_t>(bos);
  return text::Tokenizer::from_spelling(spelling, file.name());
}

TokenizerSettings gguf_settings(const GgufReader& file, const text::Tokenizer& tokenizer) {
  const auto id = [&](const char* key) {
    const int64_t value = file.integer(kPrefix + key).value_or(-1);
    return value < tokenizer.vocab_size() ? std::max<int64_t>(value, -1) : -1;
  };
  TokenizerSettings settings{.bos = id("bos_token_id"), .eos = id("eos_token_id"), .pad = id("padding_token_id"), .unk = id("unknown_token_id"), .add_bos = tokenizer.spelling().bos_id.has_value()};
  const std::string named = kTemplate + ".";
  for (const std::string& key : file.keys_from(named)) settings.chat_templates[key.substr(named.size())] = *file.text(key);
  if (const auto text = file.text(kTemplate)) settings.chat_templates["default"] = *text;
  set_eos(settings, {id(kMoreEos[0]), id(kMoreEos[1])}, tokenizer);
  return settings;
}

void add_tokenizer(GgufWriter& writer, const text::Tokenizer& tokenizer, const TokenizerSettings& settings, int64_t n_tokens) {
  text::TokenizerSpelling spelling = tokenizer.spelling();
  if (std::ssize(spelling.tokens) > n_tokens) {
    throw Error(ErrorKind::kData, "the tokenizer has " + std::to_string(spelling.tokens.size()) + " tokens, the model's embedding " + std::to_string(n_tokens), "take the tokenizer.json of the same model");
  }
  spelling.tokens.resize(static_cast<size_t>(n_tokens));
  std::vector<int32_t> types(spelling.tokens.size(), kNormal);
  for (const auto& [id, special] : spelling.added) types[static_cast<size_t>(id)] = special ? kControl : kUserDefined;
  for (size_t id = 0; id < types.size(); ++id) {
    if (!spelling.tokens[id].empty()) continue;
    spelling.tokens[id] = "[PAD" + std::to_string(id) + "]";
    types[id] = kUnused;
  }
  std::vector<std::string> merges;
  for (const auto& [left, right] : spelling.merges) merges.push_back(left + " " + right);
  writer.set_text(kPrefix + "model", "gpt2");
  writer.set_text(kPrefix + "pre", splitting_of(spelling).pre);
  writer.set_texts(kPrefix + "tokens", spelling.tokens);
  writer.set_integers(kPrefix + "token_type", types);
  writer.set_texts(kPrefix + "merges", merges);
  const std::pair<const char*, int64_t> roles[] = {{"bos_token_id", settings.bos}, {"eos_token_id", settings.eos}, {"padding_token_id", settings.pad}, {"unknown_token_id", settings.unk}};
  for (const auto& [key, id] : roles) {
    if (id >= 0) writer.set_integer(kPrefix + key, static_cast<uint32_t>(id));
  }
  for (size_t i = 0; i < std::min(std::size(kMoreEos), settings.more_eos.size()); ++i) writer.set_integer(kPrefix + kMoreEos[i], static_cast<uint32_t>(settings.more_eos[i]));
  writer.set_flag(kPrefix + "add_bos_token", settings.add_bos && settings.bos >= 0);
  std::vector<std::string> names;
  for (const auto& [name, text] : settings.chat_templates) {
    writer.set_text(name == "default" ? kTemplate : kTemplate + "." + name, text);
    if (name != "default") names.push_back(name);
  }
  if (!names.empty()) writer.set_texts("tokenizer.chat_templates", names);
}

}  // namespace entrain::interchange
