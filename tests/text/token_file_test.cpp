#include "entrain/text/token_file.h"

#include <gtest/gtest.h>

#include "entrain/base/error.h"
#include "temporary_folder.h"

namespace entrain::text {
namespace {

void write_small(const fs::path& path, int32_t vocab_size) {
  TokenFileWriter writer(path, {.fingerprint = 0x1234, .vocab_size = vocab_size, .eos_id = 0});
  writer.add_document(std::vector<int32_t>{5, 6, 7, 0}, 11);
  writer.add_document(std::vector<int32_t>{0}, 0);
  writer.add_document(std::vector<int32_t>{vocab_size - 1, 0}, 3);
  writer.finish();
}

void expect_rejected(const fs::path& path, const std::string& what) {
  try {
    TokenFile(path).verify();
    ADD_FAILURE() << what << " was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData) << what;
    EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << what;
    EXPECT_FALSE(error.hint().empty()) << what;
  }
}

class TokenFileWidth : public testing::TestWithParam<int32_t> {};

TEST_P(TokenFileWidth, GivesBackWhatWasWritten) {
  const TemporaryFolder folder;
  const int32_t vocab_size = GetParam();
  write_small(folder / "t", vocab_size);
  const TokenFile file(folder / "t");
  file.verify();
  EXPECT_EQ(file.n_tokens(), 7u);
  EXPECT_EQ(file.n_documents(), 3u);
  EXPECT_EQ(file.n_bytes(), 14u);
  EXPECT_EQ(file.info().fingerprint, 0x1234u);
  EXPECT_EQ(file.info().vocab_size, vocab_size);
  EXPECT_EQ(file.info().eos_id, 0);
  EXPECT_EQ(file.document(2).begin, 5u);
  EXPECT_EQ(file.document(2).end, 7u);
  EXPECT_EQ(file.document(2).n_bytes, 3u);
  EXPECT_EQ(file.token(5), vocab_size - 1);
  std::vector<int64_t> tokens(4);
  file.copy(3, tokens);
  EXPECT_EQ(tokens, (std::vector<int64_t>{0, 0, vocab_size - 1, 0}));
  EXPECT_THROW(file.copy(4, tokens), std::logic_error);
}

TEST_P(TokenFileWidth, RejectsEveryFlippedByteAndEveryTruncation) {
  const TemporaryFolder folder;
  write_small(folder / "t", GetParam());
  const std::string good = read_file(folder / "t");
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int flip : {0x01, 0x80}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      write_plain(folder / "bad", bad);
      expect_rejected(folder / "bad", "byte " + std::to_string(i) + " ^ " + std::to_string(flip));
    }
  }
  for (size_t n = 0; n < good.size(); ++n) {
    write_plain(folder / "bad", good.substr(0, n));
    expect_rejected(folder / "bad", std::to_string(n) + " bytes");
  }
  write_plain(folder / "bad", good + '\0');
  expect_rejected(folder / "bad", "a byte too many");
}

INSTANTIATE_TEST_SUITE_P(TwoAndFourBytes, TokenFileWidth, testing::Values(65536, 65537));

// A header whose checksum is right but whose numbers lie must not lead reads outside the file.
TEST(TokenFile, TrustsNoNumberOfACraftedHeader) {
  const TemporaryFolder folder;
  write_small(folder / "t", 300);
  const std::string good = read_file(folder / "t");
  for (const size_t field : {16u, 24u}) {  // n_tokens, n_documents
    for (const uint64_t value : {uint64_t{0}, uint64_t{1} << 31, uint64_t{1} << 60, uint64_t{1} << 63, UINT64_MAX}) {
      std::string bad = good;
      std::memcpy(bad.data() + field, &value, sizeof value);
      const uint64_t sum = checksum(std::string_view(bad).substr(0, 64));
      std::memcpy(bad.data() + 64, &sum, sizeof sum);
      write_plain(folder / "bad", bad);
      EXPECT_THROW(TokenFile{folder / "bad"}, Error) << field << " " << value;
    }
  }
}

TEST(TokenFile, UnfinishedWriterLeavesNothing) {
  const TemporaryFolder folder;
  {
    TokenFileWriter writer(folder / "t", {.fingerprint = 1, .vocab_size = 10, .eos_id = -1});
    writer.add_document(std::vector<int32_t>{1, 2}, 2);
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(TokenFile, MissingFileIsAnIoError) {
  const TemporaryFolder folder;
  try {
    TokenFile file(folder / "none");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kIo);
  }
}

}  // namespace
}  // namespace entrain::text
