#pragma once
// What the files beside tokenizer.json say of a tokenizer: the ids with a role, chat templates, and how text is generated. Free of torch.

#include <map>
#include <string>
#include <vector>

#include "entrain/base/files.h"
#include "entrain/text/tokenizer.h"

namespace entrain::interchange {

struct TokenizerSettings {
  int64_t bos = -1, eos = -1, pad = -1, unk = -1;           ///< -1: none
  std::vector<int64_t> more_eos = {};                       ///< tokens beside eos that end a text, each once; none without eos
  bool add_bos = false;                                     ///< whether other programs put bos before a text
  std::map<std::string, std::string> chat_templates = {};   ///< Jinja texts by name; the usual one is called "default"
  std::string generation_config = "";                       ///< the JSON object of generation_config.json; empty: none
  /// The tokens that end a text, eos first; empty where there are none.
  std::vector<int32_t> eos_ids() const;
};

/// Fills eos where it is no id of the tokenizer, by the tokenizer or the first of `ids`, and more_eos from the rest of them.
void set_eos(TokenizerSettings& settings, const std::vector<int64_t>& ids, const text::Tokenizer& tokenizer);

/// From tokenizer_config.json, chat_template.jinja and additional_chat_templates/ of a Hugging Face folder, each where it is there; bos and
/// eos otherwise as config.json has them, then as the tokenizer has them; with the other tokens that end a text by generation_config.json or,
/// where that names none, config.json. Throws Error{kData} where a file does not parse.
TokenizerSettings read_settings(const fs::path& folder, const text::Tokenizer& tokenizer);

/// tokenizer_config.json, the templates where there are some, and generation_config.json where there was one or several tokens end a text: the
/// text of each by its path in a folder. context: positions, the model_max_length. Throws Error{kData} where the name of a template cannot be a file's.
std::map<std::string, std::string> settings_files(const TokenizerSettings& settings, const text::Tokenizer& tokenizer, int64_t context);
/// Writes them into an existing folder; those of their paths that lie deeper have their folders made.
void write_settings(const fs::path& folder, const std::map<std::string, std::string>& files);

}  // namespace entrain::interchange
