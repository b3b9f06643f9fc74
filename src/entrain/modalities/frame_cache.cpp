#include "entrain/modalities/frame_cache.h"

#include <array>
#include <cstring>

namespace entrain::modalities {
namespace {

constexpr std::array<char, 8> kMagic{'E', 'N', 'T', 'F', 'R', 'M', '0', '1'};

struct Header {
  std::array<char, 8> magic = kMagic;
  uint64_t key = 0, body_checksum = 0, n_items = 0;
};

}  // namespace

void save_frames(const fs::path& path, uint64_t key, const ItemFrames& frames) {
  std::vector<uint64_t> sizes;
  for (const auto& item : frames) sizes.push_back(item.size());
  Checksum sum;
  AtomicFile file(path);
  Header header{kMagic, key, 0, frames.size()};
  file.write(&header, sizeof header);
  const auto write = [&](const void* data, size_t n_bytes) {
    sum.update(data, n_bytes);
    file.write(data, n_bytes);
  };
  write(sizes.data(), sizes.size() * sizeof(uint64_t));
  for (const auto& item : frames) write(item.data(), item.size());
  header.body_checksum = sum.digest();
  file.write_at(0, &header, sizeof header);
  file.commit();
}

std::optional<ItemFrames> load_frames(const fs::path& path, uint64_t key) {
  if (!fs::exists(path)) return std::nullopt;
  const MappedFile file(path);
  const auto bytes = file.bytes();
  Header header;
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  const auto body = bytes.subspan(sizeof header);
  if (header.magic != kMagic || header.key != key || header.n_items > body.size() / sizeof(uint64_t)) return std::nullopt;
  Checksum sum;
  sum.update(body.data(), body.size());
  if (sum.digest() != header.body_checksum) return std::nullopt;
  std::vector<uint64_t> sizes(header.n_items);
  std::memcpy(sizes.data(), body.data(), sizes.size() * sizeof(uint64_t));
  ItemFrames frames;
  auto rest = body.subspan(sizes.size() * sizeof(uint64_t));
  for (const uint64_t size : sizes) {
    if (size > rest.size()) return std::nullopt;
    const auto* begin = reinterpret_cast<const uint8_t*>(rest.data());
    frames.emplace_back(begin, begin + size);
    rest = rest.subspan(size);
  }
  return frames;
}

}  // namespace entrain::modalities
