#include "entrain/text/sword.h"

#include <gtest/gtest.h>

#include "entrain/base/error.h"
#include "temporary_folder.h"

namespace entrain::text {
namespace {

TEST(OsisToText, StripsMarkup) {
  EXPECT_EQ(osis_to_text("<title>The Book</title> <div sID=\"x\" type=\"x-p\"/> In <w lemma=\"strong:H1\">the</w>\n <w>beginning</w>."),
            "The Book\nIn the beginning.\n");
  EXPECT_EQ(osis_to_text("a<note n=\"1\">gone <note>deep</note> gone</note>, b"), "a, b\n");
  EXPECT_EQ(osis_to_text("God<note>a note</note><w>created</w>"), "God created\n");
  EXPECT_EQ(osis_to_text("God<note>a note</note>’s"), "God’s\n");
  EXPECT_EQ(osis_to_text("<l>one</l><lb/><l>two</l><row><cell>a</cell><cell>b</cell></row>"), "one\ntwo\na b\n");
  EXPECT_EQ(osis_to_text("&lt;a&gt; &amp; &#8212; &#x2014; &nothing; & x; ¶ y"), "<a> & — — &nothing; & x; y\n");
  EXPECT_EQ(osis_to_text("<milestone/> <div>"), "");
  EXPECT_EQ(osis_to_text("text <unclosed"), "text\n");
}

TEST(FetchSword, MissingPackagesNameTheFixAndLeaveNothing) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "debs");
  try {
    fetch_sword(folder / "out", {.from = folder / "debs"});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kIo);
    for (const auto& package : sword_packages()) EXPECT_NE(error.hint().find(package), std::string::npos) << error.hint();
    EXPECT_NE(error.hint().find("--from"), std::string::npos);
  }
  write_plain(folder / "debs" / "sword-text-kjv_1_all.deb", "not a package");
  EXPECT_THROW(fetch_sword(folder / "out", {.from = folder / "debs"}), Error);
  EXPECT_THROW(fetch_sword(folder / "out", {.from = folder / "none"}), Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);  // debs alone
}

TEST(FetchSword, KeepsAFolderThatIsNotItsOwn) {
  const TemporaryFolder folder;
  write_plain(folder / "out" / "mine.txt", "mine");
  EXPECT_THROW(fetch_sword(folder / "out", {.from = folder.path()}), Error);
  EXPECT_EQ(read_file(folder / "out" / "mine.txt"), "mine");
}

TEST(FetchSword, ACompleteFolderIsLeftAlone) {
  const TemporaryFolder folder;
  write_plain(folder / "out" / "01-genesis.txt", "text");
  write_plain(folder / "out" / "manifest.json",
              R"({"format": "entrain-sword-text", "version": 1, "files": [{"name": "01-genesis.txt", "bytes": 4, "xxh3": ")" +
                  to_hex(checksum("text")) + "\"}]}");
  const SwordSummary summary = fetch_sword(folder / "out", {.from = folder / "none"});
  EXPECT_TRUE(summary.was_complete);
  EXPECT_EQ(summary.n_documents, 1u);
  write_plain(folder / "out" / "01-genesis.txt", "tex!");
  EXPECT_THROW(fetch_sword(folder / "out", {.from = folder / "none"}), Error);
  EXPECT_EQ(read_file(folder / "out" / "01-genesis.txt"), "tex!");
}

}  // namespace
}  // namespace entrain::text
