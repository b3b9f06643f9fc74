#include "entrain/model/safetensors.h"

#include <ATen/ATen.h>

#include <cstring>

#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/model/safetensors_header.h"
#include "entrain/model/weight_shapes.h"

namespace entrain::model {
namespace {

struct DtypeName {
  at::ScalarType type;
  const char* name;
};
constexpr DtypeName kDtypes[] = {{at::kFloat, "F32"}, {at::kDouble, "F64"}, {at::kHalf, "F16"}, {at::kBFloat16, "BF16"}, {at::kLong, "I64"}};

const char* dtype_name(at::ScalarType type) {
  for (const DtypeName& dtype : kDtypes) {
    if (dtype.type == type) return dtype.name;
  }
  ENTRAIN_CHECK(false, std::string("dtype not supported in safetensors: ") + at::toString(type));
}

at::ScalarType scalar_type(const std::string& name) {
  for (const DtypeName& dtype : kDtypes) {
    if (name == dtype.name) return dtype.type;
  }
  ENTRAIN_CHECK(false, "dtype not supported in safetensors: " + name);
}

}  // namespace

void write_safetensors(const fs::path& path, const NamedTensors& tensors) {
  OrderedJson header;
  header["__metadata__"] = {{"format", "pt"}};
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", dtype_name(tensor.scalar_type())}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, offset + tensor.nbytes()}}};
    offset += tensor.nbytes();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // data starts 8-byte aligned
  const uint64_t length = text.size();
  AtomicFile file(path);
  file.write(&length, sizeof length);
  file.write(text);
  for (const auto& [name, tensor] : tensors) {
    const Tensor dense = tensor.detach().cpu().contiguous();
    file.write(dense.data_ptr(), dense.nbytes());
  }
  file.commit();
}

void visit_safetensors(const fs::path& path, const std::function<void(const std::string&, const Tensor&)>& visit) {
  const MappedFile file(path);
  const SafetensorsHeader header = read_safetensors_header(file.bytes(), path.string());
  for (const SafetensorsEntry& entry : header.entries) {
    const std::byte* begin = file.bytes().data() + header.data_begin + entry.begin;
    const auto options = at::TensorOptions().dtype(scalar_type(entry.dtype));
    if (entry.end > entry.begin && reinterpret_cast<uintptr_t>(begin) % dtype_bytes(entry.dtype) == 0) {
      visit(entry.name, at::from_blob(const_cast<std::byte*>(begin), entry.shape, options));
      continue;
    }
    const Tensor copy = at::empty(entry.shape, options);
    if (entry.end > entry.begin) std::memcpy(copy.data_ptr(), begin, entry.end - entry.begin);
    visit(entry.name, copy);
  }
}

void copy_safetensors(const std::vector<fs::path>& files, std::map<std::string, Tensor> targets, const std::function<std::string(const std::string&)>& target_of,
                  const std::function<bool(const std::string&)>& is_known) {
  std::vector<std::string> missing, misshapen, surplus;
  const auto copy = [&](const std::string& name, const Tensor& view) {
    const auto found = targets.find(target_of(name));
    if (found == targets.end()) {
      if (!is_known(name)) surplus.push_back(name);
      return;
    }
    if (found->second.sizes() == view.sizes()) {
      found->second.copy_(view);
    } else {
      misshapen.push_back(found->first);
    }
    targets.erase(found);
  };
  for (const fs::path& file : files) visit_safetensors(file, copy);
  for (const auto& [name, tensor] : targets) missing.push_back(name);
  if (missing.empty() && misshapen.empty() && surplus.empty()) return;
  const fs::path& first = files.front();
  std::string message = (files.size() == 1 ? first : first.parent_path()).string() + " does not fit its config.json:";
  if (!missing.empty()) message += " missing " + joined(missing) + ";";
  if (!misshapen.empty()) message += " of another shape " + joined(misshapen) + ";";
  if (!surplus.empty()) message += " unexpected " + joined(surplus) + ";";
  message.pop_back();
  throw Error(ErrorKind::kData, message, "take config.json and model.safetensors of the same model");
}

NamedTensors read_safetensors(const fs::path& path) {
  NamedTensors tensors;
  visit_safetensors(path, [&](const std::string& name, const Tensor& view) { tensors.emplace_back(name, view.clone()); });
  return tensors;
}

}  // namespace entrain::model
