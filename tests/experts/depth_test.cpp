#include "entrain/experts/depth.h"

#include <gtest/gtest.h>

#include <cmath>

#include "entrain/experts/beliefs.h"
#include "entrain/experts/causal_depth.h"
#include "entrain/experts/counterfactual.h"
#include "tiny_pool.h"

namespace entrain::experts {
namespace {

TEST(JensenShannon, IsZeroForEqualAndLn2ForDisjointAnswers) {
  const Tensor a = at::tensor({1000.0, 0.0, 0.0}), b = at::tensor({0.0, 1000.0, 0.0});
  EXPECT_NEAR(jensen_shannon(a, b).item<double>(), std::log(2.0), 1e-12);
  EXPECT_EQ(jensen_shannon(a, a).item<double>(), 0.0);
  const Tensor c = random_tensor({5, 13}, 1), d = random_tensor({5, 13}, 2);
  EXPECT_EQ(jensen_shannon(c, c).abs().max().item<double>(), 0.0);
  EXPECT_TRUE(at::allclose(jensen_shannon(c, d), jensen_shannon(d, c)));
}

/// Logits after 0 to 3 rounds of two experts on n questions whose answer is 0: expert 0 gets `right[r]` of them right.
Tensor planted_logits(const std::vector<double>& right, int64_t n) {
  Tensor logits = at::zeros({std::ssize(right), 2, n, 13});
  for (int64_t r = 0; r < logits.size(0); ++r) {
    for (int64_t k = 0; k < n; ++k) logits[r][0][k][static_cast<double>(k) < right[static_cast<size_t>(r)] * static_cast<double>(n) ? 0 : 1] = 5;
  }
  logits.select(1, 1).select(2, 7).fill_(1);  // expert 1 never changes
  return logits;
}

TEST(Depth, FindsTheRoundsThatChangeAndThoseThatHelp) {
  constexpr int64_t kN = 100;
  std::vector<Example> examples;
  for (int64_t k = 0; k < kN; ++k) examples.push_back(random_example(1, 4, 0, 0));
  const Tensor still = planted_logits({0.3, 0.3, 0.3, 0.3}, kN);
  const Tensor own = planted_logits({0.3, 0.5, 0.8, 0.8}, kN);
  const Observed observed{3, own, still, still, still, still};
  const OutputDepth output = output_depth(observed, examples);
  EXPECT_EQ(output.by_expert, (std::vector<int64_t>{2, 0}));
  EXPECT_EQ(output.judged, 2) << "the asker is expert 0";
  ASSERT_EQ(output.rounds.size(), 9u);
  EXPECT_EQ(output.rounds[2].change, 0.0);
  EXPECT_EQ(output.rounds[2].p_cut, 1.0);
  EXPECT_GT(output.rounds[1].change, output.rounds[1].cut);
  // A placebo that changes as much leaves nothing.
  const OutputDepth against = output_depth({3, own, own, still, still, still}, examples);
  EXPECT_EQ(against.judged, 0);
  EXPECT_EQ(against.judged_noise, 2);

  const UsefulDepth useful = useful_depth(own, examples, 0, 1);
  EXPECT_EQ(useful.depth, 2);
  EXPECT_EQ(useful.accuracy, (std::vector<double>{0.3, 0.5, 0.8, 0.8}));
  EXPECT_EQ(useful.rounds[0].gained, 20);
  EXPECT_EQ(useful.rounds[0].lost, 0);
  EXPECT_DOUBLE_EQ(useful.rounds[1].gain.estimate, 0.3);
  EXPECT_EQ(useful.rounds[2].p_holm, 1.0);
  EXPECT_EQ(useful_depth(own, examples, -1, 1).depth, 2) << "the asker";
  EXPECT_EQ(useful_depth(own, examples, 1, 1).depth, 0);
  EXPECT_EQ(useful_depth(planted_logits({0.8, 0.5, 0.3, 0.3}, kN), examples, 0, 1).depth, 0) << "a change for the worse is of no use";

  const ControlTable table = control_table(observed, examples);
  ASSERT_EQ(table.rows.size(), 20u);
  EXPECT_EQ(table.n, kN);
  EXPECT_EQ(table.rows[2].control, "own");
  EXPECT_EQ(table.rows[2].rounds, 2);
  EXPECT_DOUBLE_EQ(table.rows[2].judged, 0.8);
  EXPECT_DOUBLE_EQ(table.rows[2].by_expert[1], 0.0);
  EXPECT_DOUBLE_EQ(table.rows[6].judged, 0.3) << "none after 2";
}

TEST(Controls, ReplaceTheOthersAndNothingElse) {
  const at::NoGradGuard no_grad;
  Pool pool = tiny_pool();
  Entangled entangled(pool, tiny_observation("full"), 1);
  std::vector<Example> examples{random_example(1, 6), random_example(2, 8), random_example(3, 6)};
  const Observed before = observe(entangled, examples, 2, 4);
  EXPECT_TRUE(at::equal(before.own[0], before.own[2])) << "untrained: nothing is written back";
  EXPECT_FALSE(at::equal(before.untrained[0], before.untrained[2])) << "the random control does write";
  randomise(entangled.observation());
  const Observed after = observe(entangled, examples, 2, 4);
  EXPECT_FALSE(at::equal(after.own[0], after.own[1]));
  EXPECT_TRUE(at::isnan(after.shuffled.select(2, 1)).all().item<bool>()) << "no other has its length";
  const ControlTable table = control_table(after, examples);
  EXPECT_EQ(table.n, 2);
  EXPECT_EQ(table.left_out, 1);

  // Row 0 reads the states that the experts have of row 2.
  const std::vector<const Example*> first{&examples[0]}, other{&examples[2]};
  const States own = entangled.read(collate(first)), theirs = entangled.read(collate(other));
  const Tensor expected = entangled.observation().update(0, own[0], {own[0], theirs[1], theirs[2]}, all_edges(3));
  const Tensor logits = entangled.answer_logits(0, entangled.finish(0, expected, collate(first)[0]));
  EXPECT_TRUE(at::allclose(after.shuffled[1][0][0], logits[0], 1e-4, 1e-5));

  // With nothing to read, others' texts do not matter.
  Example view{{random_prompt(1, 6), random_prompt(2, 6), random_prompt(3, 6)}, 0}, changed = view;
  changed.prompts[1] = random_prompt(9, 6);
  const auto of_first = [&](const Example& example, Partners partners) { return logits_by_round(entangled, entangled.observation(), std::span(&example, 1), 2, partners, 1)[2][0]; };
  EXPECT_TRUE(at::equal(of_first(view, Partners::kNone), of_first(changed, Partners::kNone)));
  EXPECT_FALSE(at::equal(of_first(view, Partners::kOwn), of_first(changed, Partners::kOwn)));
}

TEST(Controls, MatchTheNormOfWhatWasTrained) {
  Pool pool = tiny_pool();
  Entangled entangled(pool, tiny_observation("full"), 1);
  {
    const at::NoGradGuard no_grad;
    for (const model::Weight& weight : entangled.observation().parameters().weights()) {
      if (weight.name.ends_with("o_proj.weight")) weight.value.copy_(random_tensor(weight.value.sizes(), 3, 0.5));
    }
  }
  const Observation random = random_observation(entangled, 1);
  const auto &trained = entangled.observation().parameters().weights(), &weights = random.parameters().weights();
  for (size_t k = 0; k < weights.size(); ++k) {
    EXPECT_GT(weights[k].value.norm().item<float>(), 0.0f) << weights[k].name;
    if (!weights[k].name.ends_with("o_proj.weight")) continue;
    EXPECT_NEAR(weights[k].value.norm().item<float>(), trained[k].value.norm().item<float>(), 1e-4);
    EXPECT_FALSE(at::allclose(weights[k].value, trained[k].value));
  }
}

std::vector<ExamplePair> random_pairs(int64_t n, uint64_t seed, bool equal) {
  std::vector<ExamplePair> pairs;
  for (int64_t k = 0; k < n; ++k) {
    const uint64_t at = seed + 2 * static_cast<uint64_t>(k);
    pairs.push_back({random_example(at, k % 2 == 0 ? 6 : 7, 0), random_example(equal ? at : at + 1, k % 2 == 0 ? 6 : 7, equal ? 0 : 1)});
  }
  return pairs;
}

// Effects along a path against the whole rounds they are made of: with two experts, an edge's source is all that a reader sees of others.
TEST(CausalDepth, FollowsOnePathAndFreezesTheRest) {
  const at::NoGradGuard no_grad;
  Pool pool = tiny_pool({"llama", "qwen3"});
  Entangled entangled(pool, tiny_observation("full"), 1);
  randomise(entangled.observation());
  const Observation& observation = entangled.observation();
  const std::vector<ExamplePair> pairs = random_pairs(1, 1, false);
  const Edges edges = all_edges(2);
  const std::vector<int64_t> path{0, 1, 0, 1};
  const std::vector<PathEffect> effects = path_effects(entangled, pairs, path, 3, edges);
  ASSERT_EQ(effects.size(), 3u);
  const std::vector<const Example*> clean_example{&pairs[0].clean}, other_example{&pairs[0].other};
  const std::vector<Prompts> prompts = collate(clean_example);
  const std::vector<States> clean = observation.rounds(entangled.read(prompts), 3, edges);
  const Tensor patched = entangled.read(collate(other_example))[0];
  const Tensor at_1 = observation.round({patched, clean[0][1]}, edges)[1];
  const Tensor at_2 = observation.round({clean[1][0], at_1}, edges)[0];
  const Tensor end_1 = observation.round({clean[2][0], observation.round({clean[1][0], at_1}, edges)[1]}, edges)[1];
  const Tensor end_2 = observation.round({at_2, clean[2][1]}, edges)[0];
  const Tensor end_3 = observation.round({at_2, clean[2][1]}, edges)[1];
  const auto shift = [&](int64_t i, const Tensor& state) {
    const auto logits = [&](const Tensor& x) { return entangled.answer_logits(i, entangled.finish(i, x, prompts[0]))[0].to(at::kDouble); };
    const Tensor change = logits(state) - logits(clean[3][static_cast<size_t>(i)]);
    return (change - change.mean()).square().mean().sqrt().item<double>();
  };
  const double expected[] = {shift(1, end_1), shift(0, end_2), shift(1, end_3)};
  for (size_t k = 0; k < 3; ++k) {
    EXPECT_GT(expected[k], 1e-5);
    EXPECT_NEAR(effects[k].shift.item<double>(), expected[k], 1e-6 + 1e-3 * expected[k]) << "length " << k + 1 << ": differences of float32 logits";
  }
}

// The patch crosses only edges that exist: 1 reads 0 but 0 does not read 1, so that nothing comes back.
TEST(CausalDepth, IsZeroBitForBitBeyondTheLastEdge) {
  Pool pool = tiny_pool({"llama", "qwen3"});
  for (const std::string& mode : kModes) {
    for (const char* positions : {"all", "answer"}) {
      Entangled entangled(pool, tiny_observation(mode, positions), 1);
      randomise(entangled.observation());
      const std::vector<ExamplePair> pairs = random_pairs(8, 1, false), same = random_pairs(8, 1, true);
      const std::vector<int64_t> path{0, 1, 0};
      Edges one_way = no_edges(2);
      one_way[1][0] = true;
      const auto largest = [&](const std::vector<ExamplePair>& of, const Edges& edges, size_t k) { return path_effects(entangled, of, path, 2, edges)[k].shift.max().item<double>(); };
      EXPECT_GT(largest(pairs, one_way, 0), 1e-5) << mode << positions;
      EXPECT_EQ(largest(pairs, one_way, 1), 0.0) << mode << positions;
      EXPECT_GT(largest(pairs, all_edges(2), 1), 1e-6) << mode << positions;
      EXPECT_EQ(largest(pairs, no_edges(2), 0), 0.0) << mode << positions;
      EXPECT_EQ(largest(same, all_edges(2), 0), 0.0) << mode << positions << ": patched with itself";
      // One round has no path of length 2.
      EXPECT_EQ(path_effects(entangled, pairs, path, 1, all_edges(2)).size(), 1u);
    }
  }
}

TEST(CausalDepth, CountsLengthsAboveTheNull) {
  Pool pool = tiny_pool();
  Entangled entangled(pool, tiny_observation("full"), 1);
  const std::vector<ExamplePair> pairs = random_pairs(12, 1, false), alike = random_pairs(12, 1000, false), same = random_pairs(12, 1, true);
  const CausalOptions options{.n_rounds = 2, .seed = 1, .n_resamples = 500};
  EXPECT_EQ(causal_depth(entangled, pairs, same, all_edges(3), options).depth, 0) << "untrained";
  randomise(entangled.observation());
  const CausalDepth found = causal_depth(entangled, pairs, same, all_edges(3), options);
  EXPECT_EQ(found.depth, 2);
  ASSERT_EQ(found.lengths.size(), 2u);
  EXPECT_EQ(found.lengths[0].n_paths, 6);
  EXPECT_EQ(found.lengths[1].null_effect, 0.0);
  EXPECT_LT(found.lengths[1].p, 0.01);
  EXPECT_EQ(causal_depth(entangled, pairs, same, no_edges(3), options).depth, 0);
  const CausalDepth against = causal_depth(entangled, pairs, alike, all_edges(3), options);
  for (const CausalLength& length : against.lengths) {
    EXPECT_GT(length.p, 0.01) << "pairs of one kind on both sides";
    EXPECT_GT(length.threshold, length.null_effect);
  }
  // With an asker, only paths that end at it count: from either other expert for length 1, from itself for length 2.
  std::vector<ExamplePair> asked = pairs, asked_same = same;
  for (auto* some : {&asked, &asked_same}) {
    for (ExamplePair& pair : *some) pair.clean.asker = pair.other.asker = 0;
  }
  const CausalDepth of_asker = causal_depth(entangled, asked, asked_same, all_edges(3), options);
  EXPECT_EQ(of_asker.lengths[0].n_paths, 2);
  EXPECT_EQ(of_asker.lengths[1].n_paths, 2);
  EXPECT_THROW(causal_depth(entangled, pairs, {}, all_edges(3), options), std::logic_error);
  const std::vector<ExamplePair> unequal{{random_example(1, 5), random_example(2, 6)}};
  EXPECT_THROW(causal_depth(entangled, unequal, same, all_edges(3), options), std::logic_error);
}

TEST(Counterfactual, RenamesLettersConsistentlyAndNothingElse) {
  RandomStream random = stream(1, "test");
  const std::string text = "A → B ; ab → C ; · → · ; x : ● ? A mod 7";
  const LetterMap map = draw_letter_map(text, random);
  ASSERT_EQ(map.size(), 3u) << "x is alone in its case";
  std::string letters;
  for (const auto& [from, to] : map) {
    EXPECT_NE(from, to);
    letters += to;
  }
  std::sort(letters.begin(), letters.end());
  EXPECT_EQ(letters, "ABC");
  const auto name = [&](char c) { return std::string(1, map.at(c)); };
  EXPECT_EQ(rename_letters(text, map), name('A') + " → " + name('B') + " ; ab → " + name('C') + " ; · → · ; x : ● ? " + name('A') + " mod 7");
  EXPECT_EQ(rename_letters(text, {}), text);
  EXPECT_EQ(rename_letters("", map), "");
  EXPECT_TRUE(draw_letter_map("7 + ab ?", random).empty());
}

TEST(Counterfactual, PairsMembersOfAGroupAndItemsWithThemselves) {
  std::vector<reasoning::Item> items(6);
  const char* texts[] = {"A → B ? A", "B → A ? A", "A → A B ? A", "C → D ? C", "E → F ? E", "7 ? 8"};
  const char* answers[] = {"●", "●", "⊥", "●", "⊥", "◑"};
  const uint64_t groups[] = {1, 1, 1, 2, 3, 3};
  for (size_t k = 0; k < items.size(); ++k) {
    items[k].family = "chains";
    items[k].symbolic = texts[k];
    items[k].answer = answers[k];
    items[k].group = groups[k];
    items[k].hash.low = k;
  }
  const MakeExample make = [](const reasoning::Item& item) {
    Example example;
    example.prompts = {{item.symbolic.begin(), item.symbolic.end()}};
    example.answer = reasoning::answer_index(item.answer);
    return example;
  };
  EXPECT_TRUE(counterfactual_pairs(items, make).empty()) << "equal answers, other lengths, or alone";
  items[2].symbolic = "B → B ? A";
  const std::vector<ExamplePair> pairs = counterfactual_pairs(items, make);
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_EQ(pairs[0].clean.prompts, make(items[0]).prompts);
  EXPECT_EQ(pairs[0].other.prompts, make(items[2]).prompts);
  items[4].family = "other";
  const std::vector<ExamplePair> equivalent = equivalent_pairs(items, make, 1);
  ASSERT_EQ(equivalent.size(), 5u) << "all but the one without letters";
  for (const ExamplePair& pair : equivalent) {
    EXPECT_NE(pair.clean.prompts, pair.other.prompts);
    EXPECT_EQ(pair.clean.prompts[0].size(), pair.other.prompts[0].size());
    EXPECT_EQ(pair.clean.answer, pair.other.answer);
  }
}

/// Latents a and b drive whether i and j are right; j sees a through a mist that i may know of. States are of 6 channels, those not named being noise.
BeliefSheet planted_beliefs(int64_t n, uint64_t seed, bool i_sees_others, bool i_sees_mist) {
  const Tensor z = random_tensor({n, 3}, seed), a = z.select(1, 0), b = z.select(1, 1), mist = z.select(1, 2);
  BeliefSheet sheet{random_tensor({n, 6}, seed + 1), random_tensor({n, 6}, seed + 2), {}, {}};
  const Tensor luck = random_tensor({n, 2}, seed + 3, 0.5);
  sheet.correct_i = (a + luck.select(1, 0) > 0).to(at::kDouble);
  sheet.correct_j = (b + luck.select(1, 1) > 0).to(at::kDouble);
  sheet.states_j.select(1, 0).copy_(a + mist);
  sheet.states_j.select(1, 1).copy_(b);
  sheet.states_i.select(1, 0).copy_(a);
  if (i_sees_others) sheet.states_i.select(1, 1).copy_(b);
  if (i_sees_mist) sheet.states_i.select(1, 2).copy_(mist);
  return sheet;
}

TEST(Beliefs, CountLevelsThatLowerOnesDoNotHold) {
  const auto order = [](bool others, bool mist) { return belief_order(planted_beliefs(800, 1, others, mist), planted_beliefs(800, 50, others, mist), 3); };
  BeliefSheet blind = planted_beliefs(800, 1, false, false), blind_test = planted_beliefs(800, 50, false, false);
  blind.states_i = random_tensor({800, 6}, 400);
  blind_test.states_i = random_tensor({800, 6}, 401);
  const BeliefOrder nothing = belief_order(blind, blind_test, 3);
  EXPECT_EQ(nothing.depth, 0);
  EXPECT_EQ(nothing.depth_beyond_self, 0);

  const BeliefOrder alone = order(false, false);
  EXPECT_FALSE(alone.levels[0].known) << "i knows nothing of b";
  const BeliefOrder seeing = order(true, false), knowing = order(true, true);
  EXPECT_TRUE(seeing.levels[0].known);
  EXPECT_TRUE(seeing.levels[0].known_beyond_self);
  EXPECT_GT(seeing.levels[0].r2, 0.3);
  // Knowing a tells something of what j thinks of i; beyond i's own view of itself only knowing the mist does.
  EXPECT_LT(seeing.levels[1].gain_self.estimate, 0.05);
  EXPECT_GT(knowing.levels[1].gain_self.low, 0.2);
  EXPECT_TRUE(knowing.levels[1].known_beyond_self);
  EXPECT_GE(knowing.depth_beyond_self, 2);
  for (const BeliefLevel& level : knowing.levels) {
    EXPECT_LE(level.gain.low, level.gain.estimate);
    EXPECT_NEAR(level.gain.estimate, level.r2 - level.r2_lower, 1e-9);
  }
  EXPECT_THROW(belief_order(planted_beliefs(5, 1, true, true), blind_test, 1), std::logic_error);
}

}  // namespace
}  // namespace entrain::experts
