#pragma once
// Small pools that read real text: a tokenizer whose answers are single tokens, and models of its vocabulary.

#include "entrain/model/huggingface.h"
#include "tiny_pool.h"

namespace entrain::experts {

/// Learned from `words` and the answers.
inline text::Tokenizer text_tokenizer(const std::string& words = "x y", int64_t vocab_size = 320) {
  std::string all = words;
  for (const std::string_view answer : reasoning::kAnswers) all += " = " + std::string(answer);
  all += " ⊢ x ; y";
  text::BpeTrainer trainer({.vocab_size = vocab_size, .n_threads = 1});
  const std::vector<std::string_view> texts(100, all);
  trainer.add(texts);
  return trainer.train();
}

inline model::Config text_config(const text::Tokenizer& tokenizer, int64_t layers = 1, const std::string& family = "llama") {
  model::Config config;
  config.family = family;
  config.width = 16;
  config.layers = layers;
  config.heads = 2;
  config.mlp_width = 24;
  config.context = 64;
  config.vocab_size = tokenizer.vocab_size();
  config.init_std = 0.2;
  config.resolve();
  return config;
}

/// Experts of 1, 2, 3, ... layers that answer directly.
inline Pool text_pool(size_t n_experts = 3) {
  text::Tokenizer tokenizer = text_tokenizer();
  const AnswerTokens tokens = AnswerTokens::of(tokenizer);
  std::vector<Expert> experts;
  for (size_t i = 0; i < n_experts; ++i) {
    experts.push_back({"expert" + std::to_string(i), model::Transformer(text_config(tokenizer, static_cast<int64_t>(i) + 1), i + 1), reasoning::Style::kDirect});
    for (const Tensor& weight : experts.back().model.parameters().stored()) weight.requires_grad_(false);
  }
  return {std::move(tokenizer), tokens, std::move(experts), {}};
}

inline void spoil(const model::Transformer& model) {
  const at::NoGradGuard no_grad;
  for (const Tensor& weight : model.parameters().stored()) Tensor(weight).fill_(NAN);
}

/// Model and tokenizer as a folder that open_pool() reads.
inline void save_folder(const model::Transformer& model, const text::Tokenizer& tokenizer, const fs::path& folder) {
  fs::create_directories(folder);
  model::save_model(model, {}, folder);
  tokenizer.save(folder / "tokenizer.json");
}

}  // namespace entrain::experts
