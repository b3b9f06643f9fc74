#pragma once

#include <cstdint>

namespace entrain::model {

/// Positions whose pairs forward mixing sums at once; its FLOPs depend on it.
inline constexpr int64_t kMixingChunk = 64;

}  // namespace entrain::model
