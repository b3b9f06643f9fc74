#pragma once
// Token files: the encoded documents of one data split, memory-mapped. The layout is written down in docs/formats.md.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "entrain/base/files.h"

namespace entrain::text {

/// What a token file says about itself.
struct TokenFileInfo {
  uint64_t fingerprint = 0;  ///< Tokenizer::fingerprint() of the tokenizer that made the ids
  int32_t vocab_size = 0;    ///< every id is in [0, vocab_size)
  int32_t eos_id = -1;       ///< last token of every document, or -1
};

/// Writes a token file as a stream: memory holds 16 bytes a document, never the tokens. Destroyed without finish(), it
/// leaves nothing behind and an earlier file at the path untouched.
class TokenFileWriter {
 public:
  TokenFileWriter(const fs::path& path, const TokenFileInfo& info);
  /// Appends one document; `tokens` must not be empty and lie in [0, vocab_size). n_bytes: length of its text in bytes.
  void add_document(std::span<const int32_t> tokens, uint64_t n_bytes);
  /// Writes index, checksum and header, and moves the file into place.
  void finish();
  uint64_t n_tokens() const { return n_tokens_; }
  uint64_t n_documents() const { return index_.size(); }
  uint64_t n_bytes() const { return n_bytes_; }

 private:
  struct IndexEntry {
    uint64_t begin, n_bytes;
  };
  AtomicFile file_;
  TokenFileInfo info_;
  Checksum checksum_;
  std::vector<IndexEntry> index_;
  uint64_t n_tokens_ = 0, n_bytes_ = 0;
  std::vector<uint16_t> narrow_;
};

/// A document's tokens are [begin, end); n_bytes is the length of its text (the eos token stands for no byte).
struct DocumentRange {
  uint64_t begin, end, n_bytes;
};

/// A token file opened for reading, mapped rather than loaded. Opening checks the header, all sizes against the true size
/// of the file, and the document index; it reads no token. All reads after that stay inside the file.
/// Throws Error{kData} when the file is not a whole token file, Error{kIo} when it cannot be opened.
class TokenFile {
 public:
  explicit TokenFile(const fs::path& path);

  /// Reads the whole file once: checksum and range of every id. Throws Error{kData}. A file that has been opened but not
  /// verified may hold ids outside [0, vocab_size).
  void verify() const;

  uint64_t n_tokens() const { return n_tokens_; }
  uint64_t n_documents() const { return n_documents_; }
  /// Total length of the documents' text.
  uint64_t n_bytes() const { return n_bytes_; }
  const TokenFileInfo& info() const { return info_; }
  /// Of the tokens and the index, as the header gives it.
  uint64_t content_checksum() const { return checksum_; }
  const fs::path& path() const { return path_; }

  /// i in [0, n_documents()).
  DocumentRange document(uint64_t i) const;
  /// i in [0, n_tokens()).
  int32_t token(uint64_t i) const;
  /// Copies tokens [begin, begin + out.size()), which must lie in the file.
  void copy(uint64_t begin, std::span<int64_t> out) const;

 private:
  uint64_t index_value(uint64_t i) const;

  fs::path path_;
  MappedFile map_;
  TokenFileInfo info_;
  uint64_t n_tokens_ = 0, n_documents_ = 0, n_bytes_ = 0, checksum_ = 0;
  uint32_t width_ = 0;  // bytes a token: 2 or 4
  const std::byte* tokens_ = nullptr;
  const std::byte* index_ = nullptr;
};

}  // namespace entrain::text
