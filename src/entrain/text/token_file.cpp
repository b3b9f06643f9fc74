#include "entrain/text/token_file.h"

#include <bit>
#include <limits>
#include <string>

#include "entrain/base/error.h"

namespace entrain::text {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian and mapped as they are");

constexpr char kMagic[8] = {'E', 'N', 'T', 'R', 'T', 'O', 'K', '\n'};
constexpr uint32_t kVersion = 1;

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t width;
  uint64_t n_tokens;
  uint64_t n_documents;
  uint64_t n_bytes;
  uint64_t fingerprint;
  int32_t vocab_size;
  int32_t eos_id;
  uint64_t data_checksum;    // of everything after the header
  uint64_t header_checksum;  // of the header before this field
};
static_assert(sizeof(Header) == 72 && offsetof(Header, header_checksum) == 64);

constexpr uint64_t kIndexEntryBytes = 16;

uint32_t width_for(int32_t vocab_size) { return vocab_size <= 65536 ? 2 : 4; }

uint64_t padding(uint64_t n_bytes) { return (8 - n_bytes % 8) % 8; }

uint64_t header_checksum(const Header& header) {
  return checksum({reinterpret_cast<const char*>(&header), offsetof(Header, header_checksum)});
}

[[noreturn]] void damaged(const fs::path& path, const std::string& what) {
  throw Error(ErrorKind::kData, "token file " + path.string() + " " + what,
              "make it again with `entrain data prepare`");
}

}  // namespace

TokenFileWriter::TokenFileWriter(const fs::path& path, const TokenFileInfo& info) : file_(path), info_(info) {
  ENTRAIN_CHECK(info.vocab_size > 0, "vocab_size " + std::to_string(info.vocab_size));
  const Header blank{};
  file_.write(&blank, sizeof blank);
}

void TokenFileWriter::add_document(std::span<const int32_t> tokens, uint64_t n_bytes) {
  ENTRAIN_CHECK(!tokens.empty(), "a document needs at least one token");
  for (const int32_t id : tokens) {
    ENTRAIN_CHECK(id >= 0 && id < info_.vocab_size,
                  "id " + std::to_string(id) + " outside a vocabulary of " + std::to_string(info_.vocab_size));
  }
  index_.push_back({n_tokens_, n_bytes});
  n_tokens_ += tokens.size();
  n_bytes_ += n_bytes;
  if (width_for(info_.vocab_size) == 2) {
    narrow_.assign(tokens.begin(), tokens.end());
    file_.write(narrow_.data(), narrow_.size() * 2);
    checksum_.update(narrow_.data(), narrow_.size() * 2);
  } else {
    file_.write(tokens.data(), tokens.size_bytes());
    checksum_.update(tokens.data(), tokens.size_bytes());
  }
}

void TokenFileWriter::finish() {
  const uint64_t zeros = 0;
  const uint64_t n_padding = padding(n_tokens_ * width_for(info_.vocab_size));
  file_.write(&zeros, n_padding);
  checksum_.update(&zeros, n_padding);
  file_.write(index_.data(), index_.size() * kIndexEntryBytes);
  checksum_.update(index_.data(), index_.size() * kIndexEntryBytes);

  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.width = width_for(info_.vocab_size);
  header.n_tokens = n_tokens_;
  header.n_documents = index_.size();
  header.n_bytes = n_bytes_;
  header.fingerprint = info_.fingerprint;
  header.vocab_size = info_.vocab_size;
  header.eos_id = info_.eos_id;
  header.data_checksum = checksum_.digest();
  header.header_checksum = header_checksum(header);
  file_.write_at(0, &header, sizeof header);
  file_.commit();
}

TokenFile::TokenFile(const fs::path& path) : path_(path), map_(path) {
  const uint64_t size = map_.bytes().size();
  Header header;
  if (size < sizeof header) damaged(path, "is only " + std::to_string(size) + " bytes, less than its header");
  std::memcpy(&header, map_.bytes().data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) damaged(path, "does not begin as a token file does");
  if (header.version != kVersion) {
    damaged(path, "has format version " + std::to_string(header.version) + "; this program reads version " +
                      std::to_string(kVersion));
  }
  if (header.header_checksum != header_checksum(header)) damaged(path, "has a damaged header (wrong checksum)");

  // The checksum says the header is as it was written, not that it was written by us: nothing below trusts its numbers.
  if (header.vocab_size <= 0 || header.width != width_for(header.vocab_size) || header.eos_id < -1 ||
      header.eos_id >= header.vocab_size) {
    damaged(path, "has a header that contradicts itself");
  }
  const uint64_t body = size - sizeof header;
  const bool fits = header.n_tokens <= body / header.width && header.n_documents <= body / kIndexEntryBytes;
  const uint64_t token_bytes = fits ? header.n_tokens * header.width : 0;
  const uint64_t index_offset = token_bytes + padding(token_bytes);
  if (!fits || index_offset + header.n_documents * kIndexEntryBytes != body) {
    damaged(path, "is " + std::to_string(size) + " bytes, which is not the size its header announces (" +
                      std::to_string(header.n_tokens) + " tokens, " + std::to_string(header.n_documents) + " documents)");
  }

  info_ = {header.fingerprint, header.vocab_size, header.eos_id};
  n_tokens_ = header.n_tokens;
  n_documents_ = header.n_documents;
  n_bytes_ = header.n_bytes;
  checksum_ = header.data_checksum;
  width_ = header.width;
  tokens_ = map_.bytes().data() + sizeof header;
  index_ = tokens_ + index_offset;

  // Documents cover the tokens without gaps, none of them empty, and their lengths add up.
  uint64_t previous_begin = 0, total_bytes = 0;
  if ((n_documents_ == 0) != (n_tokens_ == 0)) damaged(path, "has tokens without documents");
  for (uint64_t i = 0; i < n_documents_; ++i) {
    const uint64_t begin = index_value(2 * i);
    if (begin >= n_tokens_ || (i == 0 ? begin != 0 : begin <= previous_begin)) {
      damaged(path, "has a damaged document index at document " + std::to_string(i));
    }
    previous_begin = begin;
    total_bytes += index_value(2 * i + 1);
  }
  if (total_bytes != n_bytes_) damaged(path, "has a damaged document index (byte lengths do not add up)");
}

uint64_t TokenFile::index_value(uint64_t i) const {
  uint64_t value;
  std::memcpy(&value, index_ + i * sizeof value, sizeof value);
  return value;
}

void TokenFile::verify() const {
  const auto bytes = map_.bytes();
  Checksum sum;
  sum.update(bytes.data() + sizeof(Header), bytes.size() - sizeof(Header));
  if (sum.digest() != checksum_) damaged(path_, "is damaged (wrong checksum of the data)");
  for (uint64_t i = 0; i < n_tokens_; ++i) {
    const int32_t id = token(i);
    if (id < 0 || id >= info_.vocab_size) {
      damaged(path_, "holds id " + std::to_string(id) + " at token " + std::to_string(i) + ", outside its vocabulary of " +
                         std::to_string(info_.vocab_size));
    }
  }
}

DocumentRange TokenFile::document(uint64_t i) const {
  ENTRAIN_CHECK(i < n_documents_, "document " + std::to_string(i) + " of " + std::to_string(n_documents_));
  const uint64_t end = i + 1 < n_documents_ ? index_value(2 * (i + 1)) : n_tokens_;
  return {index_value(2 * i), end, index_value(2 * i + 1)};
}

int32_t TokenFile::token(uint64_t i) const {
  ENTRAIN_CHECK(i < n_tokens_, "token " + std::to_string(i) + " of " + std::to_string(n_tokens_));
  if (width_ == 2) return reinterpret_cast<const uint16_t*>(tokens_)[i];
  return reinterpret_cast<const int32_t*>(tokens_)[i];
}

void TokenFile::copy(uint64_t begin, std::span<int64_t> out) const {
  ENTRAIN_CHECK(begin <= n_tokens_ && out.size() <= n_tokens_ - begin,
                "tokens " + std::to_string(begin) + " + " + std::to_string(out.size()) + " of " + std::to_string(n_tokens_));
  if (width_ == 2) {
    const auto* from = reinterpret_cast<const uint16_t*>(tokens_) + begin;
    for (size_t i = 0; i < out.size(); ++i) out[i] = from[i];
  } else {
    const auto* from = reinterpret_cast<const int32_t*>(tokens_) + begin;
    for (size_t i = 0; i < out.size(); ++i) out[i] = from[i];
  }
}

}  // namespace entrain::text
