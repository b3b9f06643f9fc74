#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "entrain/text/token_file.h"
#include "reading.h"

// Token files are mapped: their size does not count.
constexpr entrain::fuzz::Bound kBound{.per_byte = 0, .fixed = 4096};

namespace {

using namespace entrain;

void read(const std::string& bytes) {
  static const int file = ::memfd_create("tokens", 0);  // they are read by their path
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) __builtin_trap();
  fuzz::reading(kBound, bytes.size(), [&] {
    const text::TokenFile tokens(path);
    uint64_t end = 0;
    for (uint64_t i = 0; i < tokens.n_documents(); ++i) {  // documents cover the tokens without gaps
      const text::DocumentRange document = tokens.document(i);
      if (document.begin != end || document.end <= document.begin) __builtin_trap();
      end = document.end;
    }
    if (end != tokens.n_tokens()) __builtin_trap();
    int64_t copied[64];
    for (uint64_t i = 0; i < end; i += 64) tokens.copy(i, std::span(copied).first(std::min<uint64_t>(64, end - i)));
    tokens.verify();
  });
}

/// The same with the checksums that its content has: nothing but chance would find them. docs/formats.md says where they stand.
std::string repaired(std::string bytes) {
  constexpr size_t kDataChecksum = 56, kHeaderChecksum = 64, kHeaderBytes = 72;
  if (bytes.size() < kHeaderBytes) return bytes;
  const auto set = [&](size_t at, uint64_t value) { std::memcpy(bytes.data() + at, &value, sizeof value); };
  set(kDataChecksum, checksum(std::string_view(bytes).substr(kHeaderBytes)));
  set(kHeaderChecksum, checksum(std::string_view(bytes).substr(0, kHeaderChecksum)));
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  read(bytes);
  read(repaired(bytes));
  return 0;
}
