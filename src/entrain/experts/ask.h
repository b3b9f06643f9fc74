#pragma once
// Asking one expert alone.

#include <functional>
#include <string>
#include <vector>

#include "entrain/experts/pool.h"

namespace entrain::experts {

/// One expert's answers to n questions, in their order.
struct Answers {
  Tensor probabilities;            ///< (n, 13) float32: of the answers where the answer stands, summing to 1
  Tensor choice;                   ///< (n) int64: the likeliest answer, in reasoning::kAnswers' order
  Tensor mass;                     ///< (n) float32: what all answers together have of the whole vocabulary's probability
  Tensor before, after;            ///< (n, C) float32: hidden states at the question's end and at the answer's
  std::vector<int64_t> n_tokens;   ///< written: scratchpad, marker and answer
  std::vector<double> flops;       ///< spent on each, reading and writing
  std::vector<std::string> texts;  ///< what was written after the question
  double seconds = 0;              ///< for all of them
  std::string failure;             ///< not empty: the expert failed, and why; nothing else is then defined
};

struct AskOptions {
  int64_t rows = 64;               ///< asked at once, all of one length
  int64_t max_scratchpad = 160;    ///< tokens, then the answer is asked for all the same
  bool keep_texts = false;
};

/// questions: encoded, without a marker. An expert whose states or logits are not finite fails (Answers::failure); so does one that cannot
/// read so long a text. It never throws for what an expert does.
Answers ask(const Expert& expert, const text::Tokenizer& tokenizer, const AnswerTokens& tokens, std::span<const std::vector<int32_t>> questions, const AskOptions& options = {});

}  // namespace entrain::experts
