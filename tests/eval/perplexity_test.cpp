#include "entrain/eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "../model/tiny_model.h"
#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "entrain/text/bpe_trainer.h"
#include "entrain/text/corpus.h"

namespace entrain::eval {
namespace {

using model::Transformer;
using text::TemporaryFolder;

/// Documents of these lengths with random ids below 100.
text::TokenFile make_file(const TemporaryFolder& folder, const std::vector<int>& lengths) {
  text::TokenFileWriter writer(folder / "tokens", {.fingerprint = 0, .vocab_size = 100, .eos_id = -1});
  RandomStream random = stream(1, "perplexity test");
  for (const int length : lengths) {
    std::vector<int32_t> document;
    for (int i = 0; i < length; ++i) document.push_back(static_cast<int32_t>(random.next_below(100)));
    writer.add_document(document, 1000);
  }
  writer.finish();
  return text::TokenFile(folder / "tokens");
}

std::vector<int32_t> token_bytes() {
  std::vector<int32_t> bytes;
  for (int32_t id = 0; id < 100; ++id) bytes.push_back(id % 5);
  return bytes;
}

// Every token but the first of a document once, from the tokens before it in its window of 8, one forward pass for each.
// float32 against log-softmax in float64: 1e-5 a token.
TEST(Score, IsTheNaiveSumOverTokens) {
  at::NoGradGuard no_grad;
  const TemporaryFolder folder;
  const std::vector<int> lengths{1, 2, 8, 9, 10, 17, 30, 1};
  const text::TokenFile file = make_file(folder, lengths);
  const auto bytes = token_bytes();
  for (const std::string& shape : model::kShapes) {
    const Transformer model(model::tiny_config(shape), 1);
    const TextScore scored = score(model, file, bytes, {.context = 8, .rows = 3});
    std::vector<WindowScore> expected;
    for (uint64_t d = 0; d < file.n_documents(); ++d) {
      const text::DocumentRange range = file.document(d);
      for (uint64_t at = range.begin + 1; at < range.end; ++at) {
        const uint64_t window = range.begin + (at - 1 - range.begin) / 8 * 8;
        if (window == at - 1) expected.push_back({.document = d});
        std::vector<int64_t> ids(at - window);
        file.copy(window, ids);
        const Tensor hidden = model.hidden(at::tensor(ids).unsqueeze(0));
        const Tensor logp = model.logits(hidden.select(1, hidden.size(1) - 1)).to(at::kDouble).log_softmax(-1);
        expected.back().tokens += 1;
        expected.back().bytes += bytes[static_cast<size_t>(file.token(at))];
        expected.back().nats -= logp[0][file.token(at)].item<double>();
      }
    }
    ASSERT_EQ(scored.windows.size(), expected.size());
    double nats = 0;
    int64_t tokens = 0, n_bytes = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(scored.windows[i].document, expected[i].document);
      EXPECT_EQ(scored.windows[i].tokens, expected[i].tokens);
      EXPECT_EQ(scored.windows[i].bytes, expected[i].bytes);
      EXPECT_NEAR(scored.windows[i].nats, expected[i].nats, 1e-5 * static_cast<double>(expected[i].tokens)) << shape << " window " << i;
      nats += expected[i].nats;
      tokens += expected[i].tokens;
      n_bytes += expected[i].bytes;
    }
    EXPECT_EQ(scored.tokens, tokens);
    EXPECT_EQ(tokens, 1 + 7 + 8 + 9 + 16 + 29);
    EXPECT_EQ(scored.bytes, n_bytes);
    EXPECT_NEAR(scored.nats, nats, 1e-5 * static_cast<double>(tokens));
    EXPECT_NEAR(scored.nats_per_token(), nats / static_cast<double>(tokens), 1e-5);
    EXPECT_DOUBLE_EQ(scored.bits_per_byte(), scored.nats / std::log(2.0) / static_cast<double>(n_bytes));
  }
}

TEST(Score, DoesNotDependOnTheBatching) {
  const TemporaryFolder folder;
  const text::TokenFile file = make_file(folder, {40, 3, 25});
  const Transformer model(model::tiny_config("llama"), 1);
  const auto bytes = token_bytes();
  const TextScore one = score(model, file, bytes, {.context = 8, .rows = 1}), many = score(model, file, bytes, {.context = 8, .rows = 100});
  ASSERT_EQ(one.windows.size(), many.windows.size());
  for (size_t i = 0; i < one.windows.size(); ++i) EXPECT_NEAR(one.windows[i].nats, many.windows[i].nats, 1e-4);
  // A part of the text is spread over all of it, and its windows are windows of the whole.
  const TextScore part = score(model, file, bytes, {.context = 8, .rows = 4, .max_tokens = 30});
  EXPECT_GT(part.windows.size(), 2u);
  EXPECT_LT(part.windows.size(), one.windows.size());
  EXPECT_NEAR(static_cast<double>(part.tokens), 30, 8);
  for (const WindowScore& window : part.windows) {
    const bool found = std::any_of(one.windows.begin(), one.windows.end(), [&](const WindowScore& w) { return w.document == window.document && std::abs(w.nats - window.nats) < 1e-4; });
    EXPECT_TRUE(found);
  }
}

TEST(Score, BitsPerByteByHand) {
  EXPECT_DOUBLE_EQ((TextScore{{}, 8 * std::log(2.0), 2, 4}).bits_per_byte(), 2.0);
  EXPECT_DOUBLE_EQ((TextScore{{}, 3, 2, 4}).nats_per_token(), 1.5);
}

TEST(ScoreText, IsTheScoreOfTheTokenFile) {
  const TemporaryFolder folder;
  const std::string first = "the ship sails north under a grey sky and seven birds follow it", second = "home again when the winter ends";
  text::write_plain(folder / "text.txt", first + "\n<|endoftext|>\n" + second);
  text::BpeTrainer trainer({.vocab_size = 280, .n_threads = 1});
  const std::vector<std::string_view> views{first, second};
  trainer.add(views);
  const text::Tokenizer tokenizer = trainer.train();
  text::TokenFileWriter writer(folder / "tokens", {tokenizer.fingerprint(), tokenizer.vocab_size(), *tokenizer.eos_id()});
  text::for_each_document({folder / "text.txt"}, [&](text::Document document) {
    std::vector<int32_t> ids = tokenizer.encode(document.text, text::Specials::kAsText);
    ids.push_back(*tokenizer.eos_id());
    writer.add_document(ids, document.text.size());
  });
  writer.finish();
  model::Config config = model::tiny_config("llama");
  config.vocab_size = tokenizer.vocab_size();
  const Transformer model(config, 1);
  fs::create_directory(folder / "temporary");
  ::setenv("TMPDIR", (folder / "temporary").c_str(), 1);
  const TextScore of_text = score_text(model, tokenizer, folder / "text.txt", {.context = 8, .rows = 2});
  const TextScore of_file = score(model, text::TokenFile(folder / "tokens"), tokenizer.token_byte_lengths(), {.context = 8, .rows = 2});
  EXPECT_EQ(of_text.nats, of_file.nats);
  EXPECT_EQ(of_text.tokens, of_file.tokens);
  EXPECT_EQ(of_text.bytes, of_file.bytes);
  EXPECT_EQ(of_text.windows.back().document, 1u);
  config.vocab_size = 100;
  EXPECT_THROW(score_text(Transformer(config, 1), tokenizer, folder / "text.txt", {}), Error) << "ids the model does not have";
  EXPECT_THROW(score_text(model, tokenizer, folder / "missing.txt", {}), Error);
  EXPECT_TRUE(fs::is_empty(folder / "temporary"));
  ::unsetenv("TMPDIR");
}

TEST(Score, NeedsADocumentOfTwoTokens) {
  const TemporaryFolder folder;
  const text::TokenFile file = make_file(folder, {1, 1});
  EXPECT_THROW(score(Transformer(model::tiny_config("llama"), 1), file, token_bytes(), {.context = 8}), Error);
}

}  // namespace
}  // namespace entrain::eval
