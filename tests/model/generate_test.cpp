#include "entrain/model/generate.h"

#include <cmath>
#include <map>
#include <set>

#include "entrain/base/error.h"
#include "tiny_model.h"

namespace entrain::model {
namespace {

// 200 tokens through the cache are those of the whole text read anew for every token. Weights are large enough that the two
// likeliest tokens are further apart than rounding (about 1e-5): the test checks that too.
TEST(Generate, TheCacheChangesNoToken) {
  at::NoGradGuard no_grad;
  for (const std::string& shape : kShapes) {
    Config config = tiny_config(shape);
    config.context = 256;
    const Transformer model(config, 3);
    const std::vector<int32_t> prompt{5, 17, 3};
    const std::vector<int32_t> cached = generate(model, prompt, {.n_tokens = 200, .temperature = 0}, {});
    ASSERT_EQ(cached.size(), 200u);
    std::vector<int64_t> ids(prompt.begin(), prompt.end());
    for (size_t i = 0; i < cached.size(); ++i) {
      const Tensor hidden = model.hidden(at::tensor(ids).unsqueeze(0));
      const Tensor logits = model.logits(hidden.select(1, hidden.size(1) - 1)).squeeze(0);
      const Tensor best = std::get<0>(logits.topk(2));
      ASSERT_GT((best[0] - best[1]).item<double>(), 1e-4) << shape << " token " << i << ": too close to call, choose another seed";
      ASSERT_EQ(cached[i], logits.argmax().item<int64_t>()) << shape << " token " << i;
      ids.push_back(cached[i]);
    }
    EXPECT_GT(std::set<int32_t>(cached.begin(), cached.end()).size(), 3u) << shape << " says nothing";
  }
}

TEST(Generate, EndsAtEosAndReportsEachToken) {
  const Transformer model(tiny_config("llama"), 3);
  const std::vector<int32_t> prompt{5, 17, 3};
  const auto all = generate(model, prompt, {.n_tokens = 30, .temperature = 1, .seed = 4}, {});
  ASSERT_EQ(all.size(), 30u);
  const std::vector<int32_t> eos{all[20], all[10]};
  const size_t first = static_cast<size_t>(std::find_first_of(all.begin(), all.end(), eos.begin(), eos.end()) - all.begin());
  std::vector<int32_t> seen;
  const auto cut = generate(model, prompt, {.n_tokens = 30, .temperature = 1, .seed = 4}, eos, [&](int32_t token) { seen.push_back(token); });
  EXPECT_EQ(cut, std::vector<int32_t>(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(first))) << "up to the first of them, without it";
  EXPECT_EQ(seen, cut);
  EXPECT_EQ(generate(model, prompt, {.n_tokens = 0}, {}).size(), 0u);
}

TEST(Generate, AnEmptyPromptStartsFromEos) {
  const Transformer model(tiny_config("llama"), 3);
  const std::vector<int32_t> from_eos = generate(model, std::vector<int32_t>{7}, {.n_tokens = 5, .temperature = 0}, {7});
  EXPECT_EQ(generate(model, {}, {.n_tokens = 5, .temperature = 0}, {7, 8}), from_eos);
  EXPECT_THROW(generate(model, {}, {.n_tokens = 5}, {}), Error);
}

TEST(Generate, SeedsRepeat) {
  const Transformer model(tiny_config("qwen3"), 3);
  const std::vector<int32_t> prompt{1};
  const Sampling sampling{.n_tokens = 40, .temperature = 1.5, .top_p = 0.9, .seed = 1};
  Sampling other = sampling;
  other.seed = 2;
  EXPECT_EQ(generate(model, prompt, sampling, {}), generate(model, prompt, sampling, {}));
  EXPECT_NE(generate(model, prompt, sampling, {}), generate(model, prompt, other, {}));
}

// Probabilities 0.4, 0.3, 0.15, 0.1, 0.05 at temperature 1, stored out of order.
const std::vector<double> kProbabilities{0.1, 0.4, 0.05, 0.3, 0.15};

Tensor logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + 2.5));
  return at::tensor(logits);
}

/// Expected shares against 20,000 draws: each count within five standard deviations, excluded tokens never drawn.
void expect_shares(const Sampling& sampling, const std::vector<double>& shares) {
  const Tensor logits = logits_of(kProbabilities);
  std::map<int64_t, int> counts;
  const int n = 20000;
  for (int i = 0; i < n; ++i) ++counts[sample(logits, sampling, static_cast<uint64_t>(i))];
  for (size_t token = 0; token < shares.size(); ++token) {
    const double p = shares[token];
    EXPECT_NEAR(counts[static_cast<int64_t>(token)], n * p, 5 * std::sqrt(n * p * (1 - p)) + 1e-9) << "token " << token;
  }
}

TEST(Sample, FollowsItsFilters) {
  expect_shares({}, kProbabilities);
  expect_shares({.seed = 9}, kProbabilities);
  expect_shares({.top_k = 3}, {0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85});
  expect_shares({.top_k = 99}, kProbabilities);
  expect_shares({.top_p = 0.69}, {0, 4.0 / 7, 0, 3.0 / 7, 0});           // 0.4 + 0.3 reach it
  expect_shares({.top_p = 0.71}, {0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85});  // they do not
  expect_shares({.top_p = 0.0}, {0, 1, 0, 0, 0});
  expect_shares({.min_p = 0.3}, {0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85});  // 0.12 or more
  expect_shares({.min_p = 1.0}, {0, 1, 0, 0, 0});
  expect_shares({.top_k = 3, .top_p = 0.8}, {0, 4.0 / 7, 0, 3.0 / 7, 0});  // of the three kept: 0.47, 0.35, 0.18
  const double sum = 0.16 + 0.09 + 0.0225 + 0.01 + 0.0025;                 // temperature 1/2 squares
  expect_shares({.temperature = 0.5}, {0.01 / sum, 0.16 / sum, 0.0025 / sum, 0.09 / sum, 0.0225 / sum});
  expect_shares({.temperature = 0.5, .top_p = 0.85}, {0, 16.0 / 25, 0, 9.0 / 25, 0});  // temperature comes first: 0.56 + 0.32
}

TEST(Sample, ColdAndSingleDrawsAreTheArgmax) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    RandomStream random = stream(seed, "logits");
    std::vector<float> values(50);
    for (float& value : values) value = static_cast<float>(random.next_normal());
    const Tensor logits = at::tensor(values);
    const int64_t best = logits.argmax().item<int64_t>();
    EXPECT_EQ(sample(logits, {.temperature = 0, .seed = seed}, seed), best);
    EXPECT_EQ(sample(logits, {.temperature = 5, .top_k = 1, .seed = seed}, seed), best);
    EXPECT_EQ(sample(logits, {.temperature = 1e-6, .seed = seed}, seed), best) << "no overflow at low temperatures";
  }
  EXPECT_EQ(sample(at::tensor(std::vector<float>{-1e30f, 1e30f, 0}), {}, 0), 1) << "no overflow at large logits";
}

}  // namespace
}  // namespace entrain::model
