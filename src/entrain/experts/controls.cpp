#include "entrain/experts/controls.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "entrain/base/error.h"
#include "entrain/base/random.h"

namespace entrain::experts {
namespace {

constexpr int64_t kRows = 128;  // at once; bounds memory

/// Indices of examples in batches of equal length. None is alone in its batch unless it is in its length.
std::vector<std::vector<int64_t>> batches_of_equal_length(std::span<const Example> examples) {
  std::map<size_t, std::vector<int64_t>> by_length;
  for (size_t k = 0; k < examples.size(); ++k) by_length[examples[k].prompts.at(0).size()].push_back(static_cast<int64_t>(k));
  std::vector<std::vector<int64_t>> batches;
  for (const auto& [length, members] : by_length) {
    const int64_t n = std::ssize(members), n_batches = (n + kRows - 1) / kRows;
    for (int64_t k = 0; k < n_batches; ++k) batches.emplace_back(members.begin() + n * k / n_batches, members.begin() + n * (k + 1) / n_batches);
  }
  return batches;
}

Tensor standard_normal(at::IntArrayRef shape, RandomStream random) {
  Tensor out = at::empty(shape);
  float* values = out.data_ptr<float>();
  for (int64_t k = 0; k < out.numel(); ++k) values[k] = static_cast<float>(random.next_normal());
  return out;
}

/// `noise` with each channel's mean and spread over the rows and positions of `state`; both (B, T, C).
Tensor matched(const Tensor& noise, const Tensor& state) {
  const Tensor mean = state.mean(at::IntArrayRef{0, 1}, /*keepdim=*/true);
  return mean + noise * (state - mean).square().mean(at::IntArrayRef{0, 1}, /*keepdim=*/true).sqrt();
}

/// One round in which everyone reads `others` in place of the others' states.
States round_with(const Observation& observation, const States& own, const States& others, const Edges& edges) {
  States next;
  for (int64_t i = 0; i < observation.n_experts(); ++i) next.push_back(observation.update(i, own[static_cast<size_t>(i)], others, edges));
  return next;
}

/// States of every round, the first ones included.
std::vector<States> run(const Observation& observation, const States& first, int64_t n_rounds, Partners partners, RandomStream random) {
  const Edges edges = observation.default_edges();
  if (partners == Partners::kOwn) return observation.rounds(first, n_rounds, edges);
  if (partners == Partners::kNone) return observation.rounds(first, n_rounds, no_edges(observation.n_experts()));
  std::vector<States> truth;  // what partners are taken from
  States noise;
  if (partners == Partners::kShuffled) truth = observation.rounds(first, n_rounds, edges);
  for (const Tensor& state : first) {
    if (partners == Partners::kNoise) noise.push_back(standard_normal(state.sizes(), RandomStream(random.next_u64())));
  }
  std::vector<States> all = {first};
  for (int64_t r = 0; r < n_rounds; ++r) {
    States others;
    for (size_t j = 0; j < first.size(); ++j) {
      others.push_back(partners == Partners::kNoise ? matched(noise[j], all.back()[j]) : truth[static_cast<size_t>(r)][j].roll(-1, 0));
    }
    all.push_back(round_with(observation, all.back(), others, edges));
  }
  return all;
}

struct Arm {
  const char* name;
  const Tensor& logits;
};

}  // namespace

Tensor logits_by_round(const Entangled& entangled, const Observation& observation, std::span<const Example> examples, int64_t n_rounds, Partners partners, uint64_t seed) {
  ENTRAIN_CHECK(!examples.empty() && n_rounds >= 0, std::to_string(examples.size()) + " examples, " + std::to_string(n_rounds) + " rounds");
  const at::NoGradGuard no_grad;
  const int64_t n_experts = observation.n_experts();
  Tensor out = at::full({n_rounds + 1, n_experts, std::ssize(examples), static_cast<int64_t>(kAnswers)}, std::numeric_limits<float>::quiet_NaN());
  uint64_t batch = 0;
  for (const std::vector<int64_t>& members : batches_of_equal_length(examples)) {
    const RandomStream random = stream(seed, "observation/noise", batch++);
    if (partners == Partners::kShuffled && members.size() == 1) continue;
    std::vector<const Example*> some;
    for (const int64_t k : members) some.push_back(&examples[static_cast<size_t>(k)]);
    const std::vector<Prompts> prompts = collate(some);
    const std::vector<States> all = run(observation, entangled.read(prompts), n_rounds, partners, random);
    const Tensor at_members = at::tensor(members);
    for (int64_t r = 0; r <= n_rounds; ++r) {
      for (int64_t i = 0; i < n_experts; ++i) {
        const Tensor hidden = entangled.finish(i, all[static_cast<size_t>(r)][static_cast<size_t>(i)], Entangled::prompt_of(prompts, i));
        out[r][i].index_copy_(0, at_members, entangled.answer_logits(i, hidden));
      }
    }
  }
  return out;
}

Observation random_observation(const Entangled& entangled, uint64_t seed) {
  std::vector<int64_t> widths;
  for (const Expert& expert : entangled.pool().experts) widths.push_back(expert.model.config().width);
  Observation out(entangled.observation().config(), widths, stream(seed, "observation/untrained").next_u64());
  const at::NoGradGuard no_grad;
  const auto& trained = entangled.observation().parameters().weights();
  const auto& weights = out.parameters().weights();
  for (size_t k = 0; k < weights.size(); ++k) {
    const Tensor& value = weights[k].value;
    if (weights[k].role != model::Role::kMatrix || value.abs().max().item<float>() > 0) continue;
    const Tensor random = standard_normal(value.sizes(), stream(seed, "observation/untrained/" + weights[k].name));
    const double norm = trained[k].value.norm().item<double>();
    value.copy_(random * (norm > 0 ? norm / random.norm().item<double>() : 1.0 / std::sqrt(static_cast<double>(value.size(1)))));
  }
  return out;
}

Observed observe(const Entangled& entangled, std::span<const Example> examples, int64_t n_rounds, uint64_t seed) {
  const Observation& trained = entangled.observation();
  const auto with = [&](const Observation& observation, Partners partners) { return logits_by_round(entangled, observation, examples, n_rounds, partners, seed); };
  return {n_rounds, with(trained, Partners::kOwn), with(trained, Partners::kNone), with(trained, Partners::kNoise), with(trained, Partners::kShuffled),
          with(random_observation(entangled, seed), Partners::kOwn)};
}

ControlTable control_table(const Observed& observed, std::span<const Example> examples) {
  const int64_t n_experts = observed.own.size(1), n = std::ssize(examples);
  ENTRAIN_CHECK(observed.own.size(2) == n, std::to_string(n) + " examples, logits of " + std::to_string(observed.own.size(2)));
  std::vector<int64_t> kept;
  for (int64_t k = 0; k < n; ++k) {
    if (!std::isnan(observed.shuffled[0][0][k][0].item<float>())) kept.push_back(k);
  }
  ControlTable table;
  table.n = std::ssize(kept);
  table.left_out = n - table.n;
  if (kept.empty()) return table;
  std::vector<int64_t> answers;
  Tensor judged = at::zeros({n_experts, table.n}, at::kDouble);  // weights of (expert, example) in ControlRow::judged
  for (int64_t k = 0; k < table.n; ++k) {
    const Example& example = examples[static_cast<size_t>(kept[static_cast<size_t>(k)])];
    answers.push_back(example.answer);
    if (example.asker >= 0) {
      judged[example.asker][k] = 1.0;
    } else {
      judged.select(1, k).fill_(1.0 / static_cast<double>(n_experts));
    }
  }
  const Tensor truth = at::tensor(answers), at_kept = at::tensor(kept);
  for (const Arm& arm : {Arm{"own", observed.own}, Arm{"none", observed.none}, Arm{"noise", observed.noise}, Arm{"shuffled", observed.shuffled}, Arm{"untrained", observed.untrained}}) {
    for (int64_t r = 0; r <= observed.n_rounds; ++r) {
      const Tensor correct = arm.logits[r].index_select(1, at_kept).argmax(-1).eq(truth).to(at::kDouble);  // (N, n)
      ControlRow row{arm.name, r, {}, (correct * judged).sum().item<double>() / static_cast<double>(table.n)};
      for (int64_t i = 0; i < n_experts; ++i) row.by_expert.push_back(correct[i].mean().item<double>());
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

double leak(const Entangled& entangled, const Prompts& prompt, int64_t t, int64_t n_rounds, const Edges& edges, double* after) {
  const at::NoGradGuard no_grad;
  const int64_t positions = prompt.ids.size(1);
  ENTRAIN_CHECK(0 <= t && t < positions - 1, "position " + std::to_string(t) + " of " + std::to_string(positions));
  Prompts changed = prompt;
  changed.ids = prompt.ids.clone();
  Tensor behind = changed.ids.narrow(1, t + 1, positions - t - 1);
  behind.copy_((behind + 1).remainder(entangled.pool().experts[0].model.config().vocab_size));
  const auto outputs = [&](const Prompts& one) {  // states and logits at every position, of each expert
    const States states = entangled.observation().rounds(entangled.read(std::span(&one, 1)), n_rounds, edges, one.valid).back();
    std::vector<Tensor> all;
    for (int64_t i = 0; i < std::ssize(states); ++i) {
      const model::Transformer& model = entangled.pool().experts[static_cast<size_t>(i)].model;
      Tensor hidden = states[static_cast<size_t>(i)];
      if (const int64_t before = entangled.blocks_before(i); before < model.config().layers) {
        model::Forward forward;
        forward.segments = one.segments;
        forward.embedded = hidden;
        forward.first_block = before;
        hidden = model.hidden(one.ids, forward);
      }
      all.push_back(at::cat({states[static_cast<size_t>(i)], model.logits(hidden)}, 2));
    }
    return at::cat(all, 2);  // (B, T, ...)
  };
  const Tensor change = (outputs(changed) - outputs(prompt)).abs();
  if (after != nullptr) *after = change.narrow(1, t + 1, positions - t - 1).max().item<double>();
  return change.narrow(1, 0, t + 1).max().item<double>();
}

}  // namespace entrain::experts
