#pragma once
// Watches how large the tensors are that some code makes: a bound on memory that does not depend on timing.

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <atomic>

namespace entrain::ops::testing {

/// The largest single allocation of tensor memory on the CPU since construction, and the sum of all, in any thread.
class LargestAllocation {
 public:
  LargestAllocation() : watcher_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(&watcher_, /*priority=*/255); }
  ~LargestAllocation() { c10::SetCPUAllocator(watcher_.base, /*priority=*/255); }
  LargestAllocation(const LargestAllocation&) = delete;
  LargestAllocation& operator=(const LargestAllocation&) = delete;

  int64_t bytes() const { return watcher_.largest; }
  int64_t total_bytes() const { return watcher_.total; }

 private:
  // Memory is the base allocator's throughout, so tensors may outlive the watcher.
  struct Watcher : c10::Allocator {
    explicit Watcher(c10::Allocator* to_watch) : base(to_watch) {}
    c10::DataPtr allocate(size_t n) override {
      const auto size = static_cast<int64_t>(n);
      total += size;
      for (int64_t seen = largest; seen < size && !largest.compare_exchange_weak(seen, size);) {
      }
      return base->allocate(n);
    }
    c10::DeleterFnPtr raw_deleter() const override { return base->raw_deleter(); }
    void copy_data(void* to, const void* from, size_t n) const override { base->copy_data(to, from, n); }
    c10::Allocator* base;
    std::atomic<int64_t> largest = 0, total = 0;
  };
  Watcher watcher_;
};

}  // namespace entrain::ops::testing
