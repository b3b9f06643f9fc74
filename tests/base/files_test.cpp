#include "entrain/base/files.h"

#include <gtest/gtest.h>
#include <functional>

#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "full_disk.h"

namespace entrain {
namespace {

using text::TemporaryFolder;

size_t n_entries(const fs::path& folder) { return static_cast<size_t>(std::distance(fs::directory_iterator(folder), {})); }

ErrorKind kind_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::kUsage;
}

std::string random_bytes(RandomStream& random, size_t n) {
  std::string bytes;
  while (bytes.size() < n) {
    const uint64_t word = random.next_u64();
    bytes.append(reinterpret_cast<const char*>(&word), std::min(sizeof word, n - bytes.size()));
  }
  return bytes;
}

TEST(Checksum, IsXxh3WhateverThePieces) {
  EXPECT_EQ(to_hex(checksum("")), "2d06800538d394c2");  // XXH3_64bits of nothing, as `xxhsum -H3` prints it
  const TemporaryFolder folder;
  RandomStream random = stream(1, "files test");
  for (const size_t n : {size_t{0}, size_t{1}, size_t{240}, size_t{241}, size_t{70000}}) {
    const std::string bytes = random_bytes(random, n);
    Checksum pieces;
    for (size_t at = 0; at < n;) {
      const size_t piece = std::min<size_t>(n - at, 1 + random.next_below(n));
      pieces.update(bytes.data() + at, piece);
      at += piece;
    }
    EXPECT_EQ(pieces.digest(), checksum(bytes));
    write_file(folder / "f", bytes);
    EXPECT_EQ(file_checksum(folder / "f"), checksum(bytes));
    EXPECT_EQ(read_file(folder / "f"), bytes);
  }
  EXPECT_EQ(to_hex(0x00ab00000000000f), "00ab00000000000f");
}

TEST(AtomicFile, LeavesNothingWithoutCommit) {
  const TemporaryFolder folder;
  write_file(folder / "kept", "old");
  for (const char* name : {"kept", "new"}) {
    AtomicFile file(folder / name);
    file.write("half of ");
  }
  EXPECT_EQ(n_entries(folder.path()), 1u);
  EXPECT_EQ(read_file(folder / "kept"), "old");
}

TEST(AtomicFile, ReplacesOnlyOnCommit) {
  const TemporaryFolder folder;
  write_file(folder / "f", "old");
  AtomicFile file(folder / "f");
  file.write(std::string(3 << 20, 'n'));
  EXPECT_EQ(read_file(folder / "f"), "old");
  file.commit();
  EXPECT_EQ(read_file(folder / "f"), std::string(3 << 20, 'n'));
  EXPECT_EQ(n_entries(folder.path()), 1u);
}

// Pieces around the buffer's size of 1 MiB, with overwrites in between, against a string.
TEST(AtomicFile, WritesPiecesOfAnySize) {
  const TemporaryFolder folder;
  RandomStream random = stream(2, "files test");
  const size_t mib = size_t{1} << 20;
  for (int round = 0; round < 4; ++round) {
    AtomicFile file(folder / "f");
    std::string expected;
    for (const size_t n : {size_t{0}, size_t{5}, mib - 5, size_t{1}, mib, mib + 1, size_t{3}, size_t{1} + random.next_below(mib)}) {
      const std::string piece = random_bytes(random, n);
      file.write(piece);
      expected += piece;
      EXPECT_EQ(file.size(), expected.size());
      const size_t length = random.next_below(std::min<size_t>(expected.size(), 100) + 1), at = random.next_below(expected.size() - length + 1);
      const std::string patch = random_bytes(random, length);
      file.write_at(at, patch.data(), patch.size());
      expected.replace(at, length, patch);
    }
    EXPECT_THROW(file.write_at(expected.size() - 1, "xy", 2), std::logic_error);
    file.commit();
    EXPECT_EQ(read_file(folder / "f"), expected);
  }
}

TEST(AtomicFile, AFullDiskIsAnErrorAndLeavesTheOldFile) {
  const TemporaryFolder folder;
  write_file(folder / "f", "old");
  {
    const FullDisk disk(64 << 10);
    for (const size_t n : {size_t{100000}, size_t{3} << 20}) {  // fails at the commit, fails at the write
      EXPECT_EQ(kind_of([&] { write_file(folder / "f", std::string(n, 'x')); }), ErrorKind::kIo);
      EXPECT_EQ(kind_of([&] { write_file(folder / "g", std::string(n, 'x')); }), ErrorKind::kIo);
    }
    try {
      write_file(folder / "f", std::string(100000, 'x'));
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find((folder / "f").string()), std::string::npos) << error.what();
    }
    EXPECT_EQ(n_entries(folder.path()), 1u);
  }
  EXPECT_EQ(read_file(folder / "f"), "old");
  write_file(folder / "f", std::string(100000, 'x'));
  EXPECT_EQ(fs::file_size(folder / "f"), 100000u);
}

TEST(Files, SayWhatCannotBeRead) {
  const TemporaryFolder folder;
  write_file(folder / "file", "x");
  EXPECT_EQ(kind_of([&] { read_file(folder / "missing"); }), ErrorKind::kIo);
  EXPECT_EQ(kind_of([&] { read_file(folder.path()); }), ErrorKind::kIo);
  EXPECT_EQ(kind_of([&] { MappedFile map(folder / "missing"); }), ErrorKind::kIo);
  EXPECT_EQ(kind_of([&] { MappedFile map(folder.path()); }), ErrorKind::kIo);
  EXPECT_EQ(kind_of([&] { write_file(folder / "missing" / "file", "x"); }), ErrorKind::kIo);
  EXPECT_EQ(kind_of([&] { make_folder(folder / "file" / "below"); }), ErrorKind::kIo);
  EXPECT_EQ(kind_of([&] { file_checksum(folder / "missing"); }), ErrorKind::kIo);
}

TEST(Files, FoldersMoveWhole) {
  const TemporaryFolder folder;
  make_folder(folder / "aside" / "inner");
  write_file(folder / "aside" / "a", "1");
  write_file(folder / "aside" / "inner" / "b", "2");
  commit_folder(folder / "aside", folder / "there");
  EXPECT_FALSE(fs::exists(folder / "aside"));
  EXPECT_EQ(read_file(folder / "there" / "inner" / "b"), "2");
  make_folder(folder / "aside");
  EXPECT_EQ(kind_of([&] { commit_folder(folder / "aside", folder / "there"); }), ErrorKind::kIo);
  EXPECT_EQ(read_file(folder / "there" / "a"), "1");
}

TEST(MappedFile, MovesAndMapsNothing) {
  const TemporaryFolder folder;
  write_file(folder / "f", "content");
  write_file(folder / "empty", "");
  MappedFile a(folder / "f");
  MappedFile b(std::move(a));
  EXPECT_EQ(b.bytes().size(), 7u);
  MappedFile c(folder / "empty");
  EXPECT_TRUE(c.bytes().empty());
  c = std::move(b);
  ASSERT_EQ(c.bytes().size(), 7u);
  EXPECT_EQ(static_cast<char>(c.bytes()[6]), 't');
}

}  // namespace
}  // namespace entrain
