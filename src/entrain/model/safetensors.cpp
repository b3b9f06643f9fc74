#include "entrain/model/safetensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>

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

/// What the header says of one tensor.
struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<int64_t> shape;
  uint64_t begin, end;
};

Entry read_entry(const fs::path& path, const std::string& name, const Json& json) {
  const std::string dtype = json.at("dtype").get<std::string>();
  const DtypeName* found = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const DtypeName& d) { return dtype == d.name; });
  if (found == std::end(kDtypes)) corrupt(path, name + " has the unsupported dtype " + dtype);
  const auto offsets = json.at("data_offsets").get<std::vector<uint64_t>>();
  if (offsets.size() != 2 || offsets[0] > offsets[1]) corrupt(path, name + " lies outside the data");
  Entry entry{name, found->type, json.at("shape").get<std::vector<int64_t>>(), offsets[0], offsets[1]};
  const uint64_t item = c10::elementSize(found->type);
  uint64_t strided = item;  // bytes with sizes of 0 left out: strides are their product and must not overflow either
  bool empty = false;
  for (const int64_t size : entry.shape) {
    if (size < 0 || (size > 0 && strided > INT64_MAX / static_cast<uint64_t>(size))) corrupt(path, name + " has an impossible shape");
    if (size > 0) strided *= static_cast<uint64_t>(size);
    empty |= size == 0;
  }
  const uint64_t n_bytes = entry.end - entry.begin, expected = empty ? 0 : strided;
  if (expected != n_bytes) corrupt(path, name + " has " + std::to_string(n_bytes) + " bytes where its shape needs " + std::to_string(expected));
  return entry;
}

/// Every byte of data belongs to exactly one tensor, as the format demands.
void check_coverage(const fs::path& path, std::vector<Entry> entries, uint64_t n_bytes) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  uint64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != covered) corrupt(path, entry.name + " does not begin where the tensor before it ends");
    covered = entry.end;
  }
  if (covered != n_bytes) corrupt(path, "it holds " + std::to_string(n_bytes) + " bytes of data, its header describes " + std::to_string(covered));
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

void visit_safetensors(const fs::path& path, const std::function<void(const std::string&, const Tensor&)>& visit) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  uint64_t length = 0;
  if (bytes.size() < sizeof length) corrupt(path, "it has no header");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > bytes.size() - sizeof length) corrupt(path, "its header is longer than the file");
  const char* text = reinterpret_cast<const char*>(bytes.data()) + sizeof length;
  const auto data = bytes.subspan(sizeof length + length);
  std::vector<Entry> entries;
  try {
    const Json header = Json::parse(text, text + length);
    for (const auto& [name, json] : header.items()) {
      if (name != "__metadata__") entries.push_back(read_entry(path, name, json));
    }
  } catch (const Json::exception& error) {
    corrupt(path, std::string("its header does not parse: ") + error.what());
  }
  check_coverage(path, entries, data.size());
  for (const Entry& entry : entries) {
    const std::byte* begin = data.data() + entry.begin;
    if (entry.end > entry.begin && reinterpret_cast<uintptr_t>(begin) % c10::elementSize(entry.type) == 0) {
      visit(entry.name, at::from_blob(const_cast<std::byte*>(begin), entry.shape, at::TensorOptions().dtype(entry.type)));
      continue;
    }
    const Tensor copy = at::empty(entry.shape, at::TensorOptions().dtype(entry.type));
    if (entry.end > entry.begin) std::memcpy(copy.data_ptr(), begin, entry.end - entry.begin);
    visit(entry.name, copy);
  }
}

NamedTensors read_safetensors(const fs::path& path) {
  NamedTensors tensors;
  visit_safetensors(path, [&](const std::string& name, const Tensor& view) { tensors.emplace_back(name, view.clone()); });
  return tensors;
}

}  // namespace entrain::model
