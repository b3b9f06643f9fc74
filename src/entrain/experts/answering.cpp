#include "entrain/experts/answering.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/base/format.h"

namespace entrain::experts {
namespace {

/// The pool's answer from what has been asked; heads of the one that answers where there is one.
void fill_heads(const OpenRun& run, const Answers& from, size_t expert, PoolAnswer& out) {
  const Awareness says = run.heads[expert].judge(from.before, from.after);
  out.confidence_before = says.before.item<double>();
  out.confidence_after = says.after.item<double>();
  out.complexity = says.complexity.item<double>();
  out.urgency = says.urgency.item<double>();
  out.precision = says.precision.item<double>();
}

std::vector<double> row(const Tensor& probabilities) {
  const Tensor dense = probabilities.flatten().to(at::kDouble).contiguous();
  return {dense.const_data_ptr<double>(), dense.const_data_ptr<double>() + dense.numel()};
}

}  // namespace

PoolAnswer answer(const OpenRun& run, const std::string& question, double lambda, bool blend_all) {
  const Pool& pool = run.pool;
  const std::vector<std::vector<int32_t>> encoded = {pool.tokenizer.encode(question, text::Specials::kAsText)};
  if (encoded[0].empty()) throw Error(ErrorKind::kUsage, "the question is empty", "entrain experts tasks shows what questions look like");
  AskOptions options;
  options.keep_texts = true;
  PoolAnswer out;
  std::vector<std::optional<Answers>> asked(pool.experts.size());
  const auto ask_one = [&](size_t e) -> const Answers& {
    if (!asked[e]) {
      asked[e] = ask(pool.experts[e], pool.tokenizer, pool.tokens, encoded, options);
      out.experts[e].failure = asked[e]->failure;
      if (asked[e]->failure.empty()) out.flops += asked[e]->flops[0];
    }
    return *asked[e];
  };
  // The reader is the cheapest expert that works; the coordinator has learned from the cheapest of training, so that one must.
  for (size_t e = 0; e < pool.experts.size(); ++e) out.experts.push_back({pool.experts[e].name, 0, run.relative_cost[e], 0});
  std::vector<size_t> sound;  // one that failed in training has neither cost nor heads
  for (size_t e = 0; e < pool.experts.size(); ++e) {
    if (run.relative_cost[e] > 0) {
      sound.push_back(e);
    } else {
      out.experts[e].failure = "expert " + pool.experts[e].name + " failed in training";
    }
  }
  if (sound.empty()) throw Error(ErrorKind::kNumeric, "every expert of the pool failed; " + out.experts[0].failure, "train the pool again");
  const size_t reader = *std::min_element(sound.begin(), sound.end(), [&](size_t a, size_t b) { return run.relative_cost[a] < run.relative_cost[b]; });
  const bool reads = ask_one(reader).failure.empty();
  if (reads) {
    const std::vector<double> p = row(run.coordinator.predict(asked[reader]->before));
    for (size_t e = 0; e < p.size(); ++e) out.experts[e].p_correct = p[e];
  }
  for (AskedExpert& one : out.experts) one.value = one.p_correct - lambda * one.relative_cost;
  std::vector<size_t> order = sound;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return out.experts[a].value > out.experts[b].value; });

  if (blend_all) {
    std::vector<size_t> works;
    for (const size_t e : order) {
      if (ask_one(e).failure.empty()) works.push_back(e);
    }
    if (works.empty()) throw Error(ErrorKind::kNumeric, "every expert of the pool failed; " + asked[reader]->failure, "train the pool again");
    const bool any = std::any_of(works.begin(), works.end(), [&](size_t e) { return run.recipe.pool.shares[e] > 0; });
    Tensor mixture = at::zeros({1, static_cast<int64_t>(kAnswers)}, at::kDouble);
    for (const size_t e : works) mixture = mixture + asked[e]->probabilities.to(at::kDouble) * (any ? run.recipe.pool.shares[e] : 1.0);
    out.probabilities = row(mixture / mixture.sum());
    out.why = "all experts that work, averaged by pool.shares";
  } else {
    for (const size_t e : order) {
      const Answers& one = ask_one(e);
      if (!one.failure.empty()) continue;
      out.answered_by = static_cast<int64_t>(e);
      out.probabilities = row(one.probabilities);
      out.written = one.texts[0];
      fill_heads(run, one, e, out);
      break;
    }
    if (out.answered_by < 0) throw Error(ErrorKind::kNumeric, "every expert of the pool failed; " + asked[reader]->failure, "train the pool again");
    const AskedExpert& chosen = out.experts[static_cast<size_t>(out.answered_by)];
    out.why = reads ? format("%s is right with probability %.2f at %.2f of the dearest cost: %.3f after the price, the best of %zu", chosen.name.c_str(), chosen.p_correct, chosen.relative_cost, chosen.value,
                             order.size())
                    : chosen.name + " is the first that works; " + asked[reader]->failure;
  }
  out.answer = reasoning::kAnswers[static_cast<size_t>(std::max_element(out.probabilities.begin(), out.probabilities.end()) - out.probabilities.begin())];
  return out;
}

}  // namespace entrain::experts
