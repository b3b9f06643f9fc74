#pragma once
// Reads the header of a GGUF file: metadata and where each tensor lies. Free of torch, copies no array.

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "entrain/interchange/gguf_types.h"

namespace entrain::interchange {

/// One tensor of the file.
struct GgufTensor {
  std::string name;
  GgmlType type;
  std::vector<int64_t> shape;       ///< outermost first, as PyTorch orders sizes; each at least 1
  std::span<const std::byte> data;  ///< inside the file
  int64_t count() const;
};

class GgufReader {
 public:
  /// bytes: the whole file, which must outlive the reader; name: used in errors. Throws Error{kData} where the header does not describe
  /// what is there: versions other than 2 and 3, cut files, unknown types, names twice, tensors outside the file or over each other.
  GgufReader(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const { return name_; }
  bool contains(const std::string& key) const { return values_.contains(key); }
  /// Those that begin with `prefix`, in order.
  std::vector<std::string> keys_from(const std::string& prefix) const;
  /// The value of a key; nothing where the file lacks it. Throws Error{kData} where it is of another kind.
  std::optional<int64_t> integer(const std::string& key) const;
  std::optional<double> number(const std::string& key) const;
  std::optional<bool> flag(const std::string& key) const;
  std::optional<std::string> text(const std::string& key) const;
  /// The items of an array; empty where the file lacks the key. Views of the file.
  std::vector<std::string_view> texts(const std::string& key) const;
  std::vector<int64_t> integers(const std::string& key) const;

  /// In file order.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

  [[noreturn]] void corrupt(const std::string& what) const;

 private:
  class Cursor;
  /// A value where it lies: a scalar's or string's bytes, or those of all items of an array.
  struct Value {
    GgufType type;  ///< of an array: of its items
    bool is_array = false;
    uint64_t count = 1;
    std::span<const std::byte> bytes;
  };
  void read_value(Cursor& cursor, const std::string& key);
  /// A tensor and where its bytes begin, counted from the first tensor's.
  struct Placed {
    GgufTensor tensor;
    uint64_t offset, n_bytes;
  };
  Placed read_tensor(Cursor& cursor) const;
  void place(std::vector<Placed> tensors, std::span<const std::byte> bytes, uint64_t header_end);
  const Value* find(const std::string& key, bool is_array) const;
  int64_t integer_at(const Value& value, uint64_t index, const std::string& key) const;

  std::string name_;
  std::map<std::string, Value> values_;
  std::vector<GgufTensor> tensors_;
};

}  // namespace entrain::interchange
