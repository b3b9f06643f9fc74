#include "entrain/train/optimizer.h"

#include <ATen/ops/linalg_svdvals.h>

#include <cmath>

#include "../model/tiny_model.h"

namespace entrain::train {
namespace {

using model::Role;
using model::Transformer;
using model::Weight;

/// Gradients of step `step` for every stored tensor: the same numbers for every optimizer under test.
void set_gradients(Transformer& model, int64_t step) {
  for (size_t i = 0; i < model.parameters().stored().size(); ++i) {
    const Tensor& stored = model.parameters().stored()[i];
    auto generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(1000 * step) + i);
    const_cast<Tensor&>(stored).mutable_grad() = at::randn(stored.sizes(), generator) * 0.1;
  }
}

/// AdamW as in algorithm 2 of arXiv 1711.05101, in float64.
struct AdamWReference {
  Tensor value, mean, square;
  void step(const Tensor& gradient, int64_t t, double lr, double decay, const OptimizerConfig& c) {
    const Tensor g = gradient.to(at::kDouble);
    mean = c.beta1 * mean + (1 - c.beta1) * g;
    square = c.beta2 * square + (1 - c.beta2) * g * g;
    const Tensor m = mean / (1 - std::pow(c.beta1, t)), v = square / (1 - std::pow(c.beta2, t));
    value = value * (1 - lr * decay) - lr * m / (v.sqrt() + c.eps);
  }
};

struct MuonReference {
  Tensor value, momentum;
  void step(const Tensor& gradient, double lr, const OptimizerConfig& c) {
    const Tensor g = gradient.to(at::kDouble);
    momentum = c.muon_momentum * momentum + (1 - c.muon_momentum) * g;
    const Tensor update = (1 - c.muon_momentum) * g + c.muon_momentum * momentum;
    Tensor x = update.size(0) > update.size(1) ? update.t() : update;
    x = x / x.norm();
    for (int64_t i = 0; i < c.newton_schulz_steps; ++i) {
      const Tensor a = x.matmul(x.t()), b = -4.7750 * a + 2.0315 * a.matmul(a);
      x = 3.4445 * x + b.matmul(x);
    }
    if (update.size(0) > update.size(1)) x = x.t();
    const double rows = static_cast<double>(value.size(0)), columns = static_cast<double>(value.size(1));
    const double scale = c.muon_scale == "original" ? std::sqrt(std::max(1.0, rows / columns)) : 0.2 * std::sqrt(std::max(rows, columns));
    value = value * (1 - lr * c.muon_weight_decay) - lr * scale * x;
  }
};

OptimizerConfig distinct_rates(const std::string& name) {
  OptimizerConfig c;
  c.name = name;
  c.lr = 0.01;
  c.embedding_lr = 0.03;
  c.head_lr = 0.005;
  c.weight_decay = 0.2;
  c.embedding_weight_decay = 0.05;
  c.head_weight_decay = 0.3;
  return c;
}

double peak(const OptimizerConfig& c, Role role) { return role == Role::kEmbedding ? c.embedding_lr : role == Role::kHead ? c.head_lr : c.lr; }
double decay(const OptimizerConfig& c, Role role) {
  if (role == Role::kEmbedding) return c.embedding_weight_decay;
  if (role == Role::kHead) return c.head_weight_decay;
  return role == Role::kMatrix ? c.weight_decay : 0.0;
}
double multiplier(int64_t step) { return 1.0 / static_cast<double>(step); }

// Ten steps with changing rates. Weights are below 4 in size, so float32 rounds each step to 2.4e-7; ten steps stay below 5e-6.
TEST(AdamW, IsTheReferenceInEveryRole) {
  for (const std::string& shape : model::kShapes) {
    const OptimizerConfig config = distinct_rates("adamw");
    Transformer model(model::tiny_config(shape), 1);
    const auto optimizer = make_optimizer(config, model.parameters());
    std::vector<AdamWReference> references;
    for (const Weight& weight : model.parameters().weights()) references.push_back({weight.value.to(at::kDouble), at::zeros_like(weight.value, at::kDouble), at::zeros_like(weight.value, at::kDouble)});
    for (int64_t step = 1; step <= 10; ++step) {
      set_gradients(model, step);
      for (size_t i = 0; i < references.size(); ++i) {
        const Weight& weight = model.parameters().weights()[i];
        references[i].step(model.parameters().gradient(weight), step, multiplier(step) * peak(config, weight.role), decay(config, weight.role), config);
      }
      optimizer->step(step, multiplier(step));
    }
    for (size_t i = 0; i < references.size(); ++i) {
      const Weight& weight = model.parameters().weights()[i];
      EXPECT_LT((weight.value - references[i].value).abs().max().item<double>(), 5e-6) << shape << " " << weight.name;
    }
    EXPECT_EQ(optimizer->flops_per_step(), 0);
    EXPECT_EQ(optimizer->state().size(), 2 * references.size());
  }
}

// Newton-Schulz iterations multiply small singular values by up to 3.4 a step, 3.4^5 = 450 in all, and float32 rounding with
// them: 450 x 6e-8 = 3e-5 of a direction, times ten steps of rate 0.02 and scale up to 1.4: 1e-5.
TEST(Muon, IsTheReferenceAndLeavesTheRestToAdamW) {
  for (const std::string& shape : model::kShapes) {
    for (const char* scale : {"original", "match_rms_adamw"}) {
      OptimizerConfig config = distinct_rates("muon");
      config.muon_scale = scale;
      Transformer model(model::tiny_config(shape), 1);
      const auto optimizer = make_optimizer(config, model.parameters());
      std::vector<AdamWReference> adamw;
      std::vector<MuonReference> muon;
      for (const Weight& weight : model.parameters().weights()) {
        const Tensor value = weight.value.to(at::kDouble), zeros = at::zeros_like(value);
        adamw.push_back({value, zeros, zeros});
        muon.push_back({value, zeros});
      }
      for (int64_t step = 1; step <= 10; ++step) {
        set_gradients(model, step);
        for (size_t i = 0; i < muon.size(); ++i) {
          const Weight& weight = model.parameters().weights()[i];
          const Tensor gradient = model.parameters().gradient(weight);
          if (weight.role == Role::kMatrix) {
            muon[i].step(gradient, multiplier(step) * config.muon_lr, config);
          } else {
            adamw[i].step(gradient, step, multiplier(step) * peak(config, weight.role), decay(config, weight.role), config);
          }
        }
        optimizer->step(step, multiplier(step));
      }
      for (size_t i = 0; i < muon.size(); ++i) {
        const Weight& weight = model.parameters().weights()[i];
        const Tensor& expected = weight.role == Role::kMatrix ? muon[i].value : adamw[i].value;
        EXPECT_LT((weight.value - expected).abs().max().item<double>(), 1e-5) << shape << " " << weight.name;
      }
    }
  }
}

TEST(Orthogonalize, BringsSingularValuesNearOne) {
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{16, 32}, {32, 16}, {48, 8}, {1, 20}, {20, 1}, {12, 16}}) {
    for (const double scale : {1e-6, 1.0, 1e6}) {
      const Tensor g = at::randn({3, rows, columns}, at::make_generator<at::CPUGeneratorImpl>(7)) * scale;
      const Tensor x = orthogonalize(g, 5);
      EXPECT_EQ(x.sizes(), g.sizes());
      const Tensor values = at::linalg_svdvals(x);
      EXPECT_GT(values.min().item<double>(), 0.6) << rows << " x " << columns << " scale " << scale;
      EXPECT_LT(values.max().item<double>(), 1.3) << rows << " x " << columns << " scale " << scale;
      // The same singular vectors: the polar factor's inner product with g is the sum of g's singular values.
      const Tensor inner = (x * g).sum({1, 2}) / at::linalg_svdvals(g).sum(1);
      EXPECT_GT(inner.min().item<double>(), 0.65);
      for (int64_t i = 0; i < 3; ++i) {  // batched or alone: other GEMMs, the same sums
        EXPECT_LT((orthogonalize(g.narrow(0, i, 1), 5)[0] - x[i]).abs().max().item<double>(), 1e-4);
      }
    }
  }
  EXPECT_TRUE(at::isfinite(orthogonalize(at::zeros({1, 4, 4}), 5)).all().item<bool>()) << "a zero gradient stays finite";
}

// 2 m^2 n for the Gram matrix, 2 m^3 for its square, 2 m^2 n for the product, per iteration and matrix.
TEST(Muon, CountsItsFlops) {
  Transformer model(model::tiny_config("grouped"), 1);
  const auto optimizer = make_optimizer(distinct_rates("muon"), model.parameters());
  const auto flops = [](double m, double n) { return 5 * (4 * m * m * n + 2 * m * m * m); };
  // per layer: q 24 x 32, k and v 12 x 32, o 32 x 24, gate, up 48 x 32, down 32 x 48
  EXPECT_DOUBLE_EQ(optimizer->flops_per_step(), 2 * (2 * flops(24, 32) + 2 * flops(12, 32) + 3 * flops(32, 48)));
}

TEST(Optimizer, StateRestoresExactly) {
  for (const char* name : {"adamw", "muon"}) {
    Transformer a(model::tiny_config("llama"), 1), b(model::tiny_config("llama"), 1);
    const auto first = make_optimizer(distinct_rates(name), a.parameters()), second = make_optimizer(distinct_rates(name), b.parameters());
    for (int64_t step = 1; step <= 3; ++step) {
      set_gradients(a, step);
      first->step(step, 1);
    }
    for (size_t i = 0; i < a.parameters().weights().size(); ++i) b.parameters().weights()[i].value.copy_(a.parameters().weights()[i].value);
    const auto from = first->state(), to = second->state();
    ASSERT_EQ(from.size(), to.size());
    for (size_t i = 0; i < from.size(); ++i) {
      EXPECT_EQ(from[i].first, to[i].first);
      EXPECT_GT(from[i].second.abs().max().item<double>(), 0) << from[i].first << " is in use";
      to[i].second.copy_(from[i].second);
    }
    set_gradients(a, 4);
    set_gradients(b, 4);
    first->step(4, 0.5);
    second->step(4, 0.5);
    for (size_t i = 0; i < a.parameters().weights().size(); ++i) EXPECT_TRUE(at::equal(a.parameters().weights()[i].value, b.parameters().weights()[i].value)) << name;
  }
}

TEST(Optimizer, WeightsWithoutAGradientStay) {
  for (const char* name : {"adamw", "muon"}) {
    Transformer model(model::tiny_config("llama"), 1), before(model::tiny_config("llama"), 1);
    const auto optimizer = make_optimizer(distinct_rates(name), model.parameters());
    set_gradients(model, 1);
    const_cast<Tensor&>(model.parameters().stored()[2]).mutable_grad().reset();
    optimizer->step(1, 1);
    for (size_t i = 0; i < model.parameters().weights().size(); ++i) {
      const Weight& weight = model.parameters().weights()[i];
      EXPECT_EQ(at::equal(weight.value, before.parameters().weights()[i].value), weight.stored == 2) << weight.name;
    }
  }
}

}  // namespace
}  // namespace entrain::train
