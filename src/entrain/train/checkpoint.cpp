#include "entrain/train/checkpoint.h"

#include <algorithm>
#include <cstdio>

#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/interchange/pretrained.h"
#include "entrain/model/adapter.h"

namespace entrain::train {
namespace {

constexpr const char* kManifest = "manifest.json";
constexpr const char* kMethods = "methods.safetensors";  // only of runs with methods; not part of the model
constexpr int kFormatVersion = 1;

std::string folder_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

std::optional<int64_t> step_of(const std::string& name) {
  if (name.rfind("step-", 0) != 0 || name.size() < 6 || name.find_first_not_of("0123456789", 5) != std::string::npos) return std::nullopt;
  return std::stoll(name.substr(5));
}

void write_manifest(const fs::path& folder) {
  OrderedJson files = OrderedJson::object();
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    files[path.lexically_relative(folder).generic_string()] = {{"bytes", fs::file_size(path)}, {"xxh3", to_hex(file_checksum(path))}};
  }
  write_file(folder / kManifest, OrderedJson{{"format_version", kFormatVersion}, {"files", files}}.dump(2) + "\n");
}

[[noreturn]] void damaged(const fs::path& checkpoint, const std::string& what) {
  throw Error(ErrorKind::kData, "checkpoint " + checkpoint.string() + " is damaged: " + what,
              "delete that folder and run again with --resume: the newest sound checkpoint is taken");
}

model::NamedTensors state_of(const Methods& methods) {
  model::NamedTensors all;
  for (const auto& method : methods) {
    for (auto& entry : method->state()) all.push_back(std::move(entry));
  }
  return all;
}

/// Copies the file's tensors into `targets`, all of which it must hold but the optional ones.
void restore(const fs::path& checkpoint, const char* file, const model::NamedTensors& targets) {
  std::map<std::string, Tensor> missing(targets.begin(), targets.end());
  model::visit_safetensors(checkpoint / file, [&](const std::string& name, const Tensor& view) {
    const auto found = missing.find(name);
    if (found == missing.end() || found->second.sizes() != view.sizes()) return;
    found->second.copy_(view);
    missing.erase(found);
  });
  std::erase_if(missing, [](const auto& entry) { return entry.first.ends_with(kOptional); });
  if (!missing.empty()) damaged(checkpoint, std::string(file) + " lacks " + missing.begin()->first);
}

bool is_sound(const fs::path& checkpoint) {
  try {
    verify_checkpoint(checkpoint);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path folder, int64_t keep) : folder_(std::move(folder)), keep_(keep) {}

void CheckpointStore::remove_leftovers() {
  if (!fs::is_directory(folder_)) return;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().filename().string().starts_with(".writing-")) fs::remove_all(entry.path());
  }
}

fs::path CheckpointStore::save(const CheckpointParts& parts, const model::SpecialIds& ids, const std::map<std::string, std::string>& tokenizer_files) {
  const fs::path target = folder_ / folder_name(parts.state.step);
  if (fs::exists(target)) {
    if (is_sound(target)) return target;
    fs::remove_all(target);
  }
  const fs::path aside = folder_ / (".writing-" + folder_name(parts.state.step));
  fs::remove_all(aside);
  make_folder(aside);
  try {
    model::save_model(parts.model, ids, aside);
    interchange::write_settings(aside, tokenizer_files);
    model::write_safetensors(aside / "optimizer.safetensors", parts.optimizer.state());
    const model::NamedTensors methods = state_of(parts.methods);
    if (!methods.empty()) model::write_safetensors(aside / kMethods, methods);
    write_file(aside / "state.json", parts.state.to_json());
    write_manifest(aside);
    commit_folder(aside, target);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(aside, ignored);
    throw;
  }
  verify_checkpoint(target);
  std::vector<int64_t> old = steps();
  std::erase_if(old, [&](int64_t step) { return step > parts.state.step; });  // damaged ones that a resume passed over
  for (size_t i = 0; i + static_cast<size_t>(keep_) < old.size(); ++i) {
    if (old[i] != parts.state.best_step) fs::remove_all(folder_ / folder_name(old[i]));
  }
  return target;
}

std::vector<int64_t> CheckpointStore::steps() const {
  std::vector<int64_t> found;
  if (!fs::is_directory(folder_)) return found;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (const auto step = step_of(entry.path().filename().string())) found.push_back(*step);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<fs::path> CheckpointStore::newest(std::vector<std::string>* damaged_names) const {
  const std::vector<int64_t> all = steps();
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    const fs::path checkpoint = folder_ / folder_name(*step);
    if (is_sound(checkpoint)) return checkpoint;
    if (damaged_names != nullptr) damaged_names->push_back(checkpoint.string());
  }
  return std::nullopt;
}

void verify_checkpoint(const fs::path& checkpoint) {
  const fs::path manifest = checkpoint / kManifest;
  if (!fs::is_regular_file(manifest)) damaged(checkpoint, "it has no manifest.json");
  try {
    const OrderedJson json = OrderedJson::parse(read_file(manifest));
    if (json.at("format_version").get<int>() > kFormatVersion) {
      throw Error(ErrorKind::kData, checkpoint.string() + " was written by a newer version of this program", "update the program");
    }
    for (const char* required : {"config.json", "model.safetensors", "tokenizer.json", "optimizer.safetensors", "state.json"}) {
      if (!json.at("files").contains(required)) damaged(checkpoint, std::string("its manifest does not name ") + required);
    }
    for (const auto& [name, entry] : json.at("files").items()) {
      const fs::path inside = fs::path(name).lexically_normal(), path = checkpoint / inside;
      if (inside.is_absolute() || *inside.begin() == "..") damaged(checkpoint, "its manifest names " + name + ", which lies outside");
      if (!fs::is_regular_file(path)) damaged(checkpoint, name + " is missing");
      if (fs::file_size(path) != entry.at("bytes").get<uint64_t>()) damaged(checkpoint, name + " has another size than its manifest says");
      if (to_hex(file_checksum(path)) != entry.at("xxh3").get<std::string>()) damaged(checkpoint, name + " has another checksum than its manifest says");
    }
  } catch (const OrderedJson::exception& error) {
    damaged(checkpoint, std::string("manifest.json does not parse: ") + error.what());
  }
}

void restore_checkpoint(const fs::path& checkpoint, const CheckpointParts& parts) {
  at::NoGradGuard no_grad;
  verify_checkpoint(checkpoint);
  model::load_weights(parts.model, checkpoint);
  model::load_adapter(parts.model, checkpoint);
  restore(checkpoint, "optimizer.safetensors", parts.optimizer.state());
  const model::NamedTensors methods = state_of(parts.methods);
  if (!methods.empty() && !fs::exists(checkpoint / kMethods)) damaged(checkpoint, std::string("it has no ") + kMethods);
  if (!methods.empty()) restore(checkpoint, kMethods, methods);
  parts.state = RunState::from_json(read_file(checkpoint / "state.json"), (checkpoint / "state.json").string());
}

fs::path resolve_model(const fs::path& run) {
  if (fs::exists(run / "config.json") || interchange::is_gguf(run)) return run;
  const fs::path folder = run / "checkpoints";
  if (fs::is_directory(folder)) {
    const CheckpointStore store(folder, 1);
    if (const auto newest = store.newest()) return *newest;
    throw Error(ErrorKind::kData, run.string() + " holds no sound checkpoint", "train it first: entrain train RECIPE.toml --run " + run.string());
  }
  throw Error(ErrorKind::kUsage, run.string() + " is no run, checkpoint, Hugging Face folder or GGUF file",
              "a run folder holds checkpoints/, a Hugging Face folder config.json and model.safetensors; a GGUF file begins with GGUF");
}

}  // namespace entrain::train
