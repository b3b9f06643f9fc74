#include "entrain/model/blocks.h"

#include <cmath>
#include <cstdint>

#include "entrain/base/format.h"

namespace entrain::model {

std::vector<std::string> block_problems(const std::string& key, const std::vector<double>& blocks, int64_t layers) {
  std::vector<std::string> problems;
  for (const double block : blocks) {
    if (block == std::floor(block) && block >= 0 && block < static_cast<double>(layers)) continue;
    problems.push_back(key + format(" names block %g, the model has blocks 0 to %lld", block, static_cast<long long>(layers - 1)));
  }
  return problems;
}

}  // namespace entrain::model
