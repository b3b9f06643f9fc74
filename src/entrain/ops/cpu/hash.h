#pragma once
// The hash behind hashed_rows: its finaliser is that of SplitMix64 (Steele et al., OOPSLA 2014; variant 13 of Stafford).

#include <cstdint>

namespace entrain::ops::cpu {

constexpr uint64_t kHashStep = 0x9e3779b97f4a7c15;  ///< 2^64 / golden ratio

/// A bijection of 64 bits; every bit of the result depends on every bit of x.
inline uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// Where the hash of an n-gram starts.
inline uint64_t hash_seed(int64_t order, int64_t head) { return mix((static_cast<uint64_t>(head) << 8) + static_cast<uint64_t>(order)); }

/// The hash after one more id.
inline uint64_t hash_next(uint64_t hash, int64_t id) { return mix((hash ^ static_cast<uint64_t>(id)) + kHashStep); }

/// A hash as a key: 63 bits, never 0.
inline int64_t hash_to_key(uint64_t hash) { return hash >> 1 == 0 ? 1 : static_cast<int64_t>(hash >> 1); }

/// Signs of channels 64 w .. 64 w + 63 under a key: bit set means -1.
inline uint64_t sign_word(int64_t key, int64_t w) { return mix(static_cast<uint64_t>(key) + static_cast<uint64_t>(w + 1) * kHashStep); }

}  // namespace entrain::ops::cpu
