#pragma once
// What the files beside tokenizer.json say of a tokenizer: the ids with a role, and chat templates. Free of torch.

#include <map>
#include <optional>
#include <string>

#include "entrain/base/files.h"
#include "entrain/text/tokenizer.h"

namespace entrain::interchange {

struct TokenizerSettings {
  int64_t bos = -1, eos = -1, pad = -1, unk = -1;      ///< -1: none
  bool add_bos = false;                                ///< whether other programs put bos before a text
  std::map<std::string, std::string> chat_templates;   ///< Jinja texts by name; the usual one is called "default"
  /// The token that ends a text; nothing where there is none.
  std::optional<int32_t> eos_id() const;
};

/// From tokenizer_config.json, chat_template.jinja and additional_chat_templates/ of a Hugging Face folder, each where it is there; bos and
/// eos otherwise as config.json has them, then as the tokenizer has them. Throws Error{kData} where a file does not parse.
TokenizerSettings read_settings(const fs::path& folder, const text::Tokenizer& tokenizer);

/// tokenizer_config.json, and the templates where there are some: the text of each by its path in a folder. context: positions, its
/// model_max_length. Throws Error{kData} where the name of a template cannot be a file's.
std::map<std::string, std::string> settings_files(const TokenizerSettings& settings, const text::Tokenizer& tokenizer, int64_t context);
/// Writes them into an existing folder; those of their paths that lie deeper have their folders made.
void write_settings(const fs::path& folder, const std::map<std::string, std::string>& files);

}  // namespace entrain::interchange
