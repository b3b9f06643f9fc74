// CPU form of the sums of random features.

#include <torch/library.h>

#include <cmath>

#include "entrain/ops/cpu/forms.h"
#include "entrain/ops/pairs_reference.h"

namespace entrain::ops::cpu {
namespace {

constexpr int64_t kRowsPerTask = 1024;  // packing the frequencies is small beside what so many rows do with them

/// The vectors of a call in ranges, each with its own partial sum, so that results do not depend on the number of threads.
class Ranges {
 public:
  Ranges(const Tensor& z, const Tensor& frequencies, double temperature, std::string_view map)
      : z_(z.contiguous()), frequencies_(frequencies.contiguous()), inverse_temperature_(static_cast<float>(1 / temperature)),
        is_trigonometric_(map == "trigonometric"), per_group_((z.size(1) + kRowsPerTask - 1) / kRowsPerTask) {}

  int64_t n_features() const { return frequencies_.size(0) * (is_trigonometric_ ? 2 : 1); }
  double scale() const { return 1 / std::sqrt(static_cast<double>(frequencies_.size(0))); }
  /// Room for a sum a range.
  Tensor partial_sums() const { return at::empty({z_.size(0), per_group_, n_features()}, z_.options()); }

  /// Runs the kernel on every range. weights: (G, n); direction: (G, F); sums: partial_sums(); dots: (G, n); z_grad as z; any undefined.
  void run(const Tensor& weights, const Tensor& direction, const Tensor& sums, const Tensor& dots, const Tensor& z_grad) const {
    const int64_t n = z_.size(1);
    const auto at_row = [](const Tensor& x, int64_t row) { return x.defined() ? x.data_ptr<float>() + row * x.size(-1) : nullptr; };
    at::parallel_for(0, z_.size(0) * per_group_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t g = i / per_group_, part = i % per_group_;
        const FeatureTask task{at_row(z_, g * n), frequencies_.const_data_ptr<float>(), z_.size(2), frequencies_.size(0),
                               inverse_temperature_, is_trigonometric_, at_row(weights, g), at_row(direction, g), at_row(sums, i),
                               at_row(dots, g), at_row(z_grad, g * n)};
        feature_rows(task, part * n / per_group_, (part + 1) * n / per_group_);
      }
    });
  }

 private:
  Tensor z_, frequencies_;
  float inverse_temperature_;
  bool is_trigonometric_;
  int64_t per_group_;
};

Tensor sum_forward(const Tensor& z, const Tensor& frequencies, double temperature, std::string_view map) {
  if (!all_float(z, frequencies)) return reference::feature_sum_forward(z, frequencies, temperature, map);
  const Ranges ranges(z, frequencies, temperature, map);
  const Tensor sums = ranges.partial_sums();
  ranges.run({}, {}, sums, {}, {});
  return sums.sum(1).mul_(ranges.scale());
}

Tensor sum_backward(const Tensor& grad, const Tensor& z, const Tensor& frequencies, double temperature, std::string_view map) {
  if (!all_float(grad, z, frequencies)) return reference::feature_sum_backward(grad, z, frequencies, temperature, map);
  const Ranges ranges(z, frequencies, temperature, map);
  Tensor dz = at::empty(z.sizes(), z.options());
  ranges.run({}, (grad * ranges.scale()).contiguous(), {}, {}, dz);
  return dz;
}

Tensor dot_forward(const Tensor& z, const Tensor& frequencies, const Tensor& sum, double temperature, std::string_view map) {
  if (!all_float(z, frequencies, sum)) return reference::feature_dot_forward(z, frequencies, sum, temperature, map);
  const Ranges ranges(z, frequencies, temperature, map);
  Tensor dots = at::empty({z.size(0), z.size(1)}, z.options());
  ranges.run({}, (sum * ranges.scale()).contiguous(), {}, dots, {});
  return dots;
}

std::tuple<Tensor, Tensor> dot_backward(const Tensor& grad, const Tensor& z, const Tensor& frequencies, const Tensor& sum,
                                        double temperature, std::string_view map) {
  if (!all_float(grad, z, frequencies, sum)) return reference::feature_dot_backward(grad, z, frequencies, sum, temperature, map);
  const Ranges ranges(z, frequencies, temperature, map);
  Tensor dz = at::empty(z.sizes(), z.options());
  const Tensor sums = ranges.partial_sums();
  ranges.run(grad.contiguous(), (sum * ranges.scale()).contiguous(), sums, {}, dz);
  return {dz, sums.sum(1).mul_(ranges.scale())};
}

}  // namespace

TORCH_LIBRARY_IMPL(entrain, CPU, m) {
  m.impl("feature_sum_forward", sum_forward);
  m.impl("feature_sum_backward", sum_backward);
  m.impl("feature_dot_forward", dot_forward);
  m.impl("feature_dot_backward", dot_backward);
}

}  // namespace entrain::ops::cpu
