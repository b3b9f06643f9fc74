// entrain generate RUN --prompt TEXT --tokens N --temperature X --top-k K --top-p P --min-p M --seed S

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/verbs.h"
#include "entrain/model/generate.h"
#include "entrain/model/huggingface.h"
#include "entrain/text/tokenizer.h"
#include "entrain/train/checkpoint.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string run, prompt;
  model::Sampling sampling;
  bool json = false;
};

void run_generate(const Options& options) {
  const fs::path folder = train::resolve_model_folder(options.run);
  const text::Tokenizer tokenizer = text::Tokenizer::load(folder / "tokenizer.json");
  const model::Transformer model = model::load_model(folder);
  const std::vector<int32_t> prompt = tokenizer.encode(options.prompt);
  if (options.json) {
    const auto ids = model::generate(model, prompt, options.sampling, tokenizer.eos_id());
    const nlohmann::ordered_json result{{"prompt", options.prompt}, {"text", tokenizer.decode(ids)}, {"prompt_ids", prompt}, {"ids", ids}};
    std::printf("%s\n", result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return;
  }
  std::fputs(options.prompt.c_str(), stdout);
  model::generate(model, prompt, options.sampling, tokenizer.eos_id(), [&](int32_t id) {
    const std::string piece = tokenizer.decode(std::span(&id, 1));
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  });
  std::fputc('\n', stdout);
}

}  // namespace

void add_generate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("generate", "continue a text");
  verb->add_option("run", options->run, "run, checkpoint or Hugging Face folder")->required();
  verb->add_option("--prompt", options->prompt, "text to continue");
  verb->add_option("--tokens", options->sampling.n_tokens, "most tokens to add")->check(at_least(0))->capture_default_str();
  verb->add_option("--temperature", options->sampling.temperature, "0: always the likeliest token")->check(at_least(0))->capture_default_str();
  verb->add_option("--top-k", options->sampling.top_k, "keep the k likeliest; 0: all")->check(at_least(0))->capture_default_str();
  verb->add_option("--top-p", options->sampling.top_p, "keep the smallest set of this probability")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  verb->add_option("--min-p", options->sampling.min_p, "keep those at least this share of the likeliest")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  verb->add_option("--seed", options->sampling.seed, "the same seed gives the same text")->capture_default_str();
  verb->add_flag("--json", options->json, "one JSON object on standard output");
  verb->callback([options] { run_generate(*options); });
}

}  // namespace entrain::cli
