#pragma once
// What every target does with its bytes: a reader either takes them or throws entrain::Error, and holds no more memory at any time than a file
// of that size accounts for; anything else is a finding.

#include <cstddef>
#include <cstdint>
#include <span>

#include "entrain/base/error.h"

namespace entrain::fuzz {

/// Bytes that a reader may hold at once: `per_byte` for each byte of the input and `fixed` whatever its size.
struct Bound {
  size_t per_byte, fixed;
};

/// From its making to its end every allocation of this thread counts, by the sanitizer's hooks; traps in the one that exceeds the bound.
class Account {
 public:
  Account(Bound bound, size_t size);
  ~Account();
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

 private:
  Bound bound_;
  size_t size_;
};

inline std::span<const std::byte> bytes_of(const uint8_t* data, size_t size) { return {reinterpret_cast<const std::byte*>(data), size}; }

/// Runs the reader of `size` bytes. User errors must say what they are about.
template <typename Reader>
int reading(Bound bound, size_t size, const Reader& reader) {
  const Account account(bound, size);
  try {
    reader();
  } catch (const Error& error) {
    if (*error.what() == 0) __builtin_trap();
  }
  return 0;
}

}  // namespace entrain::fuzz
