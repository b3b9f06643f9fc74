#include "entrain/model/safetensors_header.h"
#include "reading.h"

// "0," in an array becomes a value of 16 bytes, and while the tree is taken apart five times that: old, new and grown storage.
constexpr entrain::fuzz::Bound kBound{.per_byte = 48, .fixed = 4096};

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace entrain;
  return fuzz::reading(kBound, size, [&] {
    const auto header = model::read_safetensors_header(fuzz::bytes_of(data, size), "input");
    for (const auto& entry : header.entries) {  // what the header promises lies in the file
      if (entry.end < entry.begin || entry.end > size - header.data_begin) __builtin_trap();
    }
  });
}
