#include "entrain/entanglement/positives.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <vector>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/entanglement/groups.h"
#include "entrain/entanglement/ranks.h"

namespace entrain::entanglement {
namespace {

/// Positions at fixed distances within a row and document.
class Band final : public Positives {
 public:
  /// weights[o - 1]: of a position o ahead, and with both_sides o behind as well.
  Band(const Context& context, const std::vector<double>& weights, bool both_sides) : rows_(context.ids.size(0)), positions_(context.ids.size(1)) {
    Tensor total = at::zeros({rows_, positions_}, at::kDouble);
    for (int64_t distance = 1; distance < positions_ && distance <= static_cast<int64_t>(weights.size()); ++distance) {
      const int64_t n = positions_ - distance;
      Tensor link = at::full({rows_, n}, weights[static_cast<size_t>(distance - 1)], at::kDouble);
      if (context.segments.defined()) link.masked_fill_(context.segments.narrow(1, 0, n) != context.segments.narrow(1, distance, n), 0);
      total.narrow(1, 0, n).add_(link);
      bands_.push_back({distance, link});
      if (!both_sides) continue;
      total.narrow(1, distance, n).add_(link);
      bands_.push_back({-distance, link});
    }
    for (auto& [distance, link] : bands_) link = link / total.narrow(1, std::max<int64_t>(0, -distance), link.size(1)).clamp_min(kTiny);
    const Tensor has = total.view(-1) > 0;
    set_rows(has, has.to(at::kDouble));
  }

  Tensor apply(const Tensor& x) const override {
    const Tensor grid = x.reshape({rows_, positions_, x.size(1)});
    Tensor sum = at::zeros_like(grid);
    for (const auto& [distance, link] : bands_) {
      const int64_t ahead = std::max<int64_t>(0, distance), behind = std::max<int64_t>(0, -distance);
      const Tensor part = link.to(x.scalar_type()).unsqueeze(-1) * grid.narrow(1, ahead, link.size(1));
      sum = sum + at::constant_pad_nd(part, {0, 0, behind, ahead});
    }
    return sum.view({rows_ * positions_, x.size(1)});
  }

 private:
  static constexpr double kTiny = 1e-300;
  int64_t rows_, positions_;
  std::vector<std::pair<int64_t, Tensor>> bands_;  // signed distance, (B, T - |distance|) share of the link among its position's
};

/// One partner each.
class Partner final : public Positives {
 public:
  /// partner: (n) int64, a position that is its own partner has none.
  explicit Partner(const Tensor& partner) : partner_(partner) {
    const Tensor has = partner != at::arange(partner.size(0), at::kLong);
    set_rows(has, has.to(at::kDouble));
  }
  Tensor apply(const Tensor& x) const override { return x.index_select(0, partner_) * has().to(x.scalar_type()).unsqueeze(1); }

 private:
  Tensor partner_;
};

/// All positions of one class but oneself.
class SameClass final : public Positives {
 public:
  /// classes: (n) int64, equal for what belongs together; keep: (n) float64, row weight of a position that has a positive.
  SameClass(const Tensor& classes, const Tensor& keep, Communicator* ranks) : ranks_(ranks) {
    const auto [values, inverse, counts] = at::_unique2(gather_over_ranks(classes, ranks), /*sorted=*/true, /*return_inverse=*/true, /*return_counts=*/true);
    n_classes_ = values.size(0);
    all_ = inverse;
    own_ = inverse.narrow(0, rank_of(ranks) * classes.size(0), classes.size(0));
    const Tensor others = counts.index_select(0, own_) - 1, has = others > 0;
    share_of_each_ = has.to(at::kDouble) / others.clamp_min(1);
    set_rows(has, at::where(has, keep, 0.0));
  }
  Tensor apply(const Tensor& x) const override {
    const Tensor sums = at::zeros({n_classes_, x.size(1)}, x.options()).index_add(0, all_, gather_over_ranks(x, ranks_));
    return (sums.index_select(0, own_) - x) * share_of_each_.to(x.scalar_type()).unsqueeze(1);
  }

 private:
  Communicator* ranks_;
  int64_t n_classes_;
  Tensor all_, own_, share_of_each_;
};

/// A_ij proportional to u_i.u_j, u >= 0.
class LowRank final : public Positives {
 public:
  /// u: (B, T, r) float64.
  LowRank(const Tensor& u, const Config& config, const Context& context) : config_(config), context_(context), u_(to_groups(u, config, context)) {
    const Tensor all = at::matmul(u_, sum_over_ranks(u_.sum(1), group_ranks(config_, context_)).unsqueeze(2)).squeeze(2);  // sum_j u_i.u_j with j = i
    self_ = u_.square().sum(2);
    // What is left of a row whose only relation is to itself is rounding.
    const Tensor others = all - self_, has = others > 1e-9 * all;
    scale_ = has.to(at::kDouble) / at::where(has, others, 1.0);
    const Tensor flat = from_groups(has, config_, context_);
    set_rows(flat, flat.to(at::kDouble));
  }
  Tensor apply(const Tensor& x) const override {
    const Tensor grid = to_groups(x.reshape({context_.ids.size(0), context_.ids.size(1), x.size(1)}), config_, context_), u = u_.to(x.scalar_type());
    const Tensor all = at::bmm(u, sum_over_ranks(at::bmm(u.transpose(1, 2), grid), group_ranks(config_, context_)));
    return from_groups((all - self_.to(x.scalar_type()).unsqueeze(2) * grid) * scale_.to(x.scalar_type()).unsqueeze(2), config_, context_);
  }

 private:
  Config config_;
  Context context_;
  Tensor u_, self_, scale_;
};

/// The positions' own numbers, arranged in groups: (G, n).
Tensor numbered_groups(const Config& config, const Context& context) {
  return to_groups(at::arange(context.ids.numel(), at::kLong).view(context.ids.sizes()), config, context);
}

Tensor random_partners(const Config& config, const Context& context) {
  const Tensor places = numbered_groups(config, context);
  const int64_t n = places.size(1);
  RandomStream random = stream(context.seed, "entanglement/placebo", context.block);
  const std::vector<uint32_t> order = permutation(random, static_cast<uint32_t>(n));
  std::vector<int64_t> partner(static_cast<size_t>(n));
  for (size_t i = 0; i < order.size(); ++i) partner[order[i]] = order[(i + 1) % order.size()];  // one cycle: no fixed point
  return from_groups(places.index_select(1, at::tensor(partner, at::kLong)), config, context);
}

std::unique_ptr<Positives> same_token(const Config& config, const Context& context) {
  const Tensor ids = context.ids.reshape({-1});
  Tensor keep = at::ones(ids.sizes(), at::kDouble);
  if (config.frequency_threshold > 0) {
    Tensor counts = context.statistics != nullptr ? context.statistics->counts : Tensor();
    if (!counts.defined()) counts = at::bincount(gather_over_ranks(ids, context.ranks)).to(at::kDouble);
    const Tensor share = counts.index_select(0, ids) / counts.sum().clamp_min(1);
    keep = (config.frequency_threshold / share).clamp_max(1).sqrt();
  }
  if (config.scope == "batch") return std::make_unique<SameClass>(ids, keep, context.ranks);
  const Tensor numbers = numbered_groups(config, context);
  const Tensor group = from_groups(at::arange(numbers.size(0), at::kLong).unsqueeze(1).expand_as(numbers), config, context);
  return std::make_unique<SameClass>(group * (ids.max() + 1) + ids, keep, nullptr);
}

std::vector<double> decaying(int64_t n, double decay) {
  std::vector<double> weights;
  for (int64_t distance = 1; distance <= n; ++distance) weights.push_back(std::pow(decay, static_cast<double>(distance)));
  return weights;
}

}  // namespace

double Positives::share() const { return has_.numel() == 0 ? 0 : has_.to(at::kDouble).mean().item<double>(); }

void Positives::set_rows(const Tensor& has, const Tensor& row_weights) {
  has_ = has;
  row_weights_ = row_weights;
}

std::unique_ptr<Positives> make_positives(const Config& config, const Context& context) {
  const std::string& kind = config.positives;
  const at::NoGradGuard no_grad;
  if (kind == "next") return std::make_unique<Band>(context, std::vector<double>(static_cast<size_t>(config.next_k), 1.0), /*both_sides=*/false);
  if (kind == "window") return std::make_unique<Band>(context, decaying(config.window, config.window_decay), /*both_sides=*/true);
  if (kind == "same_token") return same_token(config, context);
  if (kind == "random") return std::make_unique<Partner>(random_partners(config, context));
  if (kind == "views") {
    ENTRAIN_CHECK(context.views == 2 && context.ids.size(0) % 2 == 0, "positives in the other view, views " + std::to_string(context.views));
    const int64_t n = context.ids.numel();
    return std::make_unique<Partner>((at::arange(n, at::kLong) + n / 2) % n);
  }
  ENTRAIN_CHECK(kind == "ppmi", kind);
  ENTRAIN_CHECK(context.statistics != nullptr && context.statistics->vectors.defined(), "positives ppmi without vectors");
  return std::make_unique<LowRank>(context.statistics->vectors.to(at::kDouble).index({context.ids}), config, context);
}

}  // namespace entrain::entanglement
