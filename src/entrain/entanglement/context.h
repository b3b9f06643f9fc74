#pragma once
// What a loss needs to know about the micro-batch beside the projected states.

#include <cstdint>

#include "entrain/base/communicator.h"
#include "entrain/base/tensor.h"
#include "entrain/entanglement/statistics.h"

namespace entrain::entanglement {

/// The pointers are borrowed and may be null. B rows of T positions; "all ranks" are those of `ranks`, each with as many rows and positions.
struct Context {
  Tensor ids = {};                              ///< (B, T) int64, the token of each position (a bag's last)
  Tensor segments = {};                         ///< (B, T) int32, equal within a document; undefined: each row is one
  Tensor attribute = {};                        ///< (B, T) int64, value of the attribute at each position, -1 where it has none; for `attribute_hsic`
  int64_t views = 1;                            ///< 2: rows b and b + B/2 are one text under two dropout draws
  const TokenStatistics* statistics = nullptr;  ///< needed by `ppmi`
  uint64_t seed = 0, step = 0, block = 0;       ///< of the random streams; equal on all ranks
  Communicator* ranks = nullptr;                ///< pairs across the batch reach over all ranks; null: this process alone
};

}  // namespace entrain::entanglement
