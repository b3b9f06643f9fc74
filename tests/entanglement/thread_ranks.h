#pragma once
// Ranks as threads of one process, for tests of what spans ranks.

#include <ATen/ATen.h>

#include <barrier>
#include <functional>
#include <thread>
#include <vector>

#include "entrain/base/communicator.h"

namespace entrain::entanglement {

struct Meeting {
  explicit Meeting(int64_t size) : tensors(static_cast<size_t>(size)), barrier(size) {}
  std::vector<Tensor> tensors;
  std::barrier<> barrier;
};

class ThreadRank final : public Communicator {
 public:
  ThreadRank(Meeting& meeting, int64_t rank) : meeting_(meeting), rank_(rank) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return static_cast<int64_t>(meeting_.tensors.size()); }
  Tensor all_reduce_sum(const Tensor& x) override { return meet(x, [](const std::vector<Tensor>& all) { return at::stack(all).sum(0); }); }
  Tensor all_gather(const Tensor& x) override { return meet(x, [](const std::vector<Tensor>& all) { return at::cat(all); }); }

 private:
  Tensor meet(const Tensor& x, const std::function<Tensor(const std::vector<Tensor>&)>& combine) {
    const at::NoGradGuard no_grad;
    meeting_.tensors[static_cast<size_t>(rank_)] = x.detach();
    meeting_.barrier.arrive_and_wait();
    const Tensor combined = combine(meeting_.tensors);
    meeting_.barrier.arrive_and_wait();
    return combined;
  }
  Meeting& meeting_;
  int64_t rank_;
};

/// Runs `work` once for each of n ranks at the same time.
inline void run_ranks(int64_t n, const std::function<void(Communicator&)>& work) {
  Meeting meeting(n);
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < n; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRank communicator(meeting, rank);
      work(communicator);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace entrain::entanglement
