#include "reading.h"

#include <sanitizer/allocator_interface.h>

#include <algorithm>
#include <cstdio>

namespace entrain::fuzz {
namespace {

struct Counter {
  bool on = false;
  int64_t held = 0, most = 0, allowed = 0;
};
thread_local Counter counter;  // the fuzzer has a thread of its own, which is not counted

/// What the inputs so far took beyond the fixed part, for the log.
struct Largest {
  double per_byte = 0;
  ~Largest() { std::fprintf(stderr, "memory: at most %.1f bytes held for a byte of an input\n", per_byte); }
} largest;

/// The fuzzer keeps inputs that set another of these: it looks for those that take more memory than any before.
__attribute__((section("__libfuzzer_extra_counters"))) uint8_t steps[256];

void on_allocation(const volatile void*, size_t size) {
  if (!counter.on) return;
  counter.held += static_cast<int64_t>(size);
  counter.most = std::max(counter.most, counter.held);
  if (counter.held <= counter.allowed) return;
  counter.on = false;
  std::fprintf(stderr, "%lld bytes are held where the input accounts for %lld\n", static_cast<long long>(counter.held), static_cast<long long>(counter.allowed));
  __builtin_trap();
}

void on_release(const volatile void* pointer) {
  if (counter.on && pointer != nullptr) counter.held -= static_cast<int64_t>(__sanitizer_get_allocated_size(pointer));
}

[[maybe_unused]] const int hooks = __sanitizer_install_malloc_and_free_hooks(on_allocation, on_release);

}  // namespace

Account::Account(Bound bound, size_t size) : bound_(bound), size_(size) {
  counter = {.on = true, .held = 0, .most = 0, .allowed = static_cast<int64_t>(bound.per_byte * size + bound.fixed)};
}

Account::~Account() {
  counter.on = false;
  const auto beyond = static_cast<double>(counter.most) - static_cast<double>(bound_.fixed);
  if (size_ == 0 || beyond <= 0) return;
  largest.per_byte = std::max(largest.per_byte, beyond / static_cast<double>(size_));
  steps[std::min(static_cast<size_t>(beyond / static_cast<double>(size_)), sizeof steps - 1)] = 1;
}

}  // namespace entrain::fuzz
