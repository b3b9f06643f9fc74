#pragma once
// A tokenizer as GGUF's metadata spells it (tokenizer.ggml.*, model "gpt2"). Free of torch.

#include "entrain/interchange/gguf_reader.h"
#include "entrain/interchange/gguf_writer.h"
#include "entrain/interchange/tokenizer_settings.h"

namespace entrain::interchange {

/// Throws Error{kData} where it is no byte-level BPE, or one split in a way this program does not know (tokenizer.ggml.pre).
text::Tokenizer gguf_tokenizer(const GgufReader& file);
/// What llama.cpp stops at beside eos (eot, eom) are more_eos; templates are those under tokenizer.chat_template.
TokenizerSettings gguf_settings(const GgufReader& file, const text::Tokenizer& tokenizer);

/// n_tokens: rows of the embedding; ids that the tokenizer lacks are listed as unused. The first two of more_eos are written: GGUF has
/// no place for others. An NFC normalizer is left out: GGUF has no place for it.
/// Throws Error{kUsage} where GGUF has no name for the way the tokenizer splits text.
void add_tokenizer(GgufWriter& writer, const text::Tokenizer& tokenizer, const TokenizerSettings& settings, int64_t n_tokens);

}  // namespace entrain::interchange
