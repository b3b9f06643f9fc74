#include "entrain/eval/perplexity.h"

#include <cmath>
#include <numbers>

#include "entrain/base/error.h"
#include "entrain/base/temporary_folder.h"
#include "entrain/ops/ops.h"
#include "entrain/text/batch_source.h"
#include "entrain/text/corpus.h"

namespace entrain::eval {

double TextScore::bits_per_byte() const { return nats / std::numbers::ln2 / static_cast<double>(bytes); }

TextScore score(const model::Transformer& model, const text::TokenFile& file, std::span<const int32_t> token_bytes, const ScoreOptions& options) {
  at::NoGradGuard no_grad;
  const text::ValidationWindows windows(file, options.context, token_bytes, options.max_tokens, options.loss_after);
  TextScore total;
  for (int64_t first = 0; first < windows.size(); first += options.rows) {
    text::WindowBatch window = windows.batch(first, options.rows);
    const int64_t rows = window.batch.rows, positions = window.batch.positions;
    const Tensor inputs = at::from_blob(window.batch.inputs.data(), {rows, positions}, at::kLong);
    const Tensor targets = at::from_blob(window.batch.targets.data(), {rows, positions, 1}, at::kLong);
    const Tensor nats = ops::head_nats(model.hidden(inputs), model.head(), targets).view({rows, positions}).sum(1, false, at::kDouble);
    for (int64_t row = 0; row < rows; ++row) {
      const size_t i = static_cast<size_t>(row);
      total.windows.push_back({window.documents[i], window.n_targets[i], window.n_bytes[i], nats.data_ptr<double>()[row]});
      total.nats += total.windows.back().nats;
      total.tokens += total.windows.back().tokens;
      total.bytes += total.windows.back().bytes;
    }
  }
  return total;
}

TextScore score_text(const model::Transformer& model, const text::Tokenizer& tokenizer, const fs::path& path, const ScoreOptions& options) {
  if (tokenizer.vocab_size() > model.config().vocab_size) {
    throw Error(ErrorKind::kData, "the tokenizer has " + std::to_string(tokenizer.vocab_size()) + " tokens, the model " + std::to_string(model.config().vocab_size),
                "take tokenizer.json and model of one folder");
  }
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "text.tokens";
  const auto eos = tokenizer.eos_id();
  text::TokenFileWriter writer(file, {tokenizer.fingerprint(), tokenizer.vocab_size(), eos ? *eos : -1});
  text::for_each_document({path}, [&](text::Document document) {
    std::vector<int32_t> ids = tokenizer.encode(document.text, text::Specials::kAsText);
    if (eos) ids.push_back(*eos);
    writer.add_document(ids, document.text.size());
  });
  writer.finish();
  return score(model, text::TokenFile(file), tokenizer.token_byte_lengths(), options);
}

}  // namespace entrain::eval
