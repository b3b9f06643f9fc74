#include "entrain/model/checked_config.h"

#include <set>

#include "entrain/base/error.h"
#include "entrain/base/foreign_json.h"
#include "entrain/model/config_json.h"
#include "entrain/model/safetensors_header.h"

namespace entrain::model {
namespace {

/// The tensors that the files' headers describe.
Shapes stored_shapes(const std::vector<fs::path>& files) {
  Shapes shapes;
  for (const fs::path& path : files) {
    const MappedFile file(path);
    for (SafetensorsEntry& entry : read_safetensors_header(file.bytes(), path.string()).entries) shapes[entry.name] = std::move(entry.shape);
  }
  return shapes;
}

}  // namespace

std::vector<fs::path> safetensors_files(const fs::path& folder) {
  const fs::path single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
  if (fs::exists(single) || !fs::exists(index)) return {single};
  std::set<std::string> names;
  try {
    const OrderedJson json = parse_foreign<OrderedJson>(read_file(index));
    for (const auto& [tensor, file] : json.at("weight_map").items()) names.insert(file.get<std::string>());
  } catch (const OrderedJson::exception& error) {
    throw Error(ErrorKind::kData, index.string() + " is not a usable index: " + error.what(), "copy it again from where the model came from");
  }
  std::vector<fs::path> files;
  for (const std::string& name : names) {
    if (name.empty() || fs::path(name).filename() != name || name == "..") throw Error(ErrorKind::kData, index.string() + " names the file '" + name + "', which is not in its folder", "copy the model again");
    if (!fs::exists(folder / name)) throw Error(ErrorKind::kData, index.string() + " names " + name + ", which is not there", "copy the model's missing files into " + folder.string());
    files.push_back(folder / name);
  }
  if (files.empty()) throw Error(ErrorKind::kData, index.string() + " names no file", "copy it again from where the model came from");
  return files;
}

Config read_checked_config(const fs::path& folder) {
  const std::string name = (folder / "config.json").string();
  const Config config = from_config_json(read_file(name), name);
  const std::vector<fs::path> files = safetensors_files(folder);
  const fs::path memory = folder / kMemoryFile;
  Stored stored{.weights = stored_shapes(files), .memory = {}, .n_bytes = 0, .weights_name = (files.size() == 1 ? files.front() : folder).string(), .memory_name = memory.string()};
  for (const fs::path& file : files) stored.n_bytes += static_cast<double>(fs::file_size(file));
  if (config.memory.is_on() || (config.mixing.is_on() && fs::exists(memory))) stored.memory = stored_shapes({memory});
  check_config(config, stored, name);
  return config;
}

void check_config(const Config& config, const Stored& stored, const std::string& name) {
  const std::string hint = "take config.json and model.safetensors of the same model";
  check_weights_fit(config, stored.n_bytes, 2, name);
  const auto in_file = [&](const std::string& weight, const std::vector<int64_t>& shape) {
    const bool bare = config.is_gpt2() && !stored.weights.contains(weight) && weight.starts_with(kHubPrefix);
    return std::pair(bare ? weight.substr(kHubPrefix.size()) : weight, shape);
  };
  check_stored(config, stored.weights, in_file, stored.weights_name + " does not fit its config.json:", hint);
  if (config.mixing.is_on() && static_cast<double>(config.mixing.features) * static_cast<double>(config.mixing.width) > stored.n_bytes) {
    throw Error(ErrorKind::kData, name + " describes more features of forward mixing than a model of its size has", hint);  // they are drawn, and stand in no file
  }
  check_memory_stored(config, stored.memory, stored.memory_name + " does not fit its config.json:", hint);
}

}  // namespace entrain::model
