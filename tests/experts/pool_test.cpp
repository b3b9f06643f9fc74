#include "entrain/experts/pool.h"

#include <gtest/gtest.h>

#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "text_pool.h"

namespace entrain::experts {
namespace {

using text::TemporaryFolder;

/// The message and hint of what open_pool throws.
std::string refusal(const std::vector<ExpertSource>& sources, ErrorKind kind) {
  try {
    open_pool(sources);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what() + std::string(" | ") + error.hint();
  }
  ADD_FAILURE() << "nothing is thrown";
  return "";
}

struct Folders {
  TemporaryFolder folder;
  text::Tokenizer tokenizer = text_tokenizer();
  std::vector<ExpertSource> sources;

  explicit Folders(int64_t n = 3) {
    for (int64_t i = 0; i < n; ++i) {
      const std::string name = "e" + std::to_string(i);
      save_folder(model::Transformer(text_config(tokenizer, i + 1), static_cast<uint64_t>(i)), tokenizer, folder / name);
      sources.push_back({name, folder / name, i == 1 ? reasoning::Style::kScratchpad : reasoning::Style::kDirect});
    }
  }
};

TEST(Pool, OpensExpertsInOrderAndAtRest) {
  const Folders saved;
  const Pool pool = open_pool(saved.sources);
  ASSERT_EQ(pool.experts.size(), 3U);
  EXPECT_TRUE(pool.absent.empty());
  EXPECT_EQ(pool.tokenizer.fingerprint(), saved.tokenizer.fingerprint());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(pool.experts[i].name, saved.sources[i].name);
    EXPECT_EQ(pool.experts[i].style, saved.sources[i].style);
    EXPECT_EQ(pool.experts[i].model.config().layers, static_cast<int64_t>(i) + 1);
    for (const Tensor& weight : pool.experts[i].model.parameters().stored()) EXPECT_FALSE(weight.requires_grad());
  }
}

TEST(Pool, GoesOnWithoutExpertsThatCannotBeRead) {
  Folders saved(4);
  saved.sources[0].folder = saved.folder / "nowhere";
  const fs::path weights = saved.sources[1].folder / "model.safetensors";
  fs::resize_file(weights, fs::file_size(weights) / 2);
  fs::remove(saved.sources[3].folder / "tokenizer.json");
  const Pool pool = open_pool(saved.sources);
  ASSERT_EQ(pool.experts.size(), 1U);
  EXPECT_EQ(pool.experts[0].name, "e2");
  ASSERT_EQ(pool.absent.size(), 3U);
  for (const size_t k : {0, 1, 2}) {
    const std::string name = std::vector<std::string>{"e0", "e1", "e3"}[k];
    EXPECT_EQ(pool.absent[k].find("expert " + name + " is left out: "), 0U) << pool.absent[k];
  }
  EXPECT_NE(pool.absent[0].find("nowhere"), std::string::npos);
}

TEST(Pool, SurvivesEveryKindOfDamage) {
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"}) {
    for (const std::string& content : {std::string(""), std::string("{"), std::string("[1, 2]"), std::string("{\"model_type\": 3}"), std::string(64, '\xff'), std::string("null")}) {
      Folders saved(2);
      text::write_plain(saved.sources[0].folder / file, content);
      const Pool pool = open_pool(saved.sources);
      ASSERT_EQ(pool.experts.size(), 1U) << file << " holds " << content;
      EXPECT_EQ(pool.experts[0].name, "e1");
      EXPECT_EQ(pool.absent.size(), 1U);
    }
  }
}

TEST(Pool, LeavesOutModelsThatDoNotKnowAllTokens) {
  Folders saved(2);
  model::Config config = text_config(saved.tokenizer);
  config.vocab_size = saved.tokenizer.vocab_size() - 1;
  save_folder(model::Transformer(config, 1), saved.tokenizer, saved.sources[0].folder);
  const Pool pool = open_pool(saved.sources);
  ASSERT_EQ(pool.absent.size(), 1U);
  EXPECT_NE(pool.absent[0].find("of its tokenizer's"), std::string::npos) << pool.absent[0];
}

TEST(Pool, RefusesTwoTokenizers) {
  Folders saved;
  text_tokenizer("other words altogether", 321).save(saved.sources[2].folder / "tokenizer.json");
  model::Config config = text_config(text_tokenizer("other words altogether", 321));
  save_folder(model::Transformer(config, 1), text_tokenizer("other words altogether", 321), saved.sources[2].folder);
  const std::string why = refusal(saved.sources, ErrorKind::kData);
  EXPECT_NE(why.find("experts e0 and e2 have different tokenizers"), std::string::npos) << why;
}

TEST(Pool, RefusesAnEmptyOneAndTooMany) {
  EXPECT_NE(refusal({{"a", "/nowhere/at/all", {}}}, ErrorKind::kData).find("expert a is left out"), std::string::npos);
  EXPECT_NE(refusal({}, ErrorKind::kData).find("no expert of the pool can be opened"), std::string::npos);
  const std::string why = refusal(std::vector<ExpertSource>(101, {"a", "/nowhere", {}}), ErrorKind::kUsage);
  EXPECT_NE(why.find("101"), std::string::npos) << why;
  EXPECT_NE(why.find("100"), std::string::npos) << why;
}

TEST(Pool, RefusesAnswersOfSeveralTokens) {
  const TemporaryFolder folder;
  const text::Tokenizer bytes = byte_tokenizer();
  save_folder(model::Transformer(text_config(bytes), 1), bytes, folder / "a");
  const std::string why = refusal({{"a", folder / "a", {}}}, ErrorKind::kData);
  EXPECT_NE(why.find("\" ●\" with 4 tokens"), std::string::npos) << why;
  EXPECT_NE(why.find("vocab_size"), std::string::npos) << why;
}

TEST(Pool, KnowsTheTokensOfAnswers) {
  const text::Tokenizer tokenizer = text_tokenizer();
  const AnswerTokens tokens = AnswerTokens::of(tokenizer);
  const auto text_of = [&](int64_t id) { return tokenizer.decode(std::vector<int32_t>{static_cast<int32_t>(id)}); };
  for (size_t a = 0; a < kAnswers; ++a) EXPECT_EQ(text_of(tokens.answers[a]), " " + std::string(reasoning::kAnswers[a]));
  EXPECT_EQ(text_of(tokens.equals), " =");
  EXPECT_EQ(text_of(tokens.scratchpad), " ⊢");
  EXPECT_EQ(tokens.eos, 0);
}

TEST(Pool, PadsOnTheLeft) {
  const std::vector<std::vector<int32_t>> texts{{5, 6, 7}, {8}, {9, 10}};
  const Prompts prompts = pad_left(texts);
  EXPECT_TRUE(at::equal(prompts.ids, at::tensor(std::vector<int64_t>{5, 6, 7, 0, 0, 8, 0, 9, 10}).view({3, 3})));
  const Tensor valid = at::tensor(std::vector<int64_t>{1, 1, 1, 0, 0, 1, 0, 1, 1}).view({3, 3});
  EXPECT_TRUE(at::equal(prompts.valid, valid.to(at::kBool)));
  EXPECT_EQ(prompts.segments.scalar_type(), at::kInt);
  EXPECT_TRUE(at::equal(prompts.segments, valid.to(at::kInt)));
  const std::vector<std::vector<int32_t>> equal{{1, 2}, {3, 4}};
  EXPECT_FALSE(pad_left(equal).segments.defined());
  EXPECT_TRUE(pad_left(equal).valid.all().item<bool>());
  EXPECT_ANY_THROW(pad_left(std::vector<std::vector<int32_t>>{}));
  EXPECT_ANY_THROW(pad_left(std::vector<std::vector<int32_t>>{{1}, {}}));
}

TEST(Pool, CostsGrowWithTextAndModel) {
  const text::Tokenizer tokenizer = text_tokenizer();
  const model::Transformer small(text_config(tokenizer, 1), 1), large(text_config(tokenizer, 4), 1);
  EXPECT_GT(forward_flops(small, 20), 2 * forward_flops(small, 10)) << "attention is quadratic";
  EXPECT_GT(forward_flops(large, 10), forward_flops(small, 10));
  // 2 FLOPs a weight and token at least, not counting the embedding that is looked up.
  EXPECT_GT(forward_flops(small, 10), 2.0 * 10 * static_cast<double>(16 * tokenizer.vocab_size()));
}

}  // namespace
}  // namespace entrain::experts
