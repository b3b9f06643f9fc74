#pragma once
// Counter-based random streams (Philox 4x32-10; Salmon et al., SC 2011): every use of chance names its stream, so
// that a draw depends on (seed, name, indices) alone, never on what was drawn before. Nothing needs to be saved to resume.

#include <cstdint>
#include <string_view>
#include <vector>

namespace entrain {

/// A sequence of random numbers fixed by its key. Copying copies the position.
class RandomStream {
 public:
  explicit RandomStream(uint64_t key) : key_(key) {}
  uint64_t next_u64();
  /// Uniform in [0, 1), 53 bits.
  double next_uniform();
  /// Standard normal (Box-Muller).
  double next_normal();
  /// Uniform in [0, n); n > 0. Unbiased.
  uint64_t next_below(uint64_t n);

 private:
  uint64_t key_;
  uint64_t counter_ = 0;
  uint64_t spare_ = 0;
  bool has_spare_ = false;
};

/// The stream of `name` under a run's seed, for up to two indices (a step, a layer).
RandomStream stream(uint64_t seed, std::string_view name, uint64_t index0 = 0, uint64_t index1 = 0);

/// A permutation of 0..n-1 (Fisher-Yates).
std::vector<uint32_t> permutation(RandomStream& random, uint32_t n);

}  // namespace entrain
