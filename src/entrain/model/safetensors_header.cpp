#include "entrain/model/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "entrain/base/error.h"
#include "entrain/base/foreign_json.h"

namespace entrain::model {
namespace {

[[noreturn]] void corrupt(const std::string& file, const std::string& what) {
  throw Error(ErrorKind::kData, file + " is not a sound safetensors file: " + what, "it was cut short or changed; use another checkpoint or copy the file again");
}

SafetensorsEntry read_entry(const std::string& file, const std::string& name, const OrderedJson& json) {
  const std::string dtype = json.at("dtype").get<std::string>();
  const uint64_t item = dtype_bytes(dtype);
  if (item == 0) corrupt(file, name + " has the unsupported dtype " + dtype);
  const auto offsets = json.at("data_offsets").get<std::vector<uint64_t>>();
  if (offsets.size() != 2 || offsets[0] > offsets[1]) corrupt(file, name + " lies outside the data");
  SafetensorsEntry entry{name, dtype, json.at("shape").get<std::vector<int64_t>>(), offsets[0], offsets[1]};
  uint64_t strided = item;  // bytes with sizes of 0 left out: strides are their product and must not overflow either
  bool empty = false;
  for (const int64_t size : entry.shape) {
    if (size < 0 || (size > 0 && strided > INT64_MAX / static_cast<uint64_t>(size))) corrupt(file, name + " has an impossible shape");
    if (size > 0) strided *= static_cast<uint64_t>(size);
    empty |= size == 0;
  }
  const uint64_t n_bytes = entry.end - entry.begin, expected = empty ? 0 : strided;
  if (expected != n_bytes) corrupt(file, name + " has " + std::to_string(n_bytes) + " bytes where its shape needs " + std::to_string(expected));
  return entry;
}

/// Every byte of data belongs to exactly one tensor, as the format demands.
void check_coverage(const std::string& file, const std::vector<SafetensorsEntry>& entries, uint64_t n_bytes) {
  std::vector<const SafetensorsEntry*> sorted;
  for (const SafetensorsEntry& entry : entries) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return std::tie(a->begin, a->end) < std::tie(b->begin, b->end); });
  uint64_t covered = 0;
  for (const SafetensorsEntry* entry : sorted) {
    if (entry->begin != covered) corrupt(file, entry->name + " does not begin where the tensor before it ends");
    covered = entry->end;
  }
  if (covered != n_bytes) corrupt(file, "it holds " + std::to_string(n_bytes) + " bytes of data, its header describes " + std::to_string(covered));
}

}  // namespace

uint64_t dtype_bytes(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64") return 8;
  if (dtype == "F32") return 4;
  return dtype == "F16" || dtype == "BF16" ? 2 : 0;
}

SafetensorsHeader read_safetensors_header(std::span<const std::byte> bytes, const std::string& name) {
  uint64_t length = 0;
  if (bytes.size() < sizeof length) corrupt(name, "it has no header");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > bytes.size() - sizeof length) corrupt(name, "its header is longer than the file");
  const char* text = reinterpret_cast<const char*>(bytes.data()) + sizeof length;
  SafetensorsHeader header{{}, sizeof length + length};
  try {
    const OrderedJson json = parse_foreign<OrderedJson>({text, static_cast<size_t>(length)});
    if (!json.is_object()) corrupt(name, "its header is no object");
    for (const auto& [tensor, entry] : json.items()) {
      if (tensor != "__metadata__") header.entries.push_back(read_entry(name, tensor, entry));
    }
  } catch (const OrderedJson::exception& error) {
    corrupt(name, std::string("its header does not parse: ") + error.what());
  }
  check_coverage(name, header.entries, bytes.size() - header.data_begin);
  return header;
}

}  // namespace entrain::model
