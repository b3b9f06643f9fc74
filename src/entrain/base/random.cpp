#include "entrain/base/random.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace entrain {
namespace {

struct Block {
  uint32_t x[4];
};

Block philox(uint64_t key, uint64_t counter) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  Block c{{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0}};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c.x[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c.x[2];
    c = Block{{static_cast<uint32_t>(p1 >> 32) ^ c.x[1] ^ k0, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ c.x[3] ^ k1, static_cast<uint32_t>(p0)}};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

uint64_t mix(uint64_t hash, uint64_t value) {  // one splitmix64 round
  uint64_t z = hash + value + 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

}  // namespace

uint64_t RandomStream::next_u64() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const Block block = philox(key_, counter_++);
  spare_ = (uint64_t{block.x[3]} << 32) | block.x[2];
  has_spare_ = true;
  return (uint64_t{block.x[1]} << 32) | block.x[0];
}

double RandomStream::next_uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }

double RandomStream::next_normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - next_uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * next_uniform());
}

uint64_t RandomStream::next_below(uint64_t n) {
  const uint64_t limit = UINT64_MAX - UINT64_MAX % n;
  uint64_t value = next_u64();
  while (value >= limit) value = next_u64();
  return value % n;
}

RandomStream stream(uint64_t seed, std::string_view name, uint64_t index0, uint64_t index1) {
  uint64_t hash = mix(0, seed);
  for (const char c : name) hash = mix(hash, static_cast<unsigned char>(c));
  hash = mix(hash, name.size());
  return RandomStream(mix(mix(hash, index0), index1));
}

std::vector<uint32_t> permutation(RandomStream& random, uint32_t n) {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  for (uint32_t i = n; i > 1; --i) std::swap(order[i - 1], order[random.next_below(i)]);
  return order;
}

}  // namespace entrain
