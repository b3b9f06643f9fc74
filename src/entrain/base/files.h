#pragma once
// Files that survive a kill and a full disk: written aside, synced, renamed, the folder synced.
// All functions throw Error{kIo} with the path and the system's reason, unless said otherwise.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace entrain {

namespace fs = std::filesystem;

/// Checksum used by every file format here: XXH3, 64 bits (as `xxhsum -H3` prints it).
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;
  void update(const void* data, size_t n_bytes);
  uint64_t digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};
uint64_t checksum(std::string_view bytes);
/// Checksum of a whole file, read in pieces.
uint64_t file_checksum(const fs::path& path);
/// 16 lower-case hexadecimal digits.
std::string to_hex(uint64_t value);

std::string read_file(const fs::path& path);

/// Writes `path` by way of a hidden sibling that is synced and renamed by commit(). Destroyed without commit(), it leaves
/// nothing behind and any earlier file at `path` untouched.
class AtomicFile {
 public:
  explicit AtomicFile(fs::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, size_t n_bytes);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  /// Overwrites bytes already written (a header known only at the end).
  void write_at(uint64_t offset, const void* data, size_t n_bytes);
  uint64_t size() const { return size_; }
  void commit();

 private:
  void flush();
  fs::path path_, temporary_;
  std::string buffer_;
  uint64_t size_ = 0;
  int fd_ = -1;
};

/// Writes a whole file through AtomicFile.
void write_file(const fs::path& path, std::string_view bytes);

/// Moves a finished folder into place: syncs every file in it and the folder, renames, syncs the parent.
/// `to` must not exist.
void commit_folder(const fs::path& from, const fs::path& to);

/// Makes the folder with its parents.
void make_folder(const fs::path& path);

/// A read-only memory map of a whole file. An empty file maps to an empty span.
class MappedFile {
 public:
  explicit MappedFile(const fs::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace entrain
