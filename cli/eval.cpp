// entrain eval RUN --text FILE [--json]

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/verbs.h"
#include "entrain/eval/perplexity.h"
#include "entrain/model/huggingface.h"
#include "entrain/text/tokenizer.h"
#include "entrain/train/checkpoint.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string run, text;
  int64_t context = 0;
  bool json = false;
};

void run_eval(const Options& options) {
  const fs::path folder = train::resolve_model_folder(options.run);
  const text::Tokenizer tokenizer = text::Tokenizer::load(folder / "tokenizer.json");
  const model::Transformer model = model::load_model(folder);
  const int64_t context = options.context > 0 ? options.context : model.config().context;
  const eval::TextScore score = eval::score_text(model, tokenizer, options.text, {.context = context});
  if (options.json) {
    const nlohmann::ordered_json result{{"nats_per_token", score.nats_per_token()}, {"bits_per_byte", score.bits_per_byte()}, {"nats", score.nats},
                                        {"tokens", score.tokens}, {"bytes", score.bytes}, {"context", context}};
    std::printf("%s\n", result.dump().c_str());
  } else {
    std::fprintf(stderr, "%.4f nats/token, %.4f bits/byte over %lld tokens, %lld bytes (windows of %lld tokens)\n", score.nats_per_token(), score.bits_per_byte(),
                 static_cast<long long>(score.tokens), static_cast<long long>(score.bytes), static_cast<long long>(context));
  }
}

}  // namespace

void add_eval(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("eval", "held-out loss on a text");
  verb->add_option("run", options->run, "run, checkpoint or Hugging Face folder")->required();
  verb->add_option("--text", options->text, "file or folder: .txt, .jsonl, .gz of either")->required();
  verb->add_option("--context", options->context, "longest window in tokens; default: the model's context")->check(at_least(1));
  verb->add_flag("--json", options->json, "one JSON object on standard output");
  verb->callback([options] { run_eval(*options); });
}

}  // namespace entrain::cli
