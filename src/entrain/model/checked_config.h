#pragma once
// The shape of a model in a Hugging Face folder, compared with what its files hold. Free of torch.

#include <string>
#include <string_view>
#include <vector>

#include "entrain/base/files.h"
#include "entrain/model/weight_shapes.h"

namespace entrain::model {

inline constexpr const char* kMemoryFile = "memory.safetensors";
inline constexpr std::string_view kHubPrefix = "transformer.";  ///< which the names of a gpt2 of the hub lack

/// The files that hold a folder's weights: model.safetensors, or those that model.safetensors.index.json lists.
/// Throws Error{kData} where the index does not parse or names a file outside the folder.
std::vector<fs::path> safetensors_files(const fs::path& folder);

/// What config.json says, adapters and all, of a folder whose files hold the weights of such a model by name and shape: told from their headers,
/// before any memory is taken for a model. Throws Error{kData} as load_model.
Config read_checked_config(const fs::path& folder);

/// What the headers of a folder's files hold.
struct Stored {
  Shapes weights, memory;
  double n_bytes;                         ///< of the files with the weights
  std::string weights_name, memory_name;  ///< used in errors
};
/// Throws Error{kData} where they do not hold the weights of such a model, as read_checked_config does. `name`: of its config.json.
void check_config(const Config& config, const Stored& stored, const std::string& name);

}  // namespace entrain::model
