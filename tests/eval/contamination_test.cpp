#include "entrain/eval/contamination.h"

#include "../text/temporary_folder.h"
#include "entrain/base/error.h"

namespace entrain::eval {
namespace {

using text::TemporaryFolder;

/// "w0 w1 ... ": n words from `first` on.
std::string words(int first, int n) {
  std::string out;
  for (int i = first; i < first + n; ++i) out += "w" + std::to_string(i) + " ";
  return out;
}

TEST(OverlapWords, DropCaseAndPunctuation) {
  EXPECT_EQ(overlap_words("Don't -- STOP, said \u201cBob\u201d\u2014now\u2026 a well-known\u00a0\u00e9t\u00e9!"),
            (std::vector<std::string>{"dont", "stop", "said", "bob", "now", "a", "well", "known", "\u00e9t\u00e9"}));
  EXPECT_TRUE(overlap_words(" ... - \n").empty());
}

TEST(FindOverlaps, NeedsThirteenWordsInARow) {
  const TemporaryFolder folder;
  text::write_plain(folder / "a.txt", "Before. " + words(0, 12) + "else\n<|endoftext|>\n" + words(100, 6));
  text::write_plain(folder / "b.txt", words(106, 20) + "\n<|endoftext|>\nW200, w201 (w202) w203 w204 w205 w206 w207 w208!");
  const std::vector<std::string> items{
      words(0, 13) + words(50, 5),     // 12 words shared
      words(300, 9) + words(110, 13),  // 13 shared, in the middle of a document
      words(100, 13),                  // its words go over a border of documents
      words(200, 9),                   // nine words, as a whole, written differently
      words(200, 7),                   // too short
      words(200, 8) + "w999",          // short, not as a whole
      "",
  };
  const std::vector<Overlap> expected{Overlap::kClean, Overlap::kContaminated, Overlap::kClean, Overlap::kContaminated, Overlap::kNotCheckable, Overlap::kClean, Overlap::kNotCheckable};
  EXPECT_EQ(find_overlaps(items, {folder.path()}), expected);
  EXPECT_EQ(find_overlaps({items[0]}, {folder / "a.txt"}), std::vector<Overlap>{Overlap::kClean});
  EXPECT_THROW(find_overlaps(items, {folder / "missing"}), Error);
}

TEST(FindOverlaps, MarksEveryItemWithTheSameRun) {
  const TemporaryFolder folder;
  text::write_plain(folder / "a.txt", words(0, 2000));
  std::vector<std::string> items;
  for (int i = 0; i < 50; ++i) items.push_back("own" + std::to_string(i) + " " + words(500 + i % 2, 13));
  EXPECT_EQ(find_overlaps(items, {folder / "a.txt"}), std::vector<Overlap>(50, Overlap::kContaminated));
}

}  // namespace
}  // namespace entrain::eval
