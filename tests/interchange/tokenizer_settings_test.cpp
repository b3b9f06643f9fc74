#include "entrain/interchange/tokenizer_settings.h"

#include <gtest/gtest.h>

#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/text/pretokenizer.h"

namespace entrain::interchange {
namespace {

using text::TemporaryFolder;

/// 256 bytes, and <|endoftext|> with the id 256.
text::Tokenizer of_bytes() {
  text::TokenizerParts parts{.tokens = {}, .merges = {}, .pattern = text::named_pattern("gpt2"), .special_ids = {256}};
  for (int b = 0; b < 256; ++b) parts.tokens.emplace_back(1, static_cast<char>(b));
  parts.tokens.push_back("<|endoftext|>");
  return text::Tokenizer::from_parts(parts);
}

/// Of a folder with these texts; empty: no such file.
TokenizerSettings settings_of(const std::string& config, const std::string& generation) {
  const TemporaryFolder folder;
  if (!config.empty()) write_file(folder / "config.json", config);
  if (!generation.empty()) write_file(folder / "generation_config.json", generation);
  return read_settings(folder.path(), of_bytes());
}

using Ids = std::vector<int32_t>;

TEST(TokenizerSettings, TheTokensThatEndATextAreThoseOfEveryFile) {
  EXPECT_EQ(settings_of("", "").eos_ids(), Ids{256}) << "the tokenizer's";
  EXPECT_EQ(settings_of(R"({"eos_token_id": 3})", "").eos_ids(), Ids{3});
  EXPECT_EQ(settings_of(R"({"eos_token_id": [3, 4, 3, 5]})", "").eos_ids(), (Ids{3, 4, 5}));
  EXPECT_EQ(settings_of(R"({"eos_token_id": [3, 4]})", R"({"eos_token_id": [5, 3]})").eos_ids(), (Ids{3, 5})) << "how text is generated says the other file";
  EXPECT_EQ(settings_of(R"({"eos_token_id": [3, 4]})", R"({"temperature": 0.5})").eos_ids(), (Ids{3, 4}));
  EXPECT_EQ(settings_of("", R"({"eos_token_id": 7})").eos_ids(), (Ids{256, 7}));
}

TEST(TokenizerSettings, IdsThatNoTokenHasArePassedOver) {
  for (const char* ids : {"-1", "257", "9223372036854775808", "1e100", "2.5", "null", "\"3\"", "[]", "[[3]]", "{}"}) {
    EXPECT_EQ(settings_of(std::string("{\"eos_token_id\": ") + ids + "}", "").eos_ids(), Ids{256}) << ids;
    EXPECT_EQ(settings_of(std::string("{\"eos_token_id\": [3, ") + ids + "]}", "").eos_ids(), Ids{3}) << ids;
  }
}

TEST(TokenizerSettings, WhatIsWrittenIsReadAgain) {
  const text::Tokenizer tokenizer = of_bytes();
  const TokenizerSettings settings = settings_of(R"({"eos_token_id": 3, "pad_token_id": 9})", R"({"do_sample": true, "eos_token_id": [3, 5], "temperature": 0.6})");
  const std::map<std::string, std::string> files = settings_files(settings, tokenizer, 16);
  EXPECT_EQ(Json::parse(files.at("generation_config.json")), Json::parse(R"({"do_sample": true, "eos_token_id": [3, 5], "temperature": 0.6, "pad_token_id": 9})"));
  const TemporaryFolder folder;
  write_settings(folder.path(), files);
  const TokenizerSettings again = read_settings(folder.path(), tokenizer);
  EXPECT_EQ(again.eos_ids(), settings.eos_ids());
  EXPECT_EQ(settings_files(again, tokenizer, 16), files);
  EXPECT_FALSE(settings_files(settings_of(R"({"eos_token_id": 3})", ""), tokenizer, 16).contains("generation_config.json")) << "one token needs no such file";
  EXPECT_TRUE(settings_files(settings_of(R"({"eos_token_id": [3, 4]})", ""), tokenizer, 16).contains("generation_config.json"));
}

TEST(TokenizerSettings, FilesThatDoNotParseAreNamed) {
  for (const char* text : {"{", "[]", "3"}) {
    try {
      settings_of("", text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_NE(std::string(error.what()).find("generation_config.json"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace entrain::interchange
