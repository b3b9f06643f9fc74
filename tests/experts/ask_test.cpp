#include "entrain/experts/ask.h"

#include <gtest/gtest.h>

#include <set>

#include "text_pool.h"

namespace entrain::experts {
namespace {

/// What an expert should say, one question at a time, without cache and batches.
struct Slow {
  std::vector<int64_t> written;
  std::vector<double> probabilities;
  double mass = 0;
  Tensor before, after;
  bool capped = false, ended = false;
};

Tensor states(const model::Transformer& model, const std::vector<int64_t>& ids) { return model.hidden(at::tensor(ids).unsqueeze(0))[0]; }

Slow slow_answer(const Expert& expert, const AnswerTokens& tokens, const std::vector<int32_t>& question, int64_t cap) {
  const at::NoGradGuard no_grad;
  Slow out;
  std::vector<int64_t> ids(question.begin(), question.end());
  out.before = states(expert.model, ids)[-1];
  const auto write = [&](int64_t id) {
    ids.push_back(id);
    out.written.push_back(id);
  };
  if (expert.style == reasoning::Style::kDirect) {
    write(tokens.equals);
  } else {
    write(tokens.scratchpad);
    for (int64_t n = 0; out.written.back() != tokens.equals; ++n) {
      int64_t next = expert.model.logits(states(expert.model, ids)[-1]).argmax().item<int64_t>();
      if (n == cap) {
        next = tokens.equals;
        out.capped = true;
      } else if (next == tokens.eos) {
        next = tokens.equals;
        out.ended = true;
      }
      write(next);
    }
  }
  const Tensor last = states(expert.model, ids)[-1], p = expert.model.logits(last).to(at::kDouble).softmax(0);
  size_t best = 0;
  for (size_t a = 0; a < kAnswers; ++a) {
    out.probabilities.push_back(p[tokens.answers[a]].item<double>());
    out.mass += out.probabilities.back();
    if (out.probabilities[a] > out.probabilities[best]) best = a;
  }
  for (double& value : out.probabilities) value /= out.mass;
  write(tokens.answers[best]);
  out.after = expert.style == reasoning::Style::kDirect ? states(expert.model, ids)[-1] : last;
  return out;
}

void expect_same(const Expert& expert, const Pool& pool, const AnswerTokens& tokens, const std::vector<std::vector<int32_t>>& questions, const AskOptions& options, std::vector<Slow>* slow = nullptr) {
  const Answers got = ask(expert, pool.tokenizer, tokens, questions, options);
  ASSERT_EQ(got.failure, "");
  ASSERT_EQ(got.n_tokens.size(), questions.size());
  for (size_t q = 0; q < questions.size(); ++q) {
    const auto row = static_cast<int64_t>(q);
    const Slow expected = slow_answer(expert, tokens, questions[q], options.max_scratchpad);
    EXPECT_EQ(got.texts[q], pool.tokenizer.decode(std::vector<int32_t>(expected.written.begin(), expected.written.end()))) << expert.name << " question " << q;
    EXPECT_EQ(got.n_tokens[q], std::ssize(expected.written));
    EXPECT_EQ(tokens.answers[static_cast<size_t>(got.choice[row].item<int64_t>())], expected.written.back());
    EXPECT_TRUE(at::allclose(got.probabilities[row].to(at::kDouble), at::tensor(expected.probabilities, at::kDouble), 1e-3, 1e-5)) << "sums in another order";
    EXPECT_NEAR(got.mass[row].item<double>(), expected.mass, 1e-4);
    EXPECT_NEAR(got.probabilities[row].sum().item<double>(), 1, 1e-5);
    EXPECT_TRUE(at::allclose(got.before[row], expected.before, 1e-3, 1e-3));
    EXPECT_TRUE(at::allclose(got.after[row], expected.after, 1e-3, 1e-3));
    EXPECT_EQ(got.flops[q], forward_flops(expert.model, std::ssize(questions[q]) + got.n_tokens[q]));
    if (slow) slow->push_back(expected);
  }
}

std::vector<std::vector<int32_t>> mixed_questions(size_t n) {
  std::vector<std::vector<int32_t>> questions;
  for (size_t q = 0; q < n; ++q) questions.push_back(random_prompt(q, 3 + q * 7 % 5));
  return questions;
}

TEST(Ask, AnswersDirectlyAsPlainPassesDo) {
  const Pool pool = tiny_pool({"llama", "qwen3", "gpt2"});
  AnswerTokens tokens = pool.tokens;
  tokens.equals = 20;
  for (const int64_t rows : {1, 3, 64}) {
    for (const Expert& expert : pool.experts) expect_same(expert, pool, tokens, mixed_questions(13), {.rows = rows, .max_scratchpad = 5, .keep_texts = true});
  }
}

TEST(Ask, WritesScratchpadsAsPlainPassesDo) {
  Pool pool = tiny_pool({"llama", "qwen3", "gpt2"});
  AnswerTokens tokens = pool.tokens;
  tokens.scratchpad = 39;
  std::vector<Slow> slow;
  for (int64_t equals = 13; equals < 39; equals += 5) {
    tokens.equals = equals;
    tokens.eos = equals + 3;
    for (Expert& expert : pool.experts) {
      expert.style = reasoning::Style::kScratchpad;
      expect_same(expert, pool, tokens, mixed_questions(11), {.rows = 4, .max_scratchpad = 7, .keep_texts = true}, &slow);
    }
  }
  int64_t n_capped = 0, n_ended = 0;
  std::set<size_t> lengths;
  for (const Slow& one : slow) {
    n_capped += one.capped;
    n_ended += one.ended;
    lengths.insert(one.written.size());
  }
  EXPECT_GT(n_capped, 0);
  EXPECT_GT(n_ended, 0) << "some end their text inside the scratchpad";
  EXPECT_GT(lengths.size(), 4U) << "rows of one batch stop at different places";
  EXPECT_EQ(*lengths.rbegin(), 7U + 3) << "marker, scratchpad, marker, answer";
}

TEST(Ask, KeepsNoTextsUnlessAsked) {
  const Pool pool = tiny_pool({"llama"});
  EXPECT_TRUE(ask(pool.experts[0], pool.tokenizer, pool.tokens, mixed_questions(3)).texts.empty());
}

TEST(Ask, AnswersNothingToNoQuestions) {
  const Pool pool = tiny_pool({"llama"});
  const Answers answers = ask(pool.experts[0], pool.tokenizer, pool.tokens, {});
  EXPECT_EQ(answers.failure, "");
  EXPECT_EQ(answers.choice.numel(), 0);
}

TEST(Ask, FailsSoftlyWhereWeightsAreNotNumbers) {
  Pool pool = tiny_pool({"llama", "qwen3", "gpt2"});
  for (Expert& expert : pool.experts) {
    spoil(expert.model);
    for (const auto style : {reasoning::Style::kDirect, reasoning::Style::kScratchpad}) {
      expert.style = style;
      const Answers answers = ask(expert, pool.tokenizer, pool.tokens, mixed_questions(4));
      EXPECT_NE(answers.failure.find(expert.name + " failed: its states are not finite"), std::string::npos) << answers.failure;
    }
  }
}

TEST(Ask, FailsSoftlyWhereOneAnswerHasNoNumber) {
  Pool pool = text_pool(1);
  const at::NoGradGuard no_grad;
  Tensor(pool.experts[0].model.head())[pool.tokens.answers[4]].fill_(NAN);  // the questions do not hold it
  const std::vector<std::vector<int32_t>> questions{pool.tokenizer.encode("x y x", text::Specials::kAsText)};
  for (const auto style : {reasoning::Style::kDirect, reasoning::Style::kScratchpad}) {
    pool.experts[0].style = style;
    EXPECT_NE(ask(pool.experts[0], pool.tokenizer, pool.tokens, questions).failure.find("not finite"), std::string::npos);
  }
}

TEST(Ask, FailsSoftlyWhereAQuestionIsTooLong) {
  Pool pool = tiny_pool({"gpt2"});
  auto questions = mixed_questions(3);
  questions.push_back(random_prompt(9, 31));  // 32 positions: the marker fits, the answer does not
  EXPECT_NE(ask(pool.experts[0], pool.tokenizer, pool.tokens, questions).failure.find("32 positions"), std::string::npos);
  questions.pop_back();
  EXPECT_EQ(ask(pool.experts[0], pool.tokenizer, pool.tokens, questions).failure, "") << "the next questions find it sound";
}

// Ids beyond a model's vocabulary: whatever goes wrong inside an expert is its failure, not the program's.
TEST(Ask, NeverThrowsForWhatAnExpertDoes) {
  const Pool pool = tiny_pool({"llama"});
  const std::vector<std::vector<int32_t>> questions{{14, 15, 400}};
  Answers answers;
  EXPECT_NO_THROW(answers = ask(pool.experts[0], pool.tokenizer, pool.tokens, questions));
  EXPECT_NE(answers.failure.find("expert 0 failed"), std::string::npos);
}

}  // namespace
}  // namespace entrain::experts
