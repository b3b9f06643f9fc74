#include "entrain/eval/requests.h"

#include <cmath>

#include "../model/tiny_model.h"
#include "entrain/base/error.h"
#include "entrain/text/bpe_trainer.h"

namespace entrain::eval {
namespace {

using model::Transformer;

text::Tokenizer make_tokenizer() {
  text::BpeTrainer trainer({.vocab_size = 290, .n_threads = 1});
  const std::vector<std::string_view> views{"the ship sails north under a grey sky and seven birds follow it", "home again when the winter ends, the birds are home"};
  trainer.add(views);
  return trainer.train();
}

Transformer make_model(const text::Tokenizer& tokenizer, const std::string& shape = "llama") {
  model::Config config = model::tiny_config(shape);
  config.vocab_size = tokenizer.vocab_size();
  return Transformer(config, 1);
}

std::vector<int32_t> joined(const EncodedRequest& request) {
  std::vector<int32_t> all = request.context;
  all.insert(all.end(), request.continuation.begin(), request.continuation.end());
  return all;
}

TEST(EncodeRequest, MovesSpacesToTheContinuation) {
  const text::Tokenizer tokenizer = make_tokenizer();
  const EncodedRequest request = encode_request(tokenizer, {"the ship \n", "sails"});
  EXPECT_EQ(tokenizer.decode(request.context), "the ship");
  EXPECT_EQ(tokenizer.decode(request.continuation), " \nsails");
  EXPECT_EQ(joined(request), tokenizer.encode("the ship \nsails"));
}

TEST(EncodeRequest, StartsATextWithEndOfText) {
  const text::Tokenizer tokenizer = make_tokenizer();
  const int32_t eos = *tokenizer.eos_id();
  for (const char* continuation : {"the sky", "<|endoftext|>the sky"}) {
    const EncodedRequest request = encode_request(tokenizer, {"", continuation});
    EXPECT_EQ(request.context, std::vector<int32_t>{eos});
    EXPECT_EQ(request.continuation, tokenizer.encode("the sky"));
  }
  // A context of white space alone is an empty one.
  EXPECT_EQ(encode_request(tokenizer, {" ", "the"}).context, std::vector<int32_t>{eos});
}

TEST(EncodeRequest, KeepsATokenWhereTheBorderMerges) {
  const text::Tokenizer tokenizer = make_tokenizer();
  const EncodedRequest request = encode_request(tokenizer, {"th", "e"});  // "the" is one token, "th" may be one too
  ASSERT_FALSE(request.continuation.empty());
  EXPECT_EQ(joined(request), tokenizer.encode("the"));
}

TEST(MakeRow, CutsOnTheLeft) {
  const EncodedRequest request{{1, 2, 3, 4, 5}, {6, 7}};
  const ScoredRow whole = make_row(request, 6), cut = make_row(request, 3), tiny = make_row(request, 1);
  EXPECT_EQ(whole.input, (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(whole.targets, (std::vector<int64_t>{6, 7}));
  EXPECT_FALSE(whole.truncated);
  EXPECT_EQ(cut.input, (std::vector<int64_t>{4, 5, 6}));
  EXPECT_EQ(cut.targets, (std::vector<int64_t>{6, 7}));
  EXPECT_TRUE(cut.truncated);
  EXPECT_EQ(tiny.input, std::vector<int64_t>{6}) << "a continuation longer than the context keeps its end";
  EXPECT_EQ(tiny.targets, std::vector<int64_t>{7});
  EXPECT_TRUE(make_row({{1}, {}}, 4).input.empty());
}

// One forward pass a request, log-softmax in float64: float32 sums of up to 16 tokens.
TEST(LogLikelihoods, AreTheNaiveSums) {
  at::NoGradGuard no_grad;
  const text::Tokenizer tokenizer = make_tokenizer();
  const std::vector<Request> requests{{"the ship", " sails"}, {"the ship", " sinks"}, {"", "seven birds follow it home again when winter ends and it sails"},
                                      {"the grey sky", " x"}, {"the grey sky", " y"}, {"the grey sky", " x"}, {"a", ""}};
  for (const std::string& shape : model::kShapes) {
    const Transformer model = make_model(tokenizer, shape);
    for (const int64_t batch_tokens : {int64_t{1}, int64_t{20}, int64_t{4096}}) {
      const std::vector<Likelihood> found = log_likelihoods(model, tokenizer, requests, {.batch_tokens = batch_tokens, .on_progress = {}});
      for (size_t i = 0; i < requests.size(); ++i) {
        const ScoredRow row = make_row(encode_request(tokenizer, requests[i]), model.config().context);
        double expected = 0;
        bool greedy = true;
        if (!row.input.empty()) {
          const Tensor logp = model.logits(model.hidden(at::tensor(row.input).unsqueeze(0))).squeeze(0).to(at::kDouble).log_softmax(-1);
          for (size_t t = 0; t < row.targets.size(); ++t) {
            const auto position = static_cast<int64_t>(row.input.size() - row.targets.size() + t);
            expected += logp[position][row.targets[t]].item<double>();
            greedy = greedy && logp[position].argmax().item<int64_t>() == row.targets[t];
          }
        }
        EXPECT_NEAR(found[i].log_likelihood, expected, 1e-4) << shape << " request " << i;
        EXPECT_EQ(found[i].greedy, greedy);
        EXPECT_EQ(found[i].n_tokens, static_cast<int64_t>(row.targets.size()));
        EXPECT_EQ(found[i].truncated, row.truncated);
      }
      EXPECT_TRUE(found[2].truncated);
      EXPECT_EQ(found[3].log_likelihood, found[5].log_likelihood);
    }
  }
}

TEST(GenerateUntil, WritesTheLikeliestTokensUpToAStop) {
  at::NoGradGuard no_grad;
  const text::Tokenizer tokenizer = make_tokenizer();
  const Transformer model = make_model(tokenizer);
  std::vector<int64_t> ids;
  for (const int32_t id : tokenizer.encode("the birds")) ids.push_back(id);
  std::string expected;
  for (int i = 0; i < 6; ++i) {
    const Tensor logits = model.logits(model.hidden(at::tensor(ids).unsqueeze(0)))[0][-1];
    ids.push_back(logits.argmax().item<int64_t>());
    const auto id = static_cast<int32_t>(ids.back());
    if (id == *tokenizer.eos_id()) break;
    expected += tokenizer.decode(std::span(&id, 1));
  }
  EXPECT_EQ(generate_until(model, tokenizer, "the birds", {}, 6).text, expected);
  ASSERT_GE(expected.size(), 3u);
  const std::string stop = expected.substr(1, 2);
  EXPECT_EQ(generate_until(model, tokenizer, "the birds", {"never seen", stop}, 6).text, expected.substr(0, expected.find(stop)));
  // A context of 16 that has to hold 8 new tokens keeps the last 8 of the prompt.
  EXPECT_TRUE(generate_until(model, tokenizer, "seven birds follow it home again when winter ends and it sails", {}, 8).truncated);
}

TEST(MeanStates, AreMeansOverTokens) {
  at::NoGradGuard no_grad;
  const text::Tokenizer tokenizer = make_tokenizer();
  const Transformer model = make_model(tokenizer);
  const std::vector<std::string> sentences{"the sky", "birds follow"};
  const std::vector<float> states = mean_states(model, tokenizer, sentences);
  ASSERT_EQ(states.size(), 64u);
  std::vector<int64_t> ids;
  for (const int32_t id : tokenizer.encode(sentences[1])) ids.push_back(id);
  const std::vector<float> expected = model::floats(model.hidden(at::tensor(ids).unsqueeze(0)).mean(1));
  for (size_t i = 0; i < 32; ++i) EXPECT_NEAR(states[32 + i], expected[i], 1e-6);
}

TEST(CheckVocabulary, RefusesIdsTheModelLacks) {
  const text::Tokenizer tokenizer = make_tokenizer();
  const Transformer small(model::tiny_config("llama"), 1);
  EXPECT_THROW(log_likelihoods(small, tokenizer, std::vector<Request>{{"a", "b"}}), Error);
}

}  // namespace
}  // namespace entrain::eval
