#pragma once
// What the weights of a model are called and how large they are, told from its configuration alone: files are compared with it before any
// memory is taken for what they describe. Free of torch.

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "entrain/model/config.h"

namespace entrain::model {

/// Sizes of tensors, outermost first, by name.
using Shapes = std::map<std::string, std::vector<int64_t>>;

/// The weights of one block under Transformers' names, as the families' blocks declare them. config must be resolved.
Shapes block_shapes(const Config& config, int64_t layer);
/// Those of no block: embeddings, the last norm, an untied head.
Shapes outer_shapes(const Config& config);
/// Those of a memory, its tables among them, and of forward mixing; none where both are off.
Shapes memory_shapes(const Config& config);

/// Numbers in the weights of a plain model of this shape, those in norms and biases left out: a lower bound.
double weight_count(const Config& config);
/// Throws Error{kData} where files of n_bytes, at bytes_per_weight or more, cannot hold a model of this shape. `name`: of the file that
/// describes the shape.
void check_weights_fit(const Config& config, double n_bytes, double bytes_per_weight, const std::string& name);

/// How a file names a weight and which sizes it gives it.
using InFile = std::function<std::pair<std::string, std::vector<int64_t>>(const std::string& name, const std::vector<int64_t>& shape)>;
/// Throws Error{kData} that names missing and wrongly shaped tensors where the weights of a plain model of this shape are not in `stored`.
/// Goes no further than a block for each stored tensor, whatever number of blocks the configuration names. `message`: what is said before them.
void check_stored(const Config& config, const Shapes& stored, const InFile& in_file, const std::string& message, const std::string& hint);
/// The same for what a memory and forward mixing add.
void check_memory_stored(const Config& config, const Shapes& stored, const std::string& message, const std::string& hint);

/// The first five of the names, and how many more there are.
std::string joined(const std::vector<std::string>& names);

}  // namespace entrain::model
