#include "entrain/model/speculative.h"

#include <boost/math/distributions/chi_squared.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "entrain/base/error.h"
#include "tiny_model.h"

namespace entrain::model {
namespace {

constexpr int64_t kTiny = 12;  // vocabulary of the enumerated models

/// One block of width 8; init_std makes the distributions sharp enough to differ.
Config enumerable_config() {
  Config config;
  config.width = 8;
  config.layers = 1;
  config.heads = 2;
  config.mlp_width = 16;
  config.context = 16;
  config.vocab_size = kTiny;
  config.init_std = 0.6;
  config.resolve();
  return config;
}

/// The probability of every continuation of `depth` tokens, in the order of their digits to base kTiny.
std::vector<double> exact_continuations(const Transformer& model, const std::vector<int32_t>& prompt, const Sampling& sampling, int depth) {
  std::vector<double> all;
  const std::function<void(std::vector<int64_t>, double, int)> extend = [&](const std::vector<int64_t>& ids, double probability, int left) {
    if (left == 0) {
      all.push_back(probability);
      return;
    }
    std::vector<double> next(kTiny, 0.0);  // of what cannot come, any continuation is as good
    if (probability > 0) next = *distribution(model.logits(model.hidden(at::tensor(ids).unsqueeze(0)).select(1, static_cast<int64_t>(ids.size()) - 1)).squeeze(0), sampling);
    for (int64_t token = 0; token < kTiny; ++token) {
      std::vector<int64_t> longer = ids;
      longer.push_back(token);
      extend(longer, probability * next[static_cast<size_t>(token)], left - 1);
    }
  };
  extend({prompt.begin(), prompt.end()}, 1.0, depth);
  return all;
}

/// Pearson's test; cells expected fewer than five times are one cell. A count where the probability is 0 has p-value 0.
double chi_square_p(const std::vector<int64_t>& counts, const std::vector<double>& probabilities, int64_t n) {
  double statistic = 0, rare_expected = 0, rare_count = 0;
  int cells = 0;
  const auto add = [&](double count, double expected) {
    statistic += (count - expected) * (count - expected) / expected;
    ++cells;
  };
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * static_cast<double>(n), count = static_cast<double>(counts[i]);
    if (expected == 0 && count > 0) return 0;
    if (expected >= 5) {
      add(count, expected);
    } else {
      rare_expected += expected;
      rare_count += count;
    }
  }
  if (rare_expected >= 5) add(rare_count, rare_expected);
  return cells < 2 ? 1.0 : boost::math::cdf(boost::math::complement(boost::math::chi_squared(cells - 1), statistic));
}

/// Draws n_texts continuations of four tokens and compares the distribution of each of the four, and of the first two, three and four
/// together, with what the target's own probabilities say.
void expect_distribution_of_the_target(const Sampling& given, int64_t n_draft, int64_t n_texts) {
  constexpr int kDepth = 4;
  at::NoGradGuard no_grad;
  const Transformer draft(enumerable_config(), 5), target(enumerable_config(), 6);
  const std::vector<int32_t> prompt{3, 7};
  const std::vector<double> exact = exact_continuations(target, prompt, given, kDepth);
  std::vector<int64_t> counts(exact.size(), 0);
  int64_t n_proposed = 0, n_accepted = 0;
  for (int64_t i = 0; i < n_texts; ++i) {
    Sampling sampling = given;
    sampling.n_tokens = kDepth;
    sampling.seed = static_cast<uint64_t>(i);
    const SpeculativeResult result = speculate(draft, target, prompt, sampling, n_draft, {});
    ASSERT_EQ(result.tokens.size(), static_cast<size_t>(kDepth));
    size_t index = 0;
    for (const int32_t token : result.tokens) index = index * kTiny + static_cast<size_t>(token);
    ++counts[index];
    n_proposed += result.n_proposed;
    n_accepted += result.n_accepted;
  }
  EXPECT_GT(n_accepted, n_proposed / 20) << "both ways must be taken often";
  EXPECT_LT(n_accepted, n_proposed * 19 / 20);
  std::vector<double> p_values;
  const auto test = [&](const std::function<size_t(size_t)>& cell_of, size_t n_cells) {
    std::vector<int64_t> cell_counts(n_cells, 0);
    std::vector<double> cells(n_cells, 0.0);
    for (size_t i = 0; i < exact.size(); ++i) {
      cell_counts[cell_of(i)] += counts[i];
      cells[cell_of(i)] += exact[i];
    }
    p_values.push_back(chi_square_p(cell_counts, cells, n_texts));
  };
  for (const size_t after : {1728, 144, 12, 1}) test([&](size_t i) { return i / after % kTiny; }, kTiny);
  for (const size_t after : {144, 12, 1}) test([&](size_t i) { return i / after; }, exact.size() / after);
  for (size_t i = 0; i < p_values.size(); ++i) EXPECT_GT(p_values[i] * static_cast<double>(p_values.size()), 1e-3) << "test " << i << ", " << n_draft << " proposals";
}

// 100,000 tokens. The seeds are fixed, so this passes or fails for good; a right program would fail for one seed in a thousand.
TEST(Speculate, HasTheDistributionOfTheTarget) { expect_distribution_of_the_target({}, 3, 25000); }

TEST(Speculate, TheFiltersApplyToBothModels) {
  expect_distribution_of_the_target({.temperature = 0.8, .top_k = 5}, 2, 4000);
  expect_distribution_of_the_target({.temperature = 1.3, .top_p = 0.8}, 3, 4000);
  expect_distribution_of_the_target({.min_p = 0.2}, 1, 4000);
}

// The test above must be able to fail.
TEST(Speculate, TheTestTellsTheDraftFromTheTarget) {
  at::NoGradGuard no_grad;
  const Transformer draft(enumerable_config(), 5), target(enumerable_config(), 6);
  const std::vector<int32_t> prompt{3, 7};
  std::vector<int64_t> counts(kTiny, 0);
  for (uint64_t i = 0; i < 2000; ++i) ++counts[static_cast<size_t>(generate(draft, prompt, {.n_tokens = 1, .seed = i}, {}).front())];
  EXPECT_LT(chi_square_p(counts, exact_continuations(target, prompt, {}, 1), 2000), 1e-6);
  EXPECT_GT(chi_square_p(counts, exact_continuations(draft, prompt, {}, 1), 2000), 1e-3) << "generate() itself";
}

Config with_memory(Config config) {
  config.memory.rows = 50;
  config.resolve();
  return config;
}

/// Rows start at zero, where they would say nothing.
Transformer speaking(const Config& config, uint64_t seed) {
  Transformer model(config, seed);
  at::NoGradGuard no_grad;
  for (const RowTable& table : model.parameters().tables()) table.value.detach().normal_(0, 0.5, at::make_generator<at::CPUGeneratorImpl>(seed));
  return model;
}

// Weights as in Generate.TheCacheChangesNoToken: the two likeliest tokens are further apart than rounding.
TEST(Speculate, GreedyTokensAreThoseOfGenerate) {
  std::vector<Config> configs;
  for (const std::string& shape : kShapes) configs.push_back(tiny_config(shape));
  configs.push_back(with_memory(tiny_config("llama")));
  for (Config config : configs) {
    config.context = 256;
    const Transformer target = speaking(config, 3), draft = speaking(config, 4);
    const std::vector<int32_t> prompt{5, 17, 3};
    const Sampling sampling{.n_tokens = 100, .temperature = 0};
    const std::vector<int32_t> expected = generate(target, prompt, sampling, {});
    for (const int64_t n_draft : {1, 4, 200}) {
      const SpeculativeResult result = speculate(draft, target, prompt, sampling, n_draft, {});
      EXPECT_EQ(result.tokens, expected) << config.family << ", " << n_draft;
      // Its own draft is always right: one pass gives n_draft + 1 tokens.
      const SpeculativeResult own = speculate(target, target, prompt, sampling, n_draft, {});
      EXPECT_EQ(own.tokens, expected) << config.family << ", " << n_draft;
      EXPECT_EQ(own.n_accepted, own.n_proposed);
      EXPECT_EQ(own.n_target_passes, (100 + n_draft) / (n_draft + 1));
      EXPECT_EQ(own.n_accepted + own.n_target_passes, 100);
    }
  }
}

TEST(Speculate, EndsAtEosAndAtTheNumberOfTokens) {
  const Transformer draft(tiny_config("llama"), 4), target(tiny_config("llama"), 3);
  const std::vector<int32_t> prompt{5, 17, 3};
  for (const Transformer* proposer : {&draft, &target}) {
    for (const int64_t n_tokens : {0, 1, 2, 5, 30}) {
      const SpeculativeResult result = speculate(*proposer, target, prompt, {.n_tokens = n_tokens, .seed = 4}, 4, {});
      EXPECT_EQ(result.tokens.size(), static_cast<size_t>(n_tokens));
      EXPECT_LE(result.n_proposed, std::max<int64_t>(n_tokens - 1, 0) * (proposer == &target ? 1 : 4));
      EXPECT_GE(result.n_target_passes * 5, n_tokens);
    }
    const auto all = generate(target, prompt, {.n_tokens = 30, .temperature = 0}, {});
    for (const size_t at : {0, 3, 11}) {
      const std::vector<int32_t> eos{all[20], all[at]};
      std::vector<int32_t> seen;
      const auto expected = generate(target, prompt, {.n_tokens = 30, .temperature = 0}, eos);
      const SpeculativeResult result = speculate(*proposer, target, prompt, {.n_tokens = 30, .temperature = 0}, 4, eos, [&](int32_t token) { seen.push_back(token); });
      EXPECT_EQ(result.tokens, expected);
      EXPECT_EQ(seen, expected);
    }
  }
  const std::vector<int32_t> from_eos = generate(target, std::vector<int32_t>{7}, {.n_tokens = 5, .temperature = 0}, {7});
  EXPECT_EQ(speculate(draft, target, {}, {.n_tokens = 5, .temperature = 0}, 4, {7}).tokens, from_eos);
  EXPECT_THROW(speculate(draft, target, {}, {.n_tokens = 5}, 4, {}), Error);
}

TEST(Speculate, SeedsRepeat) {
  const Transformer draft(tiny_config("qwen3"), 4), target(tiny_config("qwen3"), 3);
  const std::vector<int32_t> prompt{1};
  const auto tokens = [&](uint64_t seed) { return speculate(draft, target, prompt, {.n_tokens = 40, .seed = seed}, 3, {}).tokens; };
  EXPECT_EQ(tokens(1), tokens(1));
  EXPECT_NE(tokens(1), tokens(2));
}

/// The weight of that name, whatever holds it.
Tensor weight_of(const Transformer& model, const std::string& name) {
  for (const Weight& weight : model.parameters().weights()) {
    if (weight.name == name) return weight.value;
  }
  ADD_FAILURE() << name;
  return {};
}

TEST(Speculate, ABrokenDraftLeavesTheTargetAlone) {
  at::NoGradGuard no_grad;
  const Transformer target(tiny_config("grouped"), 3);
  const std::vector<int32_t> prompt{5, 17, 3};
  const Sampling sampling{.n_tokens = 30, .temperature = 0};
  const std::vector<int32_t> expected = generate(target, prompt, sampling, {});
  const Transformer broken(tiny_config("grouped"), 4);
  weight_of(broken, "model.norm.weight").fill_(std::nanf(""));
  const SpeculativeResult result = speculate(broken, target, prompt, sampling, 4, {});
  EXPECT_EQ(result.tokens, expected);
  EXPECT_TRUE(result.draft_failed);
  EXPECT_EQ(result.n_proposed, 0);
  EXPECT_EQ(result.n_target_passes, 30);
  // One that breaks on the way, at a token it reads.
  const Transformer breaking(tiny_config("grouped"), 3);
  weight_of(breaking, "model.embed_tokens.weight").select(0, expected[7]).fill_(INFINITY);
  const SpeculativeResult later = speculate(breaking, target, prompt, sampling, 4, {});
  EXPECT_EQ(later.tokens, expected);
  EXPECT_TRUE(later.draft_failed);
  EXPECT_GT(later.n_accepted, 0);
  EXPECT_FALSE(speculate(target, target, prompt, sampling, 4, {}).draft_failed);
}

ErrorKind kind_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::kIo;
}

TEST(Speculate, RefusesWhatCannotWork) {
  at::NoGradGuard no_grad;
  const std::vector<int32_t> prompt{5, 17, 3};
  const Transformer plain(tiny_config("llama"), 3), broken(tiny_config("llama"), 3), tiny(enumerable_config(), 3);
  weight_of(broken, "model.norm.weight").fill_(std::nanf(""));
  Config mixing_config = tiny_config("llama");
  mixing_config.mixing.blocks = {1};
  mixing_config.mixing.width = 8;
  const Transformer mixing(mixing_config, 3);
  EXPECT_EQ(kind_of([&] { speculate(plain, broken, prompt, {}, 4, {}); }), ErrorKind::kNumeric);
  EXPECT_EQ(kind_of([&] { speculate(tiny, plain, prompt, {}, 4, {}); }), ErrorKind::kData);
  EXPECT_EQ(kind_of([&] { speculate(mixing, plain, prompt, {}, 4, {}); }), ErrorKind::kUsage);
  EXPECT_EQ(kind_of([&] { speculate(plain, mixing, prompt, {}, 4, {}); }), ErrorKind::kUsage);
}

// 16 positions: the target must not be asked for more than generate() asks for, and a draft that has fewer falls silent.
TEST(Speculate, Gpt2StaysInsideItsPositions) {
  const std::vector<int32_t> prompt{5, 17, 3};
  const Transformer target(tiny_config("gpt2"), 3), draft(tiny_config("gpt2"), 4);
  const Sampling sampling{.n_tokens = 14, .temperature = 0};  // 3 + 14 - 1 = 16
  EXPECT_EQ(speculate(draft, target, prompt, sampling, 5, {}).tokens, generate(target, prompt, sampling, {}));
  Config shorter = tiny_config("gpt2");
  shorter.context = 6;
  const SpeculativeResult result = speculate(Transformer(shorter, 4), target, prompt, sampling, 5, {});
  EXPECT_EQ(result.tokens, generate(target, prompt, sampling, {}));
  EXPECT_FALSE(result.draft_failed);
  EXPECT_GT(result.n_proposed, 0);
  EXPECT_EQ(kind_of([&] { speculate(draft, target, prompt, {.n_tokens = 15}, 5, {}); }), ErrorKind::kUsage);
}

TEST(Truncate, LeavesTheCacheOfTheShorterText) {
  at::NoGradGuard no_grad;
  for (const bool memory : {false, true}) {
    const Transformer model = speaking(memory ? with_memory(tiny_config("llama")) : tiny_config("llama"), 3);
    const std::vector<int64_t> ids{5, 17, 3, 8, 8, 2, 40, 9};
    const auto read = [&](KvCache& cache, size_t begin, size_t end) {
      Forward forward;
      forward.cache = &cache;
      return model.hidden(at::tensor(at::ArrayRef<int64_t>(ids.data() + begin, end - begin)).unsqueeze(0), forward);
    };
    for (const size_t length : {1, 2, 5, 6}) {
      KvCache longer, shorter;
      read(longer, 0, 6);
      read(shorter, 0, length);
      truncate(longer, static_cast<int64_t>(length), ids);
      EXPECT_EQ(longer.length, shorter.length);
      EXPECT_EQ(longer.recent_ids.defined(), memory);
      if (memory) {
        EXPECT_TRUE(at::equal(longer.recent_ids, shorter.recent_ids)) << length;
      }
      EXPECT_TRUE(at::allclose(read(longer, length, 8), read(shorter, length, 8), 1e-5, 1e-5)) << length << ": float32 sums in another order";
    }
  }
}

}  // namespace
}  // namespace entrain::model
