#pragma once
// Work over independent items on several threads.

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace entrain::text {

/// n_threads if positive, else the number of cores.
inline int thread_count(int n_threads) {
  if (n_threads > 0) return n_threads;
  const unsigned cores = std::thread::hardware_concurrency();
  return cores == 0 ? 1 : static_cast<int>(cores);
}

/// Runs work(thread, item) for every item in [0, n_items); items are handed out in order. Returns when all are done and
/// rethrows the first exception. One thread: runs in the caller.
template <typename Work>
void parallel_for_each(size_t n_items, int n_threads, Work&& work) {
  const auto n_workers = std::min<size_t>(static_cast<size_t>(n_threads), n_items);
  if (n_workers <= 1) {
    for (size_t i = 0; i < n_items; ++i) work(size_t{0}, i);
    return;
  }
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto run = [&](size_t thread) {
    try {
      for (size_t i = next++; i < n_items; i = next++) work(thread, i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = n_items;
    }
  };
  std::vector<std::jthread> threads;
  for (size_t t = 1; t < n_workers; ++t) threads.emplace_back(run, t);
  run(0);
  threads.clear();  // joins
  if (failure) std::rethrow_exception(failure);
}

}  // namespace entrain::text
