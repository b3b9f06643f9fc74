// What observing each other costs a pool of N experts, against the experts' own forward passes, in one run.
//
//   build/bench_observation [--experts 100] [--rounds 5] [--threads 1]
//
// N experts of C = 128, L = 4, one round before the last two blocks, B = 2, T = 128, shared width 64. Times alternate between own passes and passes
// with observation; the figure is the ratio of medians. The bar: at most 1.15 for the workspace at N = 100. Prints Markdown.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "entrain/experts/observation.h"
#include "entrain/model/transformer.h"

namespace {

using namespace entrain;
using Clock = std::chrono::steady_clock;

constexpr int64_t kRows = 2, kPositions = 128, kWidth = 128, kLayers = 4, kVocabulary = 640;

int64_t option(int argc, char** argv, const char* name, int64_t value) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], name) == 0) return std::atoll(argv[i + 1]);
  }
  return value;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::vector<model::Transformer> make_experts(int64_t n) {
  model::Config config;
  config.family = "qwen3";
  config.width = kWidth;
  config.layers = kLayers;
  config.heads = 4;
  config.context = kPositions;
  config.vocab_size = kVocabulary;
  config.resolve();
  std::vector<model::Transformer> experts;
  for (int64_t i = 0; i < n; ++i) experts.emplace_back(config, static_cast<uint64_t>(i));
  return experts;
}

/// One pass of all experts; with an exchange after half of their blocks where there is an observation.
double pass(const std::vector<model::Transformer>& experts, const Tensor& ids, const experts::Observation* observation) {
  const Clock::time_point start = Clock::now();
  experts::States states;
  for (const model::Transformer& expert : experts) {
    model::Forward first;
    first.last_block = kLayers / 2;
    states.push_back(expert.hidden(ids, first));
  }
  if (observation != nullptr) states = observation->round(states, observation->default_edges());
  for (size_t i = 0; i < experts.size(); ++i) {
    model::Forward rest;
    rest.first_block = kLayers / 2;
    rest.embedded = states[i];
    const Tensor hidden = experts[i].hidden(ids, rest);
    experts[i].logits(hidden.select(1, kPositions - 1));
  }
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const at::NoGradGuard no_grad;
  const int64_t largest = option(argc, argv, "--experts", 100), n_rounds = option(argc, argv, "--rounds", 5);
  at::set_num_threads(static_cast<int>(option(argc, argv, "--threads", 1)));
  std::printf("C = %lld, L = %lld, B = %lld, T = %lld, one round, shared width 64, %lld times each\n\n", static_cast<long long>(kWidth), static_cast<long long>(kLayers), static_cast<long long>(kRows),
              static_cast<long long>(kPositions), static_cast<long long>(n_rounds));
  std::printf("| experts | mode | own passes, ms | with observation, ms | ratio of medians | ratio by FLOPs |\n| --- | --- | --- | --- | --- | --- |\n");
  for (const int64_t n : {int64_t{3}, int64_t{10}, largest}) {
    const std::vector<model::Transformer> pool = make_experts(n);
    const Tensor ids = at::arange(kRows * kPositions).remainder(kVocabulary).view({kRows, kPositions});
    for (const char* mode : {"workspace", "summary", "neighbours", "full"}) {
      if (n > 10 && std::string(mode) == "full") continue;  // quadratic in experts: minutes
      experts::ObservationConfig config;
      config.mode = mode;
      config.mlp_width = 0;
      const experts::Observation observation(config, std::vector<int64_t>(static_cast<size_t>(n), kWidth), 0);
      pass(pool, ids, &observation);  // warm-up
      std::vector<double> own, observing;
      for (int64_t r = 0; r < n_rounds; ++r) {
        own.push_back(pass(pool, ids, nullptr));
        observing.push_back(pass(pool, ids, &observation));
      }
      const double forward = static_cast<double>(n * kRows) * model::training_flops_per_position(pool[0].config(), kPositions) / 3.0 * static_cast<double>(kPositions);
      std::printf("| %lld | %s | %.1f | %.1f | %.3f | %.3f |\n", static_cast<long long>(n), mode, 1e3 * median(own), 1e3 * median(observing), median(observing) / median(own),
                  1.0 + static_cast<double>(kRows) * observation.round_flops(kPositions) / forward);
      std::fflush(stdout);
    }
  }
}
