#include "entrain/entanglement/config.h"

#include <gtest/gtest.h>

#include "entrain/base/error.h"

namespace entrain::entanglement {
namespace {

std::string refusal(Config config) {
  config.mode = "side";
  try {
    config.resolve(4, 128);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "";
}

void expect_names(const Config& config, const std::vector<std::string>& words) {
  const std::string message = refusal(config);
  for (const std::string& word : words) EXPECT_NE(message.find(word), std::string::npos) << word << " is not in: " << message;
}

TEST(EntanglementConfig, ChoosesABlock) {
  Config config{.mode = "side"};
  config.resolve(6, 64);
  EXPECT_EQ(config.blocks, std::vector<double>{4});
  Config single{.mode = "side"};
  single.resolve(1, 64);
  EXPECT_EQ(single.blocks, std::vector<double>{0});
  Config off{.blocks = {99}};
  off.resolve(1, 1);  // not looked at
  EXPECT_FALSE(off.is_on());
}

TEST(EntanglementConfig, NamesTheFix) {
  expect_names({.blocks = {4}}, {"block 4", "blocks 0 to 3"});
  expect_names({.blocks = {1.5}}, {"block 1.5"});
  expect_names({.blocks = {-1}}, {"block -1"});
  expect_names({.width = 129}, {"entanglement.width (129)", "model.width (128)"});
  expect_names({.temperature = 0.1, .pairs = "random_features"}, {"0.25", "entanglement.temperature", "exact"});
  expect_names({.pairs = "fft"}, {"entanglement.scope"});
  expect_names({.loss = "contraclm"}, {"views"});
  expect_names({.loss = "attribute_hsic"}, {"entanglement.attribute"});
  for (const std::string loss : {"hsic", "attribute_hsic"}) {
    for (const std::string pairs : {"auto", "exact"}) {
      expect_names({.loss = loss, .temperature = 0.2, .pairs = pairs, .attribute = "words.tsv"}, {"the loss " + loss, "0.25", "entanglement.temperature"});
    }
    EXPECT_EQ(refusal({.loss = loss, .temperature = 0.25, .attribute = "words.tsv"}), "");
  }
  expect_names({.positives = "views", .scope = "sequence", .pairs = "fft"}, {"fft", "entanglement.positives", "exact"});
  EXPECT_EQ(refusal({.positives = "window", .scope = "sequence", .pairs = "fft"}), "");
  EXPECT_EQ(refusal({.positives = "views", .scope = "sequence"}), "");
  expect_names({.warmup = 0.6, .decay = 0.6}, {"exceed 1"});
  expect_names({.blocks = {9}, .width = 1000}, {"block 9", "width (1000)"});  // all at once
  EXPECT_EQ(refusal({.temperature = 0.1, .pairs = "exact"}), "");
}

}  // namespace
}  // namespace entrain::entanglement
