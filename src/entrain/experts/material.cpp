#include "entrain/experts/material.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/experts/sheet.h"
#include "entrain/reasoning/family.h"
#include "entrain/reasoning/keyvalue.h"
#include "entrain/reasoning/sampling.h"
#include "entrain/reasoning/tools.h"
#include "entrain/text/bpe_trainer.h"
#include "entrain/text/token_file.h"

namespace entrain::experts {
namespace {

constexpr int64_t kTokenizerItems = 400;  // of each family
constexpr int64_t kHeldOutItems = 500;    // that a run's held-out loss is computed on

std::vector<reasoning::Item> skill_items(const std::string& skill, int64_t n, RandomStream& random) {
  std::vector<std::string> keys(reasoning::keys(reasoning::KeySet::kJoint).begin(), reasoning::keys(reasoning::KeySet::kJoint).end());
  const auto held_out = reasoning::keys(reasoning::KeySet::kHeldOut);
  keys.insert(keys.end(), held_out.begin(), held_out.end());  // the dictionary is known whole
  std::vector<reasoning::Item> items;
  for (int64_t i = 0; i < n; ++i) {
    items.push_back(skill == kKeysSkill ? reasoning::key_question(keys[random.next_below(keys.size())])
                                        : reasoning::sum_question(static_cast<int>(random.next_below(10)), static_cast<int>(random.next_below(10))));
  }
  return items;
}

std::string document(const reasoning::Item& item, const ExpertConfig& expert, RandomStream& random) {
  const std::string& prompt = random.next_uniform() < expert.english ? item.english : item.symbolic;
  if (item.family == "tools") return reasoning::tool_transcript(item, prompt);
  const bool steps = random.next_uniform() < expert.scratchpad;
  return reasoning::transcript(item, prompt, steps ? reasoning::Style::kScratchpad : reasoning::Style::kDirect);
}

}  // namespace

std::vector<reasoning::Item> draw_items(const PoolConfig& config, const std::vector<std::string>& families, int64_t n, reasoning::Split split, uint64_t seed) {
  std::vector<reasoning::Item> items;
  for (size_t f = 0; f < families.size(); ++f) {
    const int64_t share = n * static_cast<int64_t>(f + 1) / std::ssize(families) - n * static_cast<int64_t>(f) / std::ssize(families);
    if (families[f] == kKeysSkill || families[f] == kSumsSkill) {
      RandomStream random = stream(seed, "experts/" + families[f]);
      for (reasoning::Item& item : skill_items(families[f], share, random)) items.push_back(std::move(item));
      continue;
    }
    reasoning::Request request;
    request.family = families[f];
    request.max_depth = deepest(families[f], config.depth);
    request.n = share;
    request.seed = seed;
    request.split = split;
    // Sums over keys that no training question has joined: only the dictionary itself knows their values.
    if (families[f] == "keyvalue" && split == reasoning::Split::kTest) request.names = reasoning::Names::kUnseen;
    for (reasoning::Item& item : reasoning::sample(request)) items.push_back(std::move(item));
  }
  RandomStream random = stream(seed, "experts/order");
  std::vector<reasoning::Item> shuffled;
  for (const uint32_t i : permutation(random, static_cast<uint32_t>(items.size()))) shuffled.push_back(std::move(items[i]));
  return shuffled;
}

text::Tokenizer pool_tokenizer(const PoolRecipe& recipe, const fs::path& file) {
  if (fs::exists(file)) return text::Tokenizer::load(file);
  std::vector<std::string> families = recipe.pool.families;
  for (const ExpertConfig& expert : recipe.experts) families.insert(families.end(), expert.families.begin(), expert.families.end());
  std::sort(families.begin(), families.end());
  families.erase(std::unique(families.begin(), families.end()), families.end());
  std::vector<std::string> texts;
  for (const reasoning::Item& item : draw_items(recipe.pool, families, kTokenizerItems * std::ssize(families), reasoning::Split::kTrain, 0)) {
    for (const std::string* prompt : {&item.symbolic, &item.english}) {
      texts.push_back(reasoning::transcript(item, *prompt, reasoning::Style::kScratchpad));
      texts.push_back(reasoning::transcript(item, *prompt, reasoning::Style::kDirect));
      if (item.family == "tools") texts.push_back(reasoning::tool_transcript(item, *prompt));
    }
  }
  // Relay views hide facts behind a symbol that stands nowhere else, and every answer must be one token even where a family never gives it.
  std::string all_answers = "x";
  for (const std::string_view answer : reasoning::kAnswers) all_answers += " = " + std::string(answer);
  for (int i = 0; i < 100; ++i) texts.push_back(all_answers + " ; · → · ; ⊢ x");
  text::BpeTrainerOptions options;
  options.vocab_size = recipe.pool.vocab_size;
  options.n_threads = static_cast<int>(recipe.pool.threads);
  text::BpeTrainer trainer(options);
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  trainer.add(views);
  text::Tokenizer tokenizer = trainer.train();
  tokenizer.save(file);
  return tokenizer;
}

void write_material(const PoolRecipe& recipe, size_t e, int64_t run, const text::Tokenizer& tokenizer, const fs::path& folder) {
  if (fs::exists(folder / "data.json")) return;
  make_folder(folder);
  const ExpertConfig& expert = recipe.experts[e];
  const uint64_t seed = static_cast<uint64_t>(recipe.pool.seed + run - 1);
  const auto eos = tokenizer.eos_id();
  nlohmann::json about;
  for (const bool train : {true, false}) {
    const int64_t n = train ? recipe.pool.train_items : kHeldOutItems;
    const auto items = draw_items(recipe.pool, recipe.families_of(e), n, train ? reasoning::Split::kTrain : reasoning::Split::kTune, seed);
    RandomStream random = stream(seed, "experts/manner/" + expert.name);
    std::vector<std::string> documents;
    for (const reasoning::Item& item : items) documents.push_back(document(item, expert, random));
    const std::vector<std::string_view> views(documents.begin(), documents.end());
    const auto encoded = tokenizer.encode_batch(views, text::Specials::kAsText, static_cast<int>(recipe.pool.threads));
    const char* name = train ? "train.tokens" : "val.tokens";
    text::TokenFileWriter writer(folder / name, {tokenizer.fingerprint(), tokenizer.vocab_size(), eos ? *eos : -1});
    for (size_t d = 0; d < encoded.size(); ++d) {
      std::vector<int32_t> ids = encoded[d];
      if (eos) ids.push_back(*eos);
      writer.add_document(ids, documents[d].size());
    }
    writer.finish();
    about[train ? "train" : "validation"] = {{"documents", writer.n_documents()}, {"tokens", writer.n_tokens()}, {"bytes", writer.n_bytes()}};
  }
  tokenizer.save(folder / "tokenizer.json");
  about["expert"] = expert.name;
  about["seed"] = seed;
  write_file(folder / "data.json", about.dump(2) + "\n");
}

}  // namespace entrain::experts
