#include "entrain/modalities/training.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "../model/tiny_model.h"
#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "entrain/modalities/experiment.h"
#include "entrain/modalities/summary.h"
#include "entrain/text/bpe_trainer.h"
#include "entrain/text/tokenizer.h"

namespace entrain::modalities {
namespace {

Config tiny_config() {
  Config config;
  config.width = 16;
  config.layers = 1;
  config.heads = 2;
  config.d = 12;
  return config;
}

/// Two modalities of the same random sequences: ids, and frames that tell each id by a pattern of its own.
std::vector<Modality> made_up(int64_t n_items) {
  Modality ids{"bytes", 20, 0}, frames{"glyphs", 0, 6};
  RandomStream random = stream(1, "made up");
  for (int64_t i = 0; i < n_items; ++i) {
    const int64_t length = 5 + static_cast<int64_t>(random.next_below(8));
    auto& sequence = ids.ids.emplace_back();
    auto& picture = frames.frames.emplace_back();
    for (int64_t t = 0; t < length; ++t) {
      sequence.push_back(static_cast<int32_t>(random.next_below(20)));
      for (int64_t f = 0; f < 6; ++f) picture.push_back(static_cast<uint8_t>(stream(2, "pattern", static_cast<uint64_t>(sequence.back()), static_cast<uint64_t>(f)).next_below(256)));
    }
  }
  frames.mean = 128;
  frames.deviation = 74;
  return {std::move(ids), std::move(frames)};
}

// Padding does not reach the embedding: a sequence alone and beside a longer one has the same, up to the order of sums in matrix products of another size.
TEST(Encoder, PaddingDoesNotInfluenceTheEmbedding) {
  const std::vector<Modality> modalities = made_up(6);
  const at::NoGradGuard no_grad;
  for (const Modality& modality : modalities) {
    const Encoder encoder(tiny_config(), modality, 1);
    const std::vector<int64_t> all{0, 1, 2, 3, 4, 5};
    const Tensor together = encoder.encode(pad(modality, whole(modality, all)));
    ASSERT_EQ(together.sizes(), (std::vector<int64_t>{6, 12}));
    EXPECT_LT((together.norm(2, {1}) - 1).abs().max().item<double>(), 1e-6);
    for (const int64_t item : all) {
      const Tensor alone = encoder.encode(pad(modality, whole(modality, std::vector<int64_t>{item})));
      EXPECT_LT((alone[0] - together[item]).abs().max().item<double>(), 2e-6) << modality.name << " item " << item << "; float32 rounds 6e-8 a sum";
    }
    // Whatever stands in the padding: nothing moves, to the bit.
    Padded batch = pad(modality, whole(modality, all));
    const Tensor padding = batch.weights == 0;
    ASSERT_TRUE(padding.any().item<bool>());
    const Tensor other = modality.frame_width > 0 ? batch.values.masked_fill(padding.unsqueeze(2), 9.0) : batch.values.masked_fill(padding, 7);
    EXPECT_TRUE(at::equal(together, encoder.encode({other, batch.weights}))) << modality.name;
  }
}

TEST(Encoder, DependsOnItsSeedAndModalityAlone) {
  const std::vector<Modality> modalities = made_up(2);
  const at::NoGradGuard no_grad;
  const auto embedded = [&](const Modality& modality, uint64_t seed) { return embed(Encoder(tiny_config(), modality, seed), modality, std::vector<int64_t>{0, 1}); };
  EXPECT_TRUE(at::equal(embedded(modalities[0], 1), embedded(modalities[0], 1)));
  EXPECT_FALSE(at::equal(embedded(modalities[0], 1), embedded(modalities[0], 2)));
  Modality renamed = modalities[0];
  renamed.name = "bpe";
  EXPECT_FALSE(at::equal(embedded(modalities[0], 1), embedded(renamed, 1))) << "two modalities do not start from equal weights";
}

// By hand: C = 16, one layer, feed-forward width from the configuration.
TEST(Encoder, CountsItsMatrixProducts) {
  const std::vector<Modality> modalities = made_up(1);
  const Encoder ids(tiny_config(), modalities[0], 1), frames(tiny_config(), modalities[1], 1);
  model::Config shape;
  shape.width = 16;
  shape.layers = 1;
  shape.heads = 2;
  shape.vocab_size = 1;
  shape.resolve();
  const double block = 4.0 * 16 * 16 + 3.0 * 16 * static_cast<double>(shape.mlp_width), attention = 12.0 * 16 * 7;
  EXPECT_DOUBLE_EQ(ids.training_flops(3, 7), 3 * (7 * (6 * block + attention) + 6.0 * 12 * 16));
  EXPECT_DOUBLE_EQ(frames.training_flops(3, 7), 3 * (7 * (6 * block + attention + 6.0 * 16 * 6) + 6.0 * 12 * 16));
}

TEST(Views, AreStretchesOfTheSequence) {
  const std::vector<Modality> modalities = made_up(50);
  std::vector<int64_t> items(50);
  for (int64_t i = 0; i < 50; ++i) items[static_cast<size_t>(i)] = i;
  std::set<double> shares;
  for (const Span& span : cropped(modalities[0], items, 0.7, stream(1, "crop"))) {
    const int64_t length = modalities[0].length(span.item);
    EXPECT_GE(static_cast<double>(span.length), 0.7 * static_cast<double>(length));
    EXPECT_GE(span.begin, 0);
    EXPECT_LE(span.begin + span.length, length);
    shares.insert(static_cast<double>(span.length) / static_cast<double>(length));
  }
  EXPECT_GT(shares.size(), 5u);
  for (const Span& span : cropped(modalities[0], items, 1.0, stream(1, "crop"))) EXPECT_EQ(span.length, modalities[0].length(span.item));
}

TEST(Pairs, SmallerSharesLieWithinLargerOnes) {
  const std::vector<int64_t> few = paired_items(3, 1000, 10), more = paired_items(3, 1000, 100), all = paired_items(3, 1000, 1000);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), more.begin()));
  EXPECT_TRUE(std::equal(more.begin(), more.end(), all.begin()));
  EXPECT_EQ(std::set<int64_t>(all.begin(), all.end()).size(), 1000u);
  EXPECT_NE(paired_items(4, 1000, 10), few);
  Config config;
  config.items = 1000;
  EXPECT_EQ(config.n_paired(0.01), 10);
  EXPECT_EQ(config.n_paired(1), 1000);
  EXPECT_EQ(config.n_paired(1e-6), 2) << "one pair has nothing to be told apart from";
}

TEST(Batches, VisitEveryItemOnceAnEpoch) {
  std::vector<int> visits(10);
  for (int64_t step = 0; step < 3; ++step) {
    const std::vector<int64_t> places = batch_places(1, "within", step, 10, 3);
    EXPECT_EQ(places.size(), 3u);
    for (const int64_t place : places) ++visits[static_cast<size_t>(place)];
  }
  EXPECT_EQ(*std::max_element(visits.begin(), visits.end()), 1);
  EXPECT_NE(batch_places(1, "within", 0, 10, 3), batch_places(1, "within", 3, 10, 3)) << "another epoch, another order";
  EXPECT_EQ(batch_places(1, "within", 5, 4, 64).size(), 4u) << "no item twice in a batch";
}

// -- A small experiment ------------------------------------------------------------------------------------------------

/// Short sentences of made-up words.
std::string pseudo_text(int n) {
  const std::vector<std::string> syllables{"ba", "do", "ki", "lu", "me", "no", "pa", "ri", "so", "tu", "ve", "za"};
  RandomStream random = stream(7, "words");
  std::string text;
  for (int i = 0; i < n; ++i) {
    for (int word = 0; word < 4; ++word) {
      for (int part = 0; part < 2; ++part) text += syllables[random.next_below(syllables.size())];
      text += word < 3 ? " " : ". ";
    }
  }
  return text;
}

class Experiment : public ::testing::Test {
 protected:
  Experiment() {
    text::write_plain(folder_ / "text/a.txt", pseudo_text(700));
    text::BpeTrainer trainer({.vocab_size = 300});
    const std::string text = pseudo_text(700);
    trainer.add(std::vector<std::string_view>{text});
    trainer.train().save(folder_ / "tokenizer.json");
    config_.text = (folder_ / "text").string();
    config_.tokenizer = (folder_ / "tokenizer.json").string();
    config_.items = 500;
    config_.held_out = 100;
    config_.min_characters = 10;
    config_.shares = {1.0};
    config_.seeds = {1};
    config_.steps = 120;
    config_.batch = 32;
    config_.width = 32;
    config_.layers = 1;
    config_.d = 32;
    config_.lr = 5e-3;
    config_.threads = 1;
  }
  /// Lists the runs that are trained.
  static Observer listing(std::vector<std::string>& made) {
    return {.on_modality = {}, .on_run = [&made](const modalities::Run& run, size_t, size_t) { made.push_back(run.name()); }, .on_result = {}};
  }
  text::TemporaryFolder folder_;
  Config config_;
};

// Every arm finds the counterpart of most held-out sentences among a hundred; guessing finds one in ten at 10.
TEST_F(Experiment, LearnsBytesAndTokensFromKnownPairs) {
  std::vector<std::string> made;
  const auto results = run_experiment(config_, folder_ / "out", listing(made));
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(made, (std::vector<std::string>{"bytes+bpe-hierarchical-1-seed1", "bytes+bpe-joint-1-seed1", "bytes+bpe-flat-1-seed1"}));
  for (const Result& result : results) {
    const PairScore& score = result.outcome.scores.at(0);
    EXPECT_GT(score.recall(2), 0.5) << result.run.arm << ": five times chance";
    EXPECT_GE(score.recall(2), score.recall(1));
    EXPECT_GE(score.recall(1), score.recall(0));
    EXPECT_GT(score.gap, 0);
    EXPECT_EQ(static_cast<int64_t>(result.outcome.curve.size()), result.outcome.n_steps / (result.outcome.n_steps / 20)) << "twenty points, and those of the rest";
  }
  const Outcome &hierarchical = results[0].outcome, &joint = results[1].outcome, &flat = results[2].outcome;
  EXPECT_EQ(hierarchical.curve.size(), 20u);
  EXPECT_EQ(hierarchical.curve.front().across, 0) << "within only at first";
  EXPECT_GT(hierarchical.curve.back().across, 0);
  EXPECT_GT(hierarchical.curve.back().within, 0);
  EXPECT_EQ(flat.curve.back().within, 0);
  EXPECT_GT(flat.curve.front().across, 0);
  EXPECT_GT(joint.curve.front().across, 0);
  EXPECT_GT(joint.curve.front().within, 0);
  EXPECT_EQ(hierarchical.n_steps, config_.steps);
  EXPECT_GT(flat.n_steps, 2 * hierarchical.n_steps) << "a step across alone is cheaper by two views of each item";
  EXPECT_LT(joint.n_steps, hierarchical.n_steps) << "no step of it is within only";
  for (const Outcome* other : {&joint, &flat}) {  // the last step reaches the FLOPs
    EXPECT_GE(other->flops, hierarchical.flops);
    EXPECT_LT(other->flops - hierarchical.flops, 2 * other->flops / static_cast<double>(other->n_steps));
  }

  // A second call trains nothing and reads the same results.
  made.clear();
  const auto again = run_experiment(config_, folder_ / "out", listing(made));
  EXPECT_TRUE(made.empty());
  EXPECT_EQ(summarise(again).to_json(), summarise(results).to_json());

  const Summary summary = summarise(results);
  ASSERT_EQ(summary.arms.size(), 3u);
  ASSERT_EQ(summary.differences.size(), 3u);
  for (const DifferenceRow& row : summary.differences) {
    const auto recall = [&](const std::string& arm) { return results[arm == "hierarchical" ? 0u : arm == "joint" ? 1u : 2u].outcome.scores[0].recall(2); };
    EXPECT_DOUBLE_EQ(row.recall[2].mean.estimate, recall(row.arm) - recall(row.reference)) << row.arm << " - " << row.reference;
  }
  EXPECT_NE(summary.to_markdown().find("(one seed)"), std::string::npos) << "one seed has no interval";

  config_.lr = 1e-3;
  EXPECT_THROW(run_experiment(config_, folder_ / "out", {}), Error) << "other settings";
}

TEST_F(Experiment, StepsMayBeEqualInstead) {
  config_.steps = 8;
  config_.match = "steps";
  const auto results = run_experiment(config_, folder_ / "out", {});
  for (const Result& result : results) EXPECT_EQ(result.outcome.n_steps, 8) << result.run.arm;
  EXPECT_GT(results[0].outcome.flops, 2 * results[2].outcome.flops) << "hierarchical against flat";
  EXPECT_GT(results[1].outcome.flops, results[0].outcome.flops) << "joint against hierarchical";
}

// Without steps that are within only, hierarchical is joint: the same steps from the count of FLOPs, and the same numbers.
TEST_F(Experiment, HierarchicalWithoutItsFirstPartIsJoint) {
  config_.steps = 6;
  config_.within_share = 0;
  config_.arms = {"hierarchical", "joint"};
  const auto results = run_experiment(config_, folder_ / "out", {});
  const Outcome &hierarchical = results[0].outcome, &joint = results[1].outcome;
  EXPECT_EQ(joint.n_steps, 6);
  EXPECT_EQ(joint.flops, hierarchical.flops);
  EXPECT_EQ(joint.curve.back().across, hierarchical.curve.back().across);
  EXPECT_EQ(joint.scores[0].gap, hierarchical.scores[0].gap);
}

TEST_F(Experiment, RepeatsBitForBit) {
  config_.steps = 10;
  config_.seeds = {2};
  config_.names = {"bytes", "bpe", "glyphs"};
  const auto a = run_experiment(config_, folder_ / "a", {}), b = run_experiment(config_, folder_ / "b", {});
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].outcome.scores.size(), 3u) << "three pairs of three modalities";
    for (size_t p = 0; p < 3; ++p) EXPECT_EQ(a[i].outcome.scores[p].gap, b[i].outcome.scores[p].gap);
    for (size_t p = 0; p < a[i].outcome.curve.size(); ++p) EXPECT_EQ(a[i].outcome.curve[p].within + a[i].outcome.curve[p].across, b[i].outcome.curve[p].within + b[i].outcome.curve[p].across);
  }
  EXPECT_TRUE(fs::exists(folder_ / "a/frames/glyphs.frames"));
}

TEST_F(Experiment, ReadsFramesBackAndMakesDamagedOnesAgain) {
  const Items items = draw_items(config_);
  const Modality first = make_modality("glyphs", items, config_, folder_ / "frames");
  const fs::path path = folder_ / "frames/glyphs.frames";
  const std::string bytes = read_file(path);
  const Modality second = make_modality("glyphs", items, config_, folder_ / "frames");
  EXPECT_EQ(first.frames, second.frames);
  EXPECT_EQ(first.mean, second.mean);
  for (const size_t at : {size_t{0}, size_t{9}, size_t{17}, size_t{25}, size_t{40}, bytes.size() - 1}) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    text::write_plain(path, damaged);
    EXPECT_EQ(make_modality("glyphs", items, config_, folder_ / "frames").frames, first.frames) << "byte " << at;
    EXPECT_EQ(read_file(path), bytes) << "byte " << at;
  }
  text::write_plain(path, bytes.substr(0, bytes.size() / 2));
  EXPECT_EQ(make_modality("glyphs", items, config_, folder_ / "frames").frames, first.frames);
  config_.glyph_columns = 4;
  EXPECT_NE(make_modality("glyphs", items, config_, folder_ / "frames").frames.at(0).size(), 0u);
  EXPECT_NE(read_file(path), bytes) << "other frames, another key";
}

TEST(ModalitiesConfig, ListsAllProblemsAtOnce) {
  const auto message = [](const std::string& toml) {
    try {
      Config::from(config::Document::parse(toml, "test"));
      return std::string();
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  const std::string all = message("[modalities]\npairs = [\"bytes+bqe\", \"speech\"]\nshares = [0.0, 2.0]\narms = [\"tall\"]\nseeds = [1.5]\nbatch = 64\nitems = 32\nwidth = 30");
  for (const char* word : {"did you mean bpe?", "\"speech\" needs two", "modalities.shares", "modalities.arms", "modalities.seeds", "modalities.batch", "modalities.width", "modalities.text"}) {
    EXPECT_NE(all.find(word), std::string::npos) << word << " is not in\n" << all;
  }
  EXPECT_NE(message("[modalities]\nstep = 3\nlr = -1.0").find("did you mean modalities.steps?"), std::string::npos);
  EXPECT_EQ(message("[modalities]\ntext = \"x\"\nnames = [\"bytes\", \"glyphs\"]"), "");
  EXPECT_NE(message("[modalities]\ntext = \"x\"").find("modalities.tokenizer"), std::string::npos);
}

}  // namespace
}  // namespace entrain::modalities
