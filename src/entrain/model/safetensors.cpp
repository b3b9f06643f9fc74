#include "entrain/model/safetensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "entrain/base/error.h"

namespace entrain::model {
namespace {

using Json = nlohmann::ordered_json;

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

[[noreturn]] void corrupt(const fs::path& path, const std::string& what) {
  throw Error(ErrorKind::kData, path.string() + " is not a sound safetensors file: " + what,
              "it was cut short or changed; use another checkpoint or copy the file again");
}

Tensor read_tensor(const fs::path& path, const std::string& name, const Json& entry, std::span<const std::byte> data) {
  const std::string dtype = entry.at("dtype").get<std::string>();
  const DtypeName* found = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const DtypeName& d) { return dtype == d.name; });
  if (found == std::end(kDtypes)) corrupt(path, name + " has the unsupported dtype " + dtype);
  const auto shape = entry.at("shape").get<std::vector<int64_t>>();
  const auto offsets = entry.at("data_offsets").get<std::vector<uint64_t>>();
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size()) corrupt(path, name + " lies outside the data");
  const uint64_t n_bytes = offsets[1] - offsets[0];
  uint64_t expected = c10::elementSize(found->type);
  for (const int64_t size : shape) {
    if (size < 0 || (size > 0 && expected > UINT64_MAX / static_cast<uint64_t>(size))) corrupt(path, name + " has an impossible shape");
    expected *= static_cast<uint64_t>(size);
  }
  if (expected != n_bytes) corrupt(path, name + " has " + std::to_string(n_bytes) + " bytes where its shape needs " + std::to_string(expected));
  Tensor tensor = at::empty(shape, at::TensorOptions().dtype(found->type));
  if (n_bytes > 0) std::memcpy(tensor.data_ptr(), data.data() + offsets[0], n_bytes);
  return tensor;
}

}  // namespace

void write_safetensors(const fs::path& path, const NamedTensors& tensors) {
  Json header;
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

NamedTensors read_safetensors(const fs::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  uint64_t length = 0;
  if (bytes.size() < sizeof length) corrupt(path, "it has no header");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > bytes.size() - sizeof length) corrupt(path, "its header is longer than the file");
  const char* text = reinterpret_cast<const char*>(bytes.data()) + sizeof length;
  const auto data = bytes.subspan(sizeof length + length);
  NamedTensors tensors;
  try {
    const Json header = Json::parse(text, text + length);
    uint64_t covered = 0;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") continue;
      tensors.emplace_back(name, read_tensor(path, name, entry, data));
      covered = std::max(covered, entry.at("data_offsets").at(1).get<uint64_t>());
    }
    if (covered != data.size()) corrupt(path, "it holds " + std::to_string(data.size()) + " bytes of data, its header describes " + std::to_string(covered));
  } catch (const Json::exception& error) {
    corrupt(path, std::string("its header does not parse: ") + error.what());
  }
  return tensors;
}

}  // namespace entrain::model
