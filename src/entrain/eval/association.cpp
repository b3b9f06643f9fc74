#include "entrain/eval/association.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/eval/summary.h"

namespace entrain::eval {
namespace {

constexpr int64_t kPartitions = 10000;

/// Rows scaled to length one, in double.
std::vector<double> unit_rows(std::span<const float> rows, size_t width) {
  std::vector<double> out(rows.begin(), rows.end());
  for (size_t begin = 0; begin < out.size(); begin += width) {
    const double norm = std::sqrt(std::inner_product(out.begin() + static_cast<std::ptrdiff_t>(begin), out.begin() + static_cast<std::ptrdiff_t>(begin + width),
                                                     out.begin() + static_cast<std::ptrdiff_t>(begin), 0.0));
    for (size_t i = begin; norm > 0 && i < begin + width; ++i) out[i] /= norm;
  }
  return out;
}

/// The mean of unit rows: its product with a unit vector is the mean cosine.
std::vector<double> mean_row(std::span<const float> rows, size_t width) {
  const std::vector<double> unit = unit_rows(rows, width);
  std::vector<double> out(width);
  for (size_t i = 0; i < unit.size(); ++i) out[i % width] += unit[i] / static_cast<double>(unit.size() / width);
  return out;
}

double combinations(size_t n, size_t k) {
  double count = 1;
  for (size_t i = 1; i <= k; ++i) count *= static_cast<double>(n - k + i) / static_cast<double>(i);
  return count;
}

}  // namespace

Association associate(std::span<const float> x, std::span<const float> y, std::span<const float> a, std::span<const float> b, size_t width) {
  std::vector<float> targets(x.begin(), x.end());
  targets.insert(targets.end(), y.begin(), y.end());
  const std::vector<double> unit = unit_rows(targets, width), mean_a = mean_row(a, width), mean_b = mean_row(b, width);
  const size_t n = targets.size() / width, n_x = x.size() / width;
  std::vector<double> s(n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t c = 0; c < width; ++c) s[i] += unit[i * width + c] * (mean_a[c] - mean_b[c]);
  }
  const double total = std::accumulate(s.begin(), s.end(), 0.0), centre = total / static_cast<double>(n);
  double squares = 0;
  for (const double one : s) squares += (one - centre) * (one - centre);
  const double deviation = std::sqrt(squares / static_cast<double>(n - 1));
  // d of the partition whose first part sums to `first`.
  const auto effect = [&](double first) {
    return deviation == 0 ? 0.0 : (first / static_cast<double>(n_x) - (total - first) / static_cast<double>(n - n_x)) / deviation;
  };
  Association out;
  out.effect_size = effect(std::accumulate(s.begin(), s.begin() + static_cast<std::ptrdiff_t>(n_x), 0.0));
  int64_t as_strong = 0, count = 0;
  double sum = 0, sum_squares = 0;
  const auto see = [&](double d) {
    as_strong += d >= out.effect_size - 1e-12 ? 1 : 0;
    sum += d;
    sum_squares += d * d;
    ++count;
  };
  if (combinations(n, n_x) <= static_cast<double>(kPartitions)) {
    std::vector<char> in_first(n, 0);
    std::fill(in_first.begin(), in_first.begin() + static_cast<std::ptrdiff_t>(n_x), 1);
    do {
      double first = 0;
      for (size_t i = 0; i < n; ++i) first += in_first[i] != 0 ? s[i] : 0;
      see(effect(first));
    } while (std::prev_permutation(in_first.begin(), in_first.end()));
  } else {
    RandomStream random = stream(0, "eval/association");
    see(out.effect_size);
    std::vector<double> shuffled = s;
    for (int64_t draw = 1; draw < kPartitions; ++draw) {
      double first = 0;
      for (size_t i = 0; i < n_x; ++i) {
        std::swap(shuffled[i], shuffled[i + random.next_below(n - i)]);
        first += shuffled[i];
      }
      see(effect(first));
    }
  }
  const auto seen = static_cast<double>(count);
  out.p_value = static_cast<double>(as_strong) / seen;
  out.null_deviation = std::sqrt(std::max(0.0, sum_squares / seen - sum * sum / seen / seen));
  return out;
}

Line fit_line(std::span<const double> x, std::span<const double> y) {
  ENTRAIN_CHECK(x.size() == y.size(), "lengths");
  const auto n = static_cast<double>(x.size());
  Line line;
  if (n < 4) return line;
  const double mean_x = mean(x), mean_y = mean(y);
  double xx = 0, xy = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
  }
  if (xx == 0 || yy == 0) return line;
  line.slope = xy / xx;
  line.slope_error = std::sqrt(std::max(0.0, yy - line.slope * xy) / (n - 2) / xx);
  line.correlation = std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0);
  line.correlation_error = (1 - line.correlation * line.correlation) / std::sqrt(n - 1);
  line.distinguishable = std::abs(std::atanh(line.correlation)) * std::sqrt(n - 3) > 1.959963984540054;
  return line;
}

}  // namespace entrain::eval
