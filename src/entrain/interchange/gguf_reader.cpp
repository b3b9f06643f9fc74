#include "entrain/interchange/gguf_reader.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "entrain/base/error.h"

namespace entrain::interchange {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr size_t kMaxDimensions = 4;
constexpr size_t kMaxNameBytes = 65536;

template <typename T>
T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

}  // namespace

BlockShape block_shape(GgmlType type) {
  switch (type) {
    case GgmlType::kF32: return {1, 4};
    case GgmlType::kF16:
    case GgmlType::kBF16: return {1, 2};
    case GgmlType::kQ4_0: return {32, 18};
    case GgmlType::kQ4_1: return {32, 20};
    case GgmlType::kQ8_0: return {32, 34};
  }
  return {0, 0};
}

std::string type_name(GgmlType type) {
  switch (type) {
    case GgmlType::kF32: return "f32";
    case GgmlType::kF16: return "f16";
    case GgmlType::kBF16: return "bf16";
    case GgmlType::kQ4_0: return "q4_0";
    case GgmlType::kQ4_1: return "q4_1";
    case GgmlType::kQ8_0: return "q8_0";
  }
  return "number " + std::to_string(static_cast<uint32_t>(type));
}

int64_t scalar_bytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool: return 1;
    case GgufType::kUint16:
    case GgufType::kInt16: return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32: return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64: return 8;
    case GgufType::kString:
    case GgufType::kArray: return 0;
  }
  return 0;
}

int64_t GgufTensor::count() const {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

/// Reads forward through the file and never past its end.
class GgufReader::Cursor {
 public:
  Cursor(const GgufReader& reader, std::span<const std::byte> bytes) : reader_(reader), bytes_(bytes) {}
  std::span<const std::byte> take(uint64_t n_bytes) {
    if (n_bytes > bytes_.size() - position_) reader_.corrupt("it ends inside its header, at byte " + std::to_string(bytes_.size()));
    position_ += n_bytes;
    return bytes_.subspan(position_ - n_bytes, n_bytes);
  }
  template <typename T>
  T number() {
    return load<T>(take(sizeof(T)).data());
  }
  std::string_view text() {
    const auto bytes = take(number<uint64_t>());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string key() {
    const std::string_view view = text();
    if (view.empty() || view.size() > kMaxNameBytes) reader_.corrupt("it has a name of " + std::to_string(view.size()) + " bytes");
    return std::string(view);
  }
  size_t position() const { return position_; }

 private:
  const GgufReader& reader_;
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
};

void GgufReader::corrupt(const std::string& what) const {
  throw Error(ErrorKind::kData, name_ + " is not a sound GGUF file: " + what, "it was cut short or changed; copy the file again or use another one");
}

GgufReader::GgufReader(std::span<const std::byte> bytes, std::string name) : name_(std::move(name)) {
  Cursor cursor(*this, bytes);
  if (bytes.size() < sizeof kMagic || cursor.number<uint32_t>() != kMagic) corrupt("it does not begin with GGUF");
  const auto version = cursor.number<uint32_t>();
  if (version != 2 && version != kGgufVersion) {
    const bool big_endian = version == 0x02000000 || version == 0x03000000;
    throw Error(ErrorKind::kData, name_ + (big_endian ? " is a big-endian GGUF file" : " is a GGUF file of version " + std::to_string(version)),
                "convert it to a little-endian GGUF file of version 3");
  }
  const auto n_tensors = cursor.number<uint64_t>(), n_values = cursor.number<uint64_t>();
  for (uint64_t i = 0; i < n_values; ++i) read_value(cursor, cursor.key());
  std::vector<Placed> tensors;
  for (uint64_t i = 0; i < n_tensors; ++i) tensors.push_back(read_tensor(cursor));
  place(std::move(tensors), bytes, cursor.position());
}

void GgufReader::read_value(Cursor& cursor, const std::string& key) {
  Value value;
  value.type = static_cast<GgufType>(cursor.number<uint32_t>());
  if (value.type == GgufType::kArray) {
    value.is_array = true;
    value.type = static_cast<GgufType>(cursor.number<uint32_t>());
    value.count = cursor.number<uint64_t>();
    if (value.type == GgufType::kArray) corrupt(key + " is an array of arrays, which this program does not read");
  }
  const auto item = static_cast<uint64_t>(scalar_bytes(value.type));
  if (item == 0 && value.type != GgufType::kString) corrupt(key + " has the unknown type " + std::to_string(static_cast<uint32_t>(value.type)));
  if (value.type == GgufType::kString) {  // walked here, so that texts() finds every item inside the file
    const Cursor begin = cursor;
    for (uint64_t i = 0; i < value.count; ++i) cursor.text();
    value.bytes = Cursor(begin).take(cursor.position() - begin.position());
  } else {
    if (value.count > UINT64_MAX / item) corrupt(key + " is longer than the file");
    value.bytes = cursor.take(value.count * item);
  }
  if (!values_.emplace(key, value).second) corrupt("it has the key " + key + " twice");
}

GgufReader::Placed GgufReader::read_tensor(Cursor& cursor) const {
  Placed placed{{cursor.key(), GgmlType::kF32, {}, {}}, 0, 0};
  GgufTensor& tensor = placed.tensor;
  const auto n_dimensions = cursor.number<uint32_t>();
  if (n_dimensions > kMaxDimensions) corrupt(tensor.name + " has " + std::to_string(n_dimensions) + " dimensions");
  tensor.shape.resize(n_dimensions);
  uint64_t count = 1;
  for (size_t i = n_dimensions; i-- > 0;) {  // the file names the innermost first
    const auto size = cursor.number<uint64_t>();
    if (size == 0 || size > INT64_MAX / 8 / count) corrupt(tensor.name + " has an impossible shape");
    count *= size;
    tensor.shape[i] = static_cast<int64_t>(size);
  }
  tensor.type = static_cast<GgmlType>(cursor.number<uint32_t>());
  const BlockShape block = block_shape(tensor.type);
  if (block.n_numbers == 0) {
    throw Error(ErrorKind::kData, name_ + " holds " + tensor.name + " in the type " + type_name(tensor.type) + ", which this program does not read",
                "convert the file to f32, f16, bf16, q8_0, q4_0 or q4_1");
  }
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (row % block.n_numbers != 0) corrupt("a row of " + tensor.name + " is no whole number of blocks of " + type_name(tensor.type));
  placed.n_bytes = count / static_cast<uint64_t>(block.n_numbers) * static_cast<uint64_t>(block.n_bytes);
  placed.offset = cursor.number<uint64_t>();
  return placed;
}

void GgufReader::place(std::vector<Placed> tensors, std::span<const std::byte> bytes, uint64_t header_end) {
  const int64_t alignment = integer("general.alignment").value_or(kGgufAlignment);
  if (alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)) != 0) corrupt("its alignment is " + std::to_string(alignment));
  const auto step = static_cast<uint64_t>(alignment);
  const uint64_t data_begin = (header_end + step - 1) / step * step, available = bytes.size() > data_begin ? bytes.size() - data_begin : 0;
  std::set<std::string> names;
  for (Placed& placed : tensors) {
    GgufTensor& tensor = placed.tensor;
    if (!names.insert(tensor.name).second) corrupt("it has the tensor " + tensor.name + " twice");
    if (placed.offset % step != 0) corrupt(tensor.name + " is not aligned to " + std::to_string(alignment) + " bytes");
    if (placed.offset > available || placed.n_bytes > available - placed.offset) corrupt(tensor.name + " lies outside the file");
    tensor.data = bytes.subspan(data_begin + placed.offset, placed.n_bytes);
    tensors_.push_back(std::move(tensor));
  }
  // No byte belongs to two tensors: what all of them hold together is then no more than the file.
  std::vector<const GgufTensor*> sorted;
  for (const GgufTensor& tensor : tensors_) sorted.push_back(&tensor);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->data.data() < b->data.data(); });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i - 1]->data.data() + sorted[i - 1]->data.size() > sorted[i]->data.data()) corrupt(sorted[i]->name + " overlaps " + sorted[i - 1]->name);
  }
}

std::vector<std::string> GgufReader::keys_from(const std::string& prefix) const {
  std::vector<std::string> keys;
  for (auto value = values_.lower_bound(prefix); value != values_.end() && value->first.starts_with(prefix); ++value) keys.push_back(value->first);
  return keys;
}

const GgufReader::Value* GgufReader::find(const std::string& key, bool is_array) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return nullptr;
  if (found->second.is_array != is_array) corrupt(key + (is_array ? " is no array" : " is an array"));
  return &found->second;
}

int64_t GgufReader::integer_at(const Value& value, uint64_t index, const std::string& key) const {
  const std::byte* at = value.bytes.data() + index * static_cast<uint64_t>(scalar_bytes(value.type));
  switch (value.type) {
    case GgufType::kUint8: return load<uint8_t>(at);
    case GgufType::kInt8: return load<int8_t>(at);
    case GgufType::kUint16: return load<uint16_t>(at);
    case GgufType::kInt16: return load<int16_t>(at);
    case GgufType::kUint32: return load<uint32_t>(at);
    case GgufType::kInt32: return load<int32_t>(at);
    case GgufType::kInt64: return load<int64_t>(at);
    case GgufType::kUint64:
      if (load<uint64_t>(at) <= INT64_MAX) return static_cast<int64_t>(load<uint64_t>(at));
      corrupt(key + " is larger than any size");
    default: corrupt(key + " is no integer");
  }
}

std::optional<int64_t> GgufReader::integer(const std::string& key) const {
  const Value* value = find(key, false);
  if (value == nullptr) return {};
  return integer_at(*value, 0, key);
}

std::optional<double> GgufReader::number(const std::string& key) const {
  const Value* value = find(key, false);
  if (value == nullptr) return {};
  if (value->type == GgufType::kFloat32) return load<float>(value->bytes.data());
  if (value->type == GgufType::kFloat64) return load<double>(value->bytes.data());
  return static_cast<double>(integer_at(*value, 0, key));
}

std::optional<bool> GgufReader::flag(const std::string& key) const {
  const Value* value = find(key, false);
  if (value == nullptr) return {};
  if (value->type != GgufType::kBool) corrupt(key + " is neither true nor false");
  return load<uint8_t>(value->bytes.data()) != 0;
}

std::optional<std::string> GgufReader::text(const std::string& key) const {
  const Value* value = find(key, false);
  if (value == nullptr) return {};
  if (value->type != GgufType::kString) corrupt(key + " is no text");
  return std::string(Cursor(*this, value->bytes).text());
}

std::vector<std::string_view> GgufReader::texts(const std::string& key) const {
  const Value* value = find(key, true);
  if (value == nullptr) return {};
  if (value->type != GgufType::kString) corrupt(key + " holds no texts");
  std::vector<std::string_view> items;
  Cursor cursor(*this, value->bytes);
  for (uint64_t i = 0; i < value->count; ++i) items.push_back(cursor.text());
  return items;
}

std::vector<int64_t> GgufReader::integers(const std::string& key) const {
  const Value* value = find(key, true);
  if (value == nullptr) return {};
  if (value->type == GgufType::kString) corrupt(key + " holds no integers");
  std::vector<int64_t> items;
  for (uint64_t i = 0; i < value->count; ++i) items.push_back(integer_at(*value, i, key));
  return items;
}

}  // namespace entrain::interchange
