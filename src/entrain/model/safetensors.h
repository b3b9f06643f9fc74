#pragma once
// The safetensors file format: 8-byte little-endian header length, JSON header {name: {dtype, shape, data_offsets}}, data.

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "entrain/base/files.h"
#include "entrain/base/tensor.h"

namespace entrain::model {

/// Tensors under their names, in file order.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Writes aside, syncs, renames. Tensors may be views and of dtype float32, float64, float16, bfloat16 or int64.
void write_safetensors(const fs::path& path, const NamedTensors& tensors);

/// Shows each tensor in file order, one at a time: a view of the file that must not be written and ends with the call. For files larger
/// than memory should hold twice. Throws as read_safetensors.
void visit_safetensors(const fs::path& path, const std::function<void(const std::string& name, const Tensor& view)>& visit);

/// Copies the files' tensors into `targets`, one at a time. target_of: the target's name of a tensor's name; is_known: whether a tensor
/// without a target may be passed over. Throws Error{kData} that names missing, surplus and wrongly shaped tensors.
void copy_safetensors(const std::vector<fs::path>& files, std::map<std::string, Tensor> targets, const std::function<std::string(const std::string&)>& target_of,
                      const std::function<bool(const std::string&)>& is_known);

/// Reads every tensor into memory of its own. Throws Error{kData} when the header does not describe exactly the bytes that
/// are there; allocates nothing the file's size does not cover.
NamedTensors read_safetensors(const fs::path& path);

}  // namespace entrain::model
