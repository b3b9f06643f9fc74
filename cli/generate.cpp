// entrain generate RUN --prompt TEXT --tokens N --temperature X --top-k K --top-p P --min-p M --seed S [--draft RUN2 --draft-tokens N]

#include <cstdio>
#include <memory>

#include "cli/verbs.h"
#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/interchange/pretrained.h"
#include "entrain/model/generate.h"
#include "entrain/model/speculative.h"
#include "entrain/text/tokenizer.h"
#include "entrain/train/checkpoint.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string run, prompt, draft;
  int64_t draft_tokens = 4;
  model::Sampling sampling;
  bool json = false;
};

model::Transformer load_draft(const std::string& run, const fs::path& target, const text::Tokenizer& tokenizer) {
  const fs::path draft = train::resolve_model(run);
  if (interchange::load_tokenizer(draft).fingerprint() != tokenizer.fingerprint()) {
    throw Error(ErrorKind::kData, "the draft " + draft.string() + " has another tokenizer than " + target.string(), "train the draft on data prepared with the tokenizer of " + target.string());
  }
  return interchange::load_model(draft);
}

void report(const model::SpeculativeResult& result) {
  if (result.draft_failed) std::fprintf(stderr, "warning: the draft's logits are not finite; the model went on alone\n");
  const double rate = result.n_proposed > 0 ? 100.0 * static_cast<double>(result.n_accepted) / static_cast<double>(result.n_proposed) : 0.0;
  std::fprintf(stderr, "draft: %lld of %lld proposed tokens accepted (%.1f %%), %lld passes of the model for %zu tokens\n", static_cast<long long>(result.n_accepted),
               static_cast<long long>(result.n_proposed), rate, static_cast<long long>(result.n_target_passes), result.tokens.size());
}

void run_generate(const Options& options) {
  const fs::path path = train::resolve_model(options.run);
  const interchange::Pretrained pretrained = interchange::open_pretrained(path);
  const text::Tokenizer& tokenizer = pretrained.tokenizer;
  const model::Transformer& model = pretrained.model;
  std::optional<model::Transformer> draft;
  if (!options.draft.empty()) draft.emplace(load_draft(options.draft, path, tokenizer));
  const std::vector<int32_t> prompt = tokenizer.encode(options.prompt);
  const auto continued = [&](const std::function<void(int32_t)>& on_token) {
    if (!draft) return model::generate(model, prompt, options.sampling, pretrained.settings.eos_ids(), on_token);
    const model::SpeculativeResult result = model::speculate(*draft, model, prompt, options.sampling, options.draft_tokens, pretrained.settings.eos_ids(), on_token);
    report(result);
    return result.tokens;
  };
  if (options.json) {
    const auto ids = continued({});
    const OrderedJson result{{"prompt", options.prompt}, {"text", tokenizer.decode(ids)}, {"prompt_ids", prompt}, {"ids", ids}};
    std::printf("%s\n", result.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
    return;
  }
  std::fputs(options.prompt.c_str(), stdout);
  continued([&](int32_t id) {
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
  verb->add_option("run", options->run, "run, checkpoint, Hugging Face folder or GGUF file")->required();
  verb->add_option("--prompt", options->prompt, "text to continue");
  verb->add_option("--tokens", options->sampling.n_tokens, "most tokens to add")->check(at_least(0))->capture_default_str();
  verb->add_option("--temperature", options->sampling.temperature, "0: always the likeliest token")->check(at_least(0))->capture_default_str();
  verb->add_option("--top-k", options->sampling.top_k, "keep the k likeliest; 0: all")->check(at_least(0))->capture_default_str();
  verb->add_option("--top-p", options->sampling.top_p, "keep the smallest set of this probability")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  verb->add_option("--min-p", options->sampling.min_p, "keep those at least this share of the likeliest")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  verb->add_option("--seed", options->sampling.seed, "the same seed gives the same text")->capture_default_str();
  verb->add_option("--draft", options->draft, "run, checkpoint, Hugging Face folder or GGUF file of a smaller model that proposes tokens; the text is distributed as without");
  verb->add_option("--draft-tokens", options->draft_tokens, "most tokens proposed at a time")->check(at_least(1))->capture_default_str();
  verb->add_flag("--json", options->json, "one JSON object on standard output");
  verb->callback([options] { run_generate(*options); });
}

}  // namespace entrain::cli
