// How the work of the losses grows with the number of positions: counted, not timed.
#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>
#include <cmath>
#include <set>

#include "../ops/largest_allocation.h"
#include "entrain/entanglement/losses.h"
#include "states.h"

namespace entrain::entanglement {
namespace {

struct Work {
  double products = 0;    ///< FLOPs of matrix products
  double transforms = 0;  ///< numbers times log2 of the length of Fourier transforms
  double elements = 0;    ///< numbers that operations of all kinds took in
};

/// Counts what this thread's operations do, backward passes on the CPU included, until it is destroyed.
class WorkCounter {
 public:
  WorkCounter() : handle_(at::addThreadLocalCallback(at::RecordFunctionCallback(&count).needsInputs(true).scopes({at::RecordScope::FUNCTION}))) { counted() = {}; }
  ~WorkCounter() { at::removeCallback(handle_); }
  WorkCounter(const WorkCounter&) = delete;
  WorkCounter& operator=(const WorkCounter&) = delete;
  Work work() const { return counted(); }

 private:
  static Work& counted() {
    static thread_local Work work;
    return work;
  }
  static std::unique_ptr<at::ObserverContext> count(const at::RecordFunction& function) {
    std::vector<Tensor> tensors;
    for (const c10::IValue& input : function.inputs()) {
      if (input.isTensor() && input.toTensor().defined()) tensors.push_back(input.toTensor());
    }
    const std::string_view name = function.name();
    static const std::set<std::string_view> kViews = {"aten::narrow", "aten::slice", "aten::select", "aten::as_strided", "aten::resolve_conj"};  // which read nothing
    for (const Tensor& tensor : tensors) counted().elements += kViews.contains(name) ? 0 : static_cast<double>(tensor.numel());
    const auto product = [&](const Tensor& a, const Tensor& b) { counted().products += 2 * static_cast<double>(a.numel()) * static_cast<double>(b.size(-1)); };
    if (name == "aten::mm" || name == "aten::bmm") product(tensors[0], tensors[1]);
    if (name == "aten::addmm" || name == "aten::addmm_") product(tensors[1], tensors[2]);
    if (name.starts_with("aten::_fft_")) {
      const auto dim = function.inputs()[1].toIntVector().at(0);
      counted().transforms += static_cast<double>(tensors[0].numel()) * std::log2(static_cast<double>(tensors[0].size(dim)));
    }
    return nullptr;
  }
  at::CallbackHandle handle_;
};

/// The loss and its gradient over n positions in rows of 64, or in one row.
void run_loss(const Config& config, int64_t n, at::ScalarType dtype) {
  const int64_t row = config.scope == "batch" ? 64 : n;
  Context context;
  context.ids = integers({n / row, row}, 100, 1);
  const Tensor v = normal({n / row, row, 8}, 2, dtype).requires_grad_();
  torch::autograd::grad({loss(v, config, context, *make_positives(config, context))}, {v});
}

/// At n, 2 n and 4 n. In float64, where the operators' plain forms run, whose parts the dispatcher sees.
std::array<Work, 3> work_of(const Config& config, int64_t n) {
  std::array<Work, 3> all;
  for (size_t i = 0; i < 3; ++i) {
    const WorkCounter counter;
    run_loss(config, n << i, at::kDouble);
    all[i] = counter.work();
  }
  return all;
}

/// How much faster the growth from 2 n to 4 n is than that from n to 2 n, so that what does not depend on n falls out: 2 for O(n), 4 for O(n^2).
double growth(double at_n, double at_2n, double at_4n) { return (at_4n - at_2n) / (at_2n - at_n); }
double growth_of(const std::array<Work, 3>& work, double Work::*what) { return growth(work[0].*what, work[1].*what, work[2].*what); }

Config config_of(const std::string& pairs, const std::string& loss = "infonce") { return {.width = 8, .loss = loss, .pairs = pairs, .frequencies = 16}; }

TEST(EntanglementScaling, FeaturesAreLinear) {
  for (const std::string pairs : {"random_features", "positive_features"}) {
    for (const std::string loss : {"infonce", "align_uniform", "literal"}) {
      const std::array<Work, 3> work = work_of(config_of(pairs, loss), 8192);  // two, four and eight full runs of positions in the plain forms
      EXPECT_EQ(growth_of(work, &Work::products), 2.0) << pairs << " " << loss;
      EXPECT_NEAR(growth_of(work, &Work::elements), 2.0, 0.01) << pairs << " " << loss;
      EXPECT_GT(work[0].products, 6.0 * 8192 * 16 * 8) << pairs << " " << loss;  // angles forward and backward, and their gradient, at least
    }
  }
}

TEST(EntanglementScaling, MomentsAreLinear) {
  for (const std::string loss : {"ecf", "sigreg", "hsic", "cosreg", "decov", "barlow", "vicreg", "total_correlation"}) {
    const std::array<Work, 3> work = work_of(config_of("auto", loss), 8192);
    EXPECT_NEAR(growth_of(work, &Work::elements), 2.0, 0.05) << loss;  // 4 if quadratic; the library's own ways of calling differ a little with the length
    if (loss == "cosreg") continue;  // no products of matrices
    EXPECT_EQ(growth_of(work, &Work::products), 2.0) << loss;
  }
}

TEST(EntanglementScaling, ExactPairsAreQuadratic) {  // so the counts would show it
  const std::array<Work, 3> work = work_of(config_of("exact"), 512);
  EXPECT_NEAR(growth_of(work, &Work::products), 4.0, 0.01);
  EXPECT_NEAR(growth_of(work, &Work::elements), 4.0, 0.1);  // those of the projections and positives are O(n)
}

TEST(EntanglementScaling, DistanceWeightsTakeNLogN) {
  Config config = config_of("fft");
  config.scope = "sequence";
  constexpr int64_t n = 4096;
  const std::array<Work, 3> work = work_of(config, n);
  EXPECT_EQ(growth_of(work, &Work::products), 2.0);
  EXPECT_NEAR(growth_of(work, &Work::elements), 2.0, 0.01);
  // Transforms of lengths c n: (4 (l + 2) - 2 (l + 1)) / (2 (l + 1) - l) with l = log2(c n) >= log2 n.
  const double l = std::log2(static_cast<double>(n));
  EXPECT_GT(growth_of(work, &Work::transforms), 2.0);
  EXPECT_LT(growth_of(work, &Work::transforms), (2 * l + 6) / (l + 2) + 0.01);
}

/// Bytes of tensors made by the loss and its gradient in float32, where the operators' CPU forms run: all together and the largest.
std::pair<double, double> bytes_of(const Config& config, int64_t n) {
  const ops::testing::LargestAllocation allocations;
  run_loss(config, n, at::kFloat);
  return {static_cast<double>(allocations.total_bytes()), static_cast<double>(allocations.bytes())};
}

TEST(EntanglementScaling, MemoryIsLinear) {
  for (const std::string pairs : {"random_features", "positive_features", "exact", "fft"}) {
    Config config = config_of(pairs);
    if (pairs == "fft") config.scope = "sequence";
    const auto [total, largest] = bytes_of(config, 2048);
    const auto [total_2, largest_2] = bytes_of(config, 4096);
    const auto [total_4, largest_4] = bytes_of(config, 8192);
    EXPECT_NEAR(growth(total, total_2, total_4), 2.0, 0.1) << pairs;
    EXPECT_LE(largest_4, 4.1 * largest) << pairs;
    EXPECT_LT(largest_4, 8192.0 * 8192 * 4 / 16) << pairs;  // no matrix of pairs
  }
}

}  // namespace
}  // namespace entrain::entanglement
