#include "entrain/text/corpus.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "entrain/base/error.h"
#include "temporary_folder.h"

namespace entrain::text {
namespace {

std::vector<std::string> texts(const std::vector<fs::path>& paths) {
  std::vector<std::string> out;
  for_each_document(paths, [&](Document document) { out.push_back(std::move(document.text)); });
  return out;
}

void write_gz(const fs::path& path, const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
}

void expect_error(const std::vector<fs::path>& paths, ErrorKind kind, const std::vector<std::string>& words) {
  try {
    texts(paths);
    ADD_FAILURE() << "no error; expected " << words.front();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    for (const auto& word : words) EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    EXPECT_FALSE(error.hint().empty()) << error.what();
  }
}

TEST(Corpus, ReadsTxtWithSeparators) {
  const TemporaryFolder folder;
  write_plain(folder / "a.txt", "one\nmore\n<|endoftext|>\ntwo\r\n<|endoftext|>\r\n \n<|endoftext|>\nnot <|endoftext|> here");
  EXPECT_EQ(texts({folder / "a.txt"}), (std::vector<std::string>{"one\nmore\n", "two\r\n", "not <|endoftext|> here"}));
}

TEST(Corpus, ReadsJsonlAndGz) {
  const TemporaryFolder folder;
  const std::string lines = "{\"text\": \"a\\nb\"}\n\n{\"id\": 3, \"text\": \"\\u00e9\"}\n{\"text\": \"\"}\n{\"text\": \"last\"}";
  write_plain(folder / "a.jsonl", lines);
  write_gz(folder / "b.jsonl.gz", lines);
  write_gz(folder / "c.txt.gz", "zipped\n");
  const std::vector<std::string> expected{"a\nb", "é", "last"};
  EXPECT_EQ(texts({folder / "a.jsonl"}), expected);
  EXPECT_EQ(texts({folder / "b.jsonl.gz"}), expected);
  EXPECT_EQ(texts({folder / "c.txt.gz"}), std::vector<std::string>{"zipped\n"});
}

TEST(Corpus, ReadsFoldersSortedAndSkipsOtherFiles) {
  const TemporaryFolder folder;
  write_plain(folder / "b.txt", "b");
  write_plain(folder / "a" / "z.txt", "az");
  write_plain(folder / "a" / "c.jsonl", "{\"text\": \"ac\"}");
  write_plain(folder / "note.md", "no");
  write_plain(folder / ".hidden.txt", "no");
  write_plain(folder / ".git" / "x.txt", "no");
  EXPECT_EQ(texts({folder.path()}), (std::vector<std::string>{"ac", "az", "b"}));
  EXPECT_EQ(texts({folder / "note.md", folder / "b.txt"}), (std::vector<std::string>{"no", "b"}));  // named files are read
}

TEST(Corpus, ErrorsNameFileLineAndFix) {
  const TemporaryFolder folder;
  write_plain(folder / "empty.txt", "");
  write_plain(folder / "blank.txt", " \n\t\n");
  write_plain(folder / "bad.jsonl", "{\"text\": \"ok\"}\n{\"text\": \"oops\n");
  write_plain(folder / "field.jsonl", "\n{\"content\": \"ok\"}\n");
  write_plain(folder / "number.jsonl", "{\"text\": 5}\n");
  write_plain(folder / "array.jsonl", "[1]\n");
  write_plain(folder / "folder" / "x.md", "x");
  write_plain(folder / "notgz.txt.gz", "plain text");
  expect_error({folder / "none"}, ErrorKind::kIo, {"none"});
  expect_error({folder / "empty.txt"}, ErrorKind::kData, {"empty.txt"});
  expect_error({folder / "blank.txt"}, ErrorKind::kData, {"blank.txt"});
  expect_error({folder / "bad.jsonl"}, ErrorKind::kData, {"bad.jsonl:2"});
  expect_error({folder / "field.jsonl"}, ErrorKind::kData, {"field.jsonl:2", "text"});
  expect_error({folder / "number.jsonl"}, ErrorKind::kData, {"number.jsonl:1"});
  expect_error({folder / "array.jsonl"}, ErrorKind::kData, {"array.jsonl:1"});
  expect_error({folder / "folder"}, ErrorKind::kData, {"folder"});
  expect_error({folder / "notgz.txt.gz"}, ErrorKind::kData, {"notgz.txt.gz"});
}

TEST(Corpus, RejectsEveryTruncationAndDamageOfGz) {
  const TemporaryFolder folder;
  write_gz(folder / "a.txt.gz", "some text that is compressed, some text that is compressed\n");
  const std::string good = read_file(folder / "a.txt.gz");
  for (size_t n = 0; n < good.size(); ++n) {
    write_plain(folder / "bad.txt.gz", good.substr(0, n));
    expect_error({folder / "bad.txt.gz"}, ErrorKind::kData, {"bad.txt.gz"});
  }
  std::string flipped = good;
  flipped[good.size() - 6] ^= 1;  // the stored checksum
  write_plain(folder / "bad.txt.gz", flipped);
  expect_error({folder / "bad.txt.gz"}, ErrorKind::kData, {"bad.txt.gz"});
}

}  // namespace
}  // namespace entrain::text
