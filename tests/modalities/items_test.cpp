#include "entrain/modalities/items.h"

#include <gtest/gtest.h>

#include <set>

#include "entrain/base/error.h"
#include "../text/temporary_folder.h"

namespace entrain::modalities {
namespace {

using text::TemporaryFolder;
using text::write_plain;

using Lines = std::vector<std::string>;

/// Different sentences of 23 to 30 characters: "Word number 7 of page 1."
std::string page(int page_number, int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += "Word number " + std::string(static_cast<size_t>(i % 7 + 1), static_cast<char>('a' + i / 7)) + " of page " + static_cast<char>('a' + page_number) + ". ";
  return text;
}

Config config_of(const TemporaryFolder& folder, int64_t items, int64_t held_out) {
  Config config;
  config.text = folder.path().string();
  config.items = items;
  config.held_out = held_out;
  config.min_characters = 10;
  config.max_characters = 60;
  return config;
}

TEST(Items, CutsSentencesAfterTheirMarks) {
  EXPECT_EQ(sentences("And God said.  Let there\tbe light!\r"), (Lines{"And God said.", "Let there be light!"}));
  EXPECT_EQ(sentences("  v. 3.14 is e.g. a number?  yes "), (Lines{"v.", "3.14 is e.g.", "a number?", "yes"}));
  EXPECT_EQ(sentences(" \t "), Lines());
  EXPECT_EQ(sentences(""), Lines());
}

TEST(Items, TakesEachSentenceOnceAndKeepsHeldOutOnesApart) {
  TemporaryFolder folder;
  write_plain(folder / "a.txt", page(0, 40) + "\n" + page(1, 40));
  write_plain(folder / "b.txt", page(1, 40) + "Short. WORD NUMBER A, OF PAGE B! " + std::string(70, 'x') + ".");
  const Items items = draw_items(config_of(folder, 60, 20));
  EXPECT_EQ(items.n_train, 60);
  EXPECT_EQ(items.n_held_out(), 20);
  EXPECT_EQ(std::set<std::string>(items.lines.begin(), items.lines.end()).size(), 80u);
  for (const std::string& line : items.lines) {
    EXPECT_GE(line.size(), 10u);
    EXPECT_LE(line.size(), 60u);
  }
  EXPECT_THROW(draw_items(config_of(folder, 61, 21)), Error) << "there are 80";
}

TEST(Items, DependOnTheSentencesAlone) {
  TemporaryFolder one, two;
  write_plain(one / "a.txt", page(0, 40) + page(1, 40));
  write_plain(two / "x.txt", page(1, 40));
  write_plain(two / "y.txt", page(0, 40));
  const Items a = draw_items(config_of(one, 30, 10)), b = draw_items(config_of(two, 30, 10)), more = draw_items(config_of(one, 50, 10));
  EXPECT_EQ(a.lines, b.lines);
  EXPECT_EQ(a.fingerprint(), b.fingerprint());
  EXPECT_NE(a.fingerprint(), more.fingerprint());
  EXPECT_EQ(Lines(a.lines.begin() + 30, a.lines.end()), Lines(more.lines.begin() + 50, more.lines.end())) << "held-out items do not depend on the number of items";
  EXPECT_TRUE(std::equal(a.lines.begin(), a.lines.begin() + 30, more.lines.begin())) << "more items include the fewer";
}

TEST(Items, CountsCharactersNotBytes) {
  TemporaryFolder folder;
  write_plain(folder / "a.txt", "ééééé ééééé. ありがとう ございます");
  Config config = config_of(folder, 2, 0);
  config.min_characters = config.max_characters = 11;  // 20 and 31 bytes
  config.held_out = 0;
  config.items = 1;
  EXPECT_EQ(draw_items(config).lines, Lines{"ありがとう ございます"});
  config.min_characters = config.max_characters = 12;
  EXPECT_EQ(draw_items(config).lines, Lines{"ééééé ééééé."});
}

}  // namespace
}  // namespace entrain::modalities
