#include "entrain/experts/allocation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/experts/logistic.h"
#include "entrain/experts/quotas.h"

namespace entrain::experts {
namespace {

constexpr int64_t kRows = 512;  // at once: a table of (N, rows, configurations) stays in cache
constexpr double kBeta1 = 0.9, kBeta2 = 0.99, kEps = 1e-12;
constexpr double kLeastGradient = 1e-6;  // norms below are float32 rounding of utilities near 1
constexpr double kRidge = 1e-2;
constexpr int kBisections = 60;

std::vector<double> doubles(const Tensor& x) {
  const Tensor dense = x.to(at::kDouble).contiguous();
  return {dense.data_ptr<double>(), dense.data_ptr<double>() + dense.numel()};
}

/// Weights that sum to 1, (n) float64.
Tensor normalised(const Tensor& weights, int64_t n) {
  if (!weights.defined()) return at::full({n}, 1.0 / static_cast<double>(n), at::kDouble);
  const Tensor w = weights.to(at::kDouble);
  ENTRAIN_CHECK(w.dim() == 1 && w.size(0) == n && w.ge(0).all().item<bool>() && w.sum().item<double>() > 0, "weights of a mix");
  return w / w.sum();
}

/// What decisions come to under weights that sum to 1.
struct Outcome {
  std::vector<double> shares;
  double accuracy = 0, cost = 0;
};

/// decisions: (m) int64.
Outcome outcome_of(const Tensor& decisions, const Tensor& correct, const Tensor& cost, const Tensor& weights) {
  const Tensor share = at::zeros_like(cost).index_add_(0, decisions, weights);
  return {doubles(share), at::dot(correct.gather(1, decisions.unsqueeze(1)).squeeze(1), weights).item<double>(), at::dot(share, cost).item<double>()};
}

/// argmax of value - price cost over experts, ties to the cheaper. value: (m, N).
Tensor decide(const Tensor& value, const Tensor& cost, double price) {
  const Tensor by_cost = cost.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/false);
  const Tensor utility = (value - price * cost).index_select(1, by_cost);
  const Tensor best = utility >= std::get<0>(utility.max(1, /*keepdim=*/true)) - 1e-12;
  return by_cost.index_select(0, best.to(at::kInt).argmax(1));  // the first of equals
}

/// Gates of K configurations: weights (N, C + 1, K), the last row biases.
struct Gates {
  Tensor weights;
  Tensor lambdas;  // (K) float32
  Tensor mixes;    // (n, K) float32: each question's weight in each configuration
};

/// Gradient of each configuration's expected utility, (N, C + 1, K). x: (n, C + 1); correct: (n, N); cost: (N); float32. questions: indices, undefined for all.
Tensor utility_gradient(const Gates& gates, const Tensor& x, const Tensor& correct, const Tensor& cost, const Tensor& questions) {
  Tensor gradient = at::zeros_like(gates.weights);
  const int64_t n = questions.defined() ? questions.size(0) : x.size(0);
  const Tensor price = cost.view({-1, 1, 1}) * gates.lambdas;  // (N, 1, K)
  for (int64_t begin = 0; begin < n; begin += kRows) {
    const int64_t rows = std::min(kRows, n - begin);
    const auto part = [&](const Tensor& of) { return questions.defined() ? of.index_select(0, questions.narrow(0, begin, rows)) : of.narrow(0, begin, rows); };
    const Tensor features = part(x);
    const Tensor pi = at::matmul(features, gates.weights).softmax(0);        // (N, rows, K)
    const Tensor utility = part(correct).t().unsqueeze(2) - price;           // (N, rows, K)
    Tensor pull = utility - (pi * utility).sum(0);                           // of logit j: pi_j (u_j - mean u)
    pull.mul_(pi).mul_(part(gates.mixes));
    gradient.add_(at::matmul(features.t(), pull));
  }
  return gradient;
}

void check(const AllocationSheet& sheet, const Tensor& cost) {
  ENTRAIN_CHECK(sheet.features.dim() == 2 && sheet.features.size(0) > 0 && sheet.correct.dim() == 2 && sheet.correct.size(0) == sheet.features.size(0) && cost.dim() == 1 &&
                    cost.size(0) == sheet.correct.size(1),
                "features, correct and cost of different sizes");
}

}  // namespace

std::vector<Allocation> allocate(const AllocationSheet& train, const AllocationSheet& test, const Tensor& cost, const AllocationGrid& grid, const AllocationOptions& options) {
  check(train, cost);
  check(test, cost);
  const at::NoGradGuard no_grad;
  const int64_t n = train.features.size(0), m = test.features.size(0), n_experts = cost.size(0);
  const Tensor price = cost.to(at::kDouble), correct = train.correct.to(at::kDouble), test_correct = test.correct.to(at::kDouble);

  std::vector<Allocation> out;
  std::vector<double> lambdas, biases;
  std::vector<Tensor> mixes;
  for (const double lambda : grid.lambdas) {
    for (size_t mix = 0; mix < grid.mixes.size(); ++mix) {
      const Tensor weights = normalised(grid.mixes[mix].train, n);
      for (size_t start = 0; start < grid.starts.size(); ++start) {
        ENTRAIN_CHECK(std::ssize(grid.starts[start]) == n_experts && std::ranges::all_of(grid.starts[start], [](double s) { return s > 0; }), "a start must give every expert a share");
        Allocation one;
        one.lambda = lambda;
        one.mix = mix;
        one.start = start;
        out.push_back(std::move(one));
        lambdas.push_back(lambda);
        mixes.push_back(weights);
        for (const double share : grid.starts[start]) biases.push_back(std::log(share));
      }
    }
  }
  ENTRAIN_CHECK(!out.empty(), "an empty grid");
  const int64_t n_gates = std::ssize(out);

  const Tensor mean = train.features.to(at::kDouble).mean(0), spread = (train.features.to(at::kDouble) - mean).square().mean(0).sqrt();
  const Tensor scale = at::where(spread > 1e-9, spread.reciprocal(), at::zeros_like(spread));
  const auto design = [&](const Tensor& features) {
    const Tensor x = (features.to(at::kDouble) - mean) * scale;
    ENTRAIN_CHECK(at::isfinite(x).all().item<bool>(), "features must be finite");
    return at::cat({x, at::ones({x.size(0), 1}, at::kDouble)}, 1).to(at::kFloat);
  };
  const Tensor x = design(train.features), cost_f = price.to(at::kFloat), correct_f = correct.to(at::kFloat);
  const int64_t width = x.size(1);
  Gates gates{at::zeros({n_experts, width, n_gates}), at::tensor(lambdas).to(at::kFloat), at::stack(mixes, 1).to(at::kFloat).contiguous()};
  gates.weights.select(1, width - 1).copy_(at::tensor(biases).view({n_gates, n_experts}).t());

  Tensor first_moment = at::zeros_like(gates.weights), second_moment = at::zeros({n_gates}), norm, least_norm;
  for (int64_t step = 1; step <= options.steps; ++step) {
    Tensor questions;
    if (options.rows > 0 && options.rows < n) {
      RandomStream random = stream(options.seed, "allocation/batch", static_cast<uint64_t>(step));
      std::vector<int64_t> drawn;
      for (int64_t k = 0; k < options.rows; ++k) drawn.push_back(static_cast<int64_t>(random.next_below(static_cast<uint64_t>(n))));
      questions = at::tensor(drawn);
    }
    const Tensor gradient = utility_gradient(gates, x, correct_f, cost_f, questions);
    norm = gradient.narrow(1, 0, width - 1).square().sum(at::IntArrayRef{0, 1}).sqrt();  // (K)
    if (step == 1) {
      for (int64_t k = 0; k < n_gates; ++k) out[static_cast<size_t>(k)].gradient_norm = norm[k].item<double>();
      const int64_t none = norm.argmin().item<int64_t>();
      if (!(norm[none].item<double>() > kLeastGradient)) {
        const Allocation& one = out[static_cast<size_t>(none)];
        throw Error(ErrorKind::kNumeric, "the gate for lambda " + std::to_string(one.lambda) + " and mix " + grid.mixes[one.mix].name + " gets no gradient: all experts are worth the same on every question",
                    "use experts that differ, or features that tell questions apart");
      }
      least_norm = norm;
    }
    least_norm = at::minimum(least_norm, norm);
    // The size of a step does not fall as a gate becomes sure of itself, so none is stuck at a corner; its direction is the gradient's, where Adam's signs would send
    // weights to corners that the utility does not ask for, another for each start.
    first_moment.mul_(kBeta1).add_(gradient, 1 - kBeta1);
    second_moment.mul_(kBeta2).add_(gradient.square().sum(at::IntArrayRef{0, 1}), 1 - kBeta2);
    const auto t = static_cast<double>(step);
    const double rate = options.lr * (1 - (t - 1) / static_cast<double>(options.steps));
    gates.weights.addcdiv_(first_moment, second_moment.div(1 - std::pow(kBeta2, t)).sqrt_().add_(kEps), rate / (1 - std::pow(kBeta1, t)));
  }

  const Tensor test_x = design(test.features);
  std::vector<Tensor> p_right;  // by mix: (m, N)
  for (const Mix& mix : grid.mixes) p_right.push_back(fit_logistic(train.features, correct, kRidge, mix.train).predict(test.features));
  for (int64_t k = 0; k < n_gates; ++k) {
    Allocation& one = out[static_cast<size_t>(k)];
    const Tensor weights = normalised(grid.mixes[one.mix].test, m);
    const Tensor logits = at::matmul(test_x, gates.weights.select(2, k).t().contiguous()).to(at::kDouble);
    const Outcome hard = outcome_of(logits.argmax(1), test_correct, price, weights);
    const Outcome informed = outcome_of(decide(p_right[one.mix], price, one.lambda), test_correct, price, weights);
    const Outcome oracle = outcome_of(decide(test_correct, price, one.lambda), test_correct, price, weights);
    one.hard = hard.shares;
    one.accuracy = hard.accuracy;
    one.cost = hard.cost;
    one.expected = doubles(at::mv(logits.softmax(1).t(), weights));
    one.informed = informed.shares;
    one.informed_accuracy = informed.accuracy;
    one.informed_cost = informed.cost;
    one.oracle = oracle.shares;
    one.oracle_accuracy = oracle.accuracy;
    one.oracle_cost = oracle.cost;
    if (least_norm.defined()) one.least_gradient_norm = least_norm[k].item<double>();
    for (int64_t j = 0; j < n_experts; ++j) {
      if (one.hard[static_cast<size_t>(j)] <= 0) one.dead.push_back(j);
    }
  }
  return out;
}

std::vector<EnforcedArm> enforce(const AllocationSheet& train, const AllocationSheet& test, const Tensor& cost, double lambda, std::span<const EnforcedShares> targets) {
  check(train, cost);
  check(test, cost);
  const int64_t m = test.features.size(0);
  const Tensor price = cost.to(at::kDouble), correct = test.correct.to(at::kDouble), weights = normalised({}, m);
  const Tensor p_right = fit_logistic(train.features, train.correct, kRidge).predict(test.features);
  std::vector<EnforcedArm> out;
  for (const EnforcedShares& target : targets) {
    const std::vector<int64_t> quotas = whole_quotas(target.shares, m);
    const Outcome arm = outcome_of(assign(p_right, quotas), correct, price, weights);
    const Outcome oracle = outcome_of(assign(correct, quotas), correct, price, weights);
    // The cost falls as the price rises: `high` always keeps within it.
    double low = 0, high = 1;
    const auto at_price = [&](double one) { return outcome_of(decide(p_right, price, one), correct, price, weights); };
    const auto fits = [&](const Outcome& one) { return one.cost <= arm.cost + 1e-12; };
    Outcome free = at_price(0);
    if (!fits(free)) {
      while (!fits(free = at_price(high)) && high < 1e12) high *= 2;
      for (int k = 0; k < kBisections; ++k) {
        const double middle = (low + high) / 2;
        (fits(at_price(middle)) ? high : low) = middle;
      }
      free = at_price(high);
    }
    out.push_back({target.name, arm.shares, arm.accuracy, arm.cost, arm.accuracy - lambda * arm.cost, free.accuracy, free.cost, free.shares, oracle.accuracy});
  }
  return out;
}

}  // namespace entrain::experts
