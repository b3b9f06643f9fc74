#pragma once
// Recipe keys that list blocks of the model.

#include <cstdint>
#include <string>
#include <vector>

namespace entrain::model {

/// One sentence for each entry of `blocks`, the value of recipe key `key`, that is no block of a model with so many layers, counted from 0.
std::vector<std::string> block_problems(const std::string& key, const std::vector<double>& blocks, int64_t layers);

}  // namespace entrain::model
