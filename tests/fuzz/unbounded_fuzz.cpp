// A reader that breaks its bound in many small allocations: tests/fuzz/run expects it to be found.

#include <list>

#include "reading.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return entrain::fuzz::reading({.per_byte = 8, .fixed = 0}, size, [&] { const std::list<uint8_t> nodes(data, data + size); });
}
