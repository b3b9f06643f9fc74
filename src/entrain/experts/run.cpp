#include "entrain/experts/run.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>

#include "entrain/base/error.h"
#include "entrain/base/format.h"
#include "entrain/experts/material.h"
#include "entrain/experts/observation_judgement.h"
#include "entrain/model/safetensors.h"

namespace entrain::experts {
namespace {

uint64_t seed_of(const PoolRecipe& recipe, int64_t run) { return static_cast<uint64_t>(recipe.pool.seed + run - 1); }

fs::path expert_folder(const fs::path& folder, const std::string& name) { return folder / "experts" / name; }

/// Where the models of a run lie.
std::vector<ExpertSource> sources_of(const PoolRecipe& recipe, const fs::path& folder) {
  std::vector<ExpertSource> sources;
  for (const ExpertConfig& expert : recipe.experts) {
    sources.push_back({expert.name, expert.model.empty() ? expert_folder(folder, expert.name) : fs::path(expert.model), expert.style(), expert.observe_at});
  }
  return sources;
}

/// The recipe's shares of the experts that are there, summing to 1 again.
std::vector<double> shares_of(const PoolRecipe& recipe, const Pool& pool) {
  std::vector<double> shares;
  for (const Expert& expert : pool.experts) {
    const auto found = std::find_if(recipe.experts.begin(), recipe.experts.end(), [&](const ExpertConfig& config) { return config.name == expert.name; });
    shares.push_back(recipe.pool.shares[static_cast<size_t>(found - recipe.experts.begin())]);
  }
  if (shares.size() == recipe.experts.size()) return shares;
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share = sum > 0 ? share / sum : 1.0 / static_cast<double>(shares.size());
  return shares;
}

/// False where it was asked to stop.
bool train_expert(const PoolRecipe& recipe, size_t e, int64_t run, const text::Tokenizer& tokenizer, const fs::path& folder, const RunObserver& observer) {
  const fs::path data = folder / "data" / recipe.experts[e].name, out = expert_folder(folder, recipe.experts[e].name);
  write_material(recipe, e, run, tokenizer, data);
  train::Observer silent;
  train::Trainer trainer(recipe.expert_recipe(e, run, data), out, fs::exists(out / "config.toml") ? train::Start::kResume : train::Start::kFresh, observer.training ? *observer.training : silent);
  return trainer.run().finished;
}

void save_observation(const Entangled& entangled, const Pool& pool, bool tuned, const fs::path& file) {
  model::NamedTensors tensors;
  for (const model::Weight& weight : entangled.observation().parameters().weights()) tensors.emplace_back(weight.name, weight.value);
  if (tuned) {
    for (const Expert& expert : pool.experts) {
      for (const model::Weight& weight : expert.model.parameters().weights()) tensors.emplace_back(expert.name + "/" + weight.name, weight.value);
    }
  }
  model::write_safetensors(file, tensors);
}

void load_observation(Entangled& entangled, const fs::path& file) {
  std::map<std::string, Tensor> targets;
  for (const model::Weight& weight : entangled.observation().parameters().weights()) targets.emplace(weight.name, weight.value);
  size_t n_own = targets.size();
  for (const Expert& expert : entangled.pool().experts) {
    for (const model::Weight& weight : expert.model.parameters().weights()) targets.emplace(expert.name + "/" + weight.name, weight.value);
  }
  model::visit_safetensors(file, [&](const std::string& name, const Tensor& view) {
    const auto found = targets.find(name);
    if (found == targets.end() || found->second.sizes() != view.sizes()) throw Error(ErrorKind::kData, file.string() + " does not fit the pool: " + name, "remove the file and train the pool again");
    found->second.copy_(view);
    if (name.find('/') == std::string::npos) --n_own;
  });
  if (n_own != 0) throw Error(ErrorKind::kData, file.string() + " lacks weights of the observation", "remove the file and train the pool again");
}

}  // namespace

std::string run_name(int64_t run) { return format("run-%02lld", static_cast<long long>(run)); }

void claim_folder(const PoolRecipe& recipe, const fs::path& dir) {
  const fs::path file = dir / "pool.toml";
  const std::string& text = recipe.source;
  if (!fs::exists(file)) {
    make_folder(dir);
    write_file(file, text);
  } else if (read_file(file) != text) {
    throw Error(ErrorKind::kUsage, dir.string() + " holds another pool", "name another folder, or train with the recipe in " + file.string());
  }
}

PoolRecipe read_recipe(const fs::path& dir) {
  if (!fs::exists(dir / "pool.toml")) throw Error(ErrorKind::kUsage, dir.string() + " holds no pool", "train one: entrain experts train POOL.toml --out " + dir.string());
  return PoolRecipe::from(config::Document::load(dir / "pool.toml"));
}

std::vector<std::string> asked_families(const PoolConfig& config) {
  std::vector<std::string> families = config.families;
  std::erase(families, "tools");
  return families;
}

Sheet ask_split(const Pool& pool, const PoolConfig& config, reasoning::Split split, int64_t n, uint64_t seed) {
  return make_sheet(pool, draw_items(config, asked_families(config), n, split, seed), config.english);
}

int64_t asker_of(const PoolRecipe& recipe, const Pool& pool) {
  const std::string& asker = recipe.observation.asker;
  if (asker.empty()) return -1;
  for (size_t i = 0; i < pool.experts.size(); ++i) {
    if (pool.experts[i].name == asker) return static_cast<int64_t>(i);
  }
  throw Error(ErrorKind::kData, "expert " + asker + " is absent, and it is the one that observation.asker names", "restore it, or train the pool without observation.asker");
}

std::vector<Example> make_examples(const Pool& pool, const std::vector<reasoning::Item>& items, double english, int64_t asker) {
  std::vector<Example> examples;
  for (const reasoning::Item& item : items) {
    Example example;
    example.answer = reasoning::answer_index(item.answer);
    example.asker = asker;
    const auto encode = [&](const std::string& prompt) {
      std::vector<int32_t> ids = pool.tokenizer.encode(prompt, text::Specials::kAsText);
      ids.push_back(static_cast<int32_t>(pool.tokens.equals));
      return ids;
    };
    if (item.views.empty()) {
      example.prompts.push_back(encode(asked_in_english(item, english) ? item.english : item.symbolic));
    } else {
      for (size_t i = 0; i < pool.experts.size(); ++i) example.prompts.push_back(encode(item.views[i % item.views.size()]));
      example.min_rounds = item.depth;
      example.asker = 0;
      for (size_t hop = 0; hop + 1 < item.steps.size(); ++hop) {
        const std::vector<int32_t> name = pool.tokenizer.encode(item.steps[hop].substr(item.steps[hop].rfind(' ')), text::Specials::kAsText);
        if (name.size() != 1) throw Error(ErrorKind::kData, "the tokenizer splits a name of a relay question: " + item.steps[hop], "raise pool.vocab_size");
        example.way.push_back(name[0]);
      }
      const bool equal = std::all_of(example.prompts.begin(), example.prompts.end(), [&](const auto& p) { return p.size() == example.prompts[0].size(); });
      if (!equal) throw Error(ErrorKind::kData, "the tokenizer splits the views of a relay question differently: " + item.symbolic, "raise pool.vocab_size");
    }
    examples.push_back(std::move(example));
  }
  return examples;
}

bool train_run(const PoolRecipe& recipe, const fs::path& dir, int64_t run, const RunObserver& observer) {
  claim_folder(recipe, dir);
  const fs::path folder = dir / run_name(run);
  if (fs::exists(folder / "result.json")) return true;
  at::set_num_threads(static_cast<int>(recipe.pool.threads));
  const auto say = [&](const std::string& text) {
    if (observer.say) observer.say(run_name(run) + ": " + text);
  };
  const uint64_t seed = seed_of(recipe, run);
  make_folder(folder);
  const text::Tokenizer tokenizer = pool_tokenizer(recipe, dir / "tokenizer.json");
  AnswerTokens::of(tokenizer);  // refused before anything is trained
  for (size_t e = 0; e < recipe.experts.size(); ++e) {
    if (!recipe.experts[e].model.empty()) continue;
    say("training " + recipe.experts[e].name);
    if (!train_expert(recipe, e, run, tokenizer, folder, observer)) return false;
  }
  Pool pool = open_pool(sources_of(recipe, folder));
  for (const std::string& why : pool.absent) say(why);
  PoolConfig config = recipe.pool;
  config.shares = shares_of(recipe, pool);
  Json result = {{"format", 1}, {"run", run}, {"seed", seed}, {"absent", pool.absent}, {"shares", config.shares}};
  for (const Expert& expert : pool.experts) result["names"].push_back(expert.name);

  const bool is_plain = !asked_families(recipe.pool).empty() && recipe.pool.families != std::vector<std::string>{"relay"};
  if (is_plain) {
    say("asking " + std::to_string(recipe.pool.awareness_items + recipe.pool.tune_items + 2 * recipe.pool.test_items) + " questions");
    Sheets sheets;
    sheets.awareness = ask_split(pool, recipe.pool, reasoning::Split::kAwareness, recipe.pool.awareness_items, seed);
    sheets.tune = ask_split(pool, recipe.pool, reasoning::Split::kTune, recipe.pool.tune_items, seed);
    sheets.test = ask_split(pool, recipe.pool, reasoning::Split::kTest, recipe.pool.test_items, 0);
    sheets.test_other = recipe.pool.english > 0 ? other_surface(pool, sheets.test) : other_letters(pool, sheets.test);
    agree_on_failures(std::vector<Sheet*>{&sheets.awareness, &sheets.tune, &sheets.test, &sheets.test_other});
    for (const std::string& failure : sheets.test.failures()) say(failure);
    std::vector<AwarenessHeads> heads(pool.experts.size());
    model::NamedTensors tensors = Coordinator::fit(sheets.awareness).state();
    for (size_t i = 0; i < heads.size(); ++i) {
      if (!sheets.awareness.usable[i]) continue;
      heads[i] = AwarenessHeads::fit(sheets.awareness, static_cast<int64_t>(i));
      for (auto& one : heads[i].state(pool.experts[i].name + ".")) tensors.push_back(std::move(one));
    }
    tensors.emplace_back("relative_cost", sheets.awareness.relative_cost());
    model::write_safetensors(folder / "heads.safetensors", tensors);
    say("judging");
    result["failures"] = sheets.test.failures();
    result["experts"] = judge_experts(pool, sheets);
    result["routing"] = judge_routing(sheets, config, seed);
    result["awareness"] = judge_awareness(sheets, heads, seed);
    result["disagreement"] = judge_disagreement(sheets);
    result["allocation"] = pool.absent.empty() ? judge_allocation(sheets, config, seed) : Json{{"left_out", "experts are absent: shares would be of another pool"}};
    if (observer.stop_requested && observer.stop_requested()) return false;
  }
  const std::vector<std::string> why_none = [&] {
    std::vector<std::string> found = recipe.observation.problems(std::ssize(pool.experts));
    for (const auto& failure : result.value("failures", Json::array())) found.push_back(failure.get<std::string>());
    return found;
  }();
  const bool observes = recipe.observation.steps > 0 && (recipe.observation.runs == 0 || run <= recipe.observation.runs);
  if (observes && !why_none.empty()) {
    say("no observation: " + why_none.front());
  } else if (observes) {
    const auto items = draw_items(recipe.pool, asked_families(recipe.pool), std::min<int64_t>(recipe.pool.train_items, 20000), reasoning::Split::kTrain, seed + 1000);
    const std::vector<Example> examples = make_examples(pool, items, recipe.pool.english, asker_of(recipe, pool));
    Entangled entangled(pool, recipe.observation, seed);
    const bool tuned = recipe.observation.experts == "tuned";
    bool stopped = false;
    const auto on_step = [&](const TrainingPoint& point) {
      if (point.step % 100 == 0) say(format("step %lld, loss %.4f", static_cast<long long>(point.step), point.loss));
      stopped = observer.stop_requested && observer.stop_requested();
      return !stopped;
    };
    std::optional<Entangled> alone;
    if (recipe.observation.control && !tuned) {  // tuned experts would not be the same ones
      say("training the control, which reads own states alone");
      alone.emplace(pool, recipe.observation, seed);
      train_observation(*alone, examples, no_edges(std::ssize(pool.experts)), seed, on_step);
      if (stopped) return false;
    }
    say("training the observation");
    const auto points = train_observation(entangled, examples, entangled.observation().default_edges(), seed, on_step);
    if (stopped) return false;
    save_observation(entangled, pool, tuned, folder / "observation.safetensors");
    say("judging the observation");
    result["observation"] = judge_observation(entangled, alone ? &*alone : nullptr, recipe, seed);
    result["observation"]["last_loss"] = points.back().loss;
  }
  write_file(folder / "result.json", result.dump(1) + "\n");
  say("done");
  return true;
}

TrainedPool open_pool_of(const fs::path& dir, int64_t run) {
  PoolRecipe recipe = read_recipe(dir);
  const fs::path folder = dir / run_name(run);
  if (!fs::exists(folder / "result.json")) throw Error(ErrorKind::kUsage, folder.string() + " is not trained", "train the pool: entrain experts train POOL.toml --out " + dir.string());
  Pool pool = open_pool(sources_of(recipe, folder));
  recipe.pool.shares = shares_of(recipe, pool);
  return {std::move(recipe), std::move(pool)};
}

OpenRun open_run(const fs::path& dir, int64_t run) {
  TrainedPool trained = open_pool_of(dir, run);
  const Pool& pool = trained.pool;
  const fs::path file = dir / run_name(run) / "heads.safetensors";
  if (!fs::exists(file)) throw Error(ErrorKind::kUsage, (dir / run_name(run)).string() + " has no heads and no coordinator", "only pools with questions of a single answer that each expert can read alone have them (not relay, not tools alone)");
  const auto tensors = model::read_safetensors(file);
  std::vector<double> cost;
  for (const auto& [name, tensor] : tensors) {
    if (name == "relative_cost") cost = to_doubles(tensor);
  }
  if (cost.size() != pool.experts.size()) {
    throw Error(ErrorKind::kData, "the coordinator in " + file.string() + " knows " + std::to_string(cost.size()) + " experts, the pool has " + std::to_string(pool.experts.size()) +
                                      (pool.absent.empty() ? "" : "; " + pool.absent.front()), "restore the expert, or train the pool without it");
  }
  std::vector<AwarenessHeads> heads;
  for (size_t e = 0; e < cost.size(); ++e) heads.push_back(cost[e] > 0 ? AwarenessHeads::from(tensors, pool.experts[e].name + ".") : AwarenessHeads{});
  return {std::move(trained), Coordinator::from(tensors), std::move(heads), std::move(cost)};
}

std::optional<Entangled> open_observation(OpenRun& run, const fs::path& dir, int64_t number) {
  const fs::path file = dir / run_name(number) / "observation.safetensors";
  if (!fs::exists(file)) return std::nullopt;
  std::optional<Entangled> entangled;
  entangled.emplace(run.pool, run.recipe.observation, 0);
  load_observation(*entangled, file);
  return entangled;
}

std::vector<Json> read_results(const fs::path& dir) {
  std::vector<fs::path> files;
  std::error_code missing;  // an iterator of a folder that is not there is at its end
  for (const auto& entry : fs::directory_iterator(dir, missing)) {
    if (entry.is_directory() && fs::exists(entry.path() / "result.json")) files.push_back(entry.path() / "result.json");
  }
  std::sort(files.begin(), files.end());
  std::vector<Json> results;
  for (const fs::path& file : files) {
    results.push_back(Json::parse(read_file(file), nullptr, false));
    if (results.back().is_discarded() || !results.back().is_object() || results.back().value("format", Json()) != 1) {
      throw Error(ErrorKind::kData, file.string() + " is no result of a pool", "remove it and train that run again");
    }
  }
  if (results.empty()) throw Error(ErrorKind::kData, dir.string() + " has no finished run", "train the pool: entrain experts train POOL.toml --out " + dir.string());
  return results;
}

}  // namespace entrain::experts
