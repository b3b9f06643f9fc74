#include "entrain/experts/recipe.h"

#include <gtest/gtest.h>

#include "entrain/base/error.h"

namespace entrain::experts {
namespace {

constexpr const char* kGood = R"(
[pool]
families = ["chains", "boolean"]
depth = 3
seed = 11
[experts.quick]
model.layers = 2
budget.steps = 60
[experts.balanced]
scratchpad = 0.3
budget.tokens = 1000
[experts.able]
scratchpad = 0.7
answers = "scratchpad"
families = ["boolean"]
model.layers = 4
budget.steps = 90
optimizer.name = "muon"
[observation]
rounds = 3
[model]
width = 32
heads = 2
layers = 1
[train]
rows = 8
)";

PoolRecipe read(const std::string& toml) { return PoolRecipe::from(config::Document::parse(toml, "POOL.toml")); }

std::vector<std::string> names(const PoolRecipe& recipe) {
  std::vector<std::string> out;
  for (const ExpertConfig& expert : recipe.experts) out.push_back(expert.name);
  return out;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("no " + from);
  return text.replace(at, from.size(), to);
}

/// The one message that lists everything wrong; every word of `words` must be in it.
void expect_refused(const std::string& toml, const std::vector<std::string>& words) {
  try {
    read(toml);
    ADD_FAILURE() << "accepted:\n" << toml;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_FALSE(std::string(error.hint()).empty());
    for (const std::string& word : words) EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << word << " is not in\n" << error.what();
  }
}

TEST(PoolRecipe, ReadsAPool) {
  const PoolRecipe recipe = read(kGood);
  EXPECT_EQ(names(recipe), (std::vector<std::string>{"quick", "balanced", "able"})) << "the file's order";
  EXPECT_EQ(recipe.pool.depth, 3);
  EXPECT_EQ(recipe.pool.shares, (std::vector<double>{0.60, 0.25, 0.15}));
  EXPECT_EQ(recipe.observation.rounds, 3);
  EXPECT_EQ(recipe.experts[1].scratchpad, 0.3);
  EXPECT_EQ(recipe.experts[1].style(), reasoning::Style::kDirect);
  EXPECT_EQ(recipe.experts[2].style(), reasoning::Style::kScratchpad);
  EXPECT_EQ(recipe.families_of(0), (std::vector<std::string>{"chains", "boolean"}));
  EXPECT_EQ(recipe.families_of(2), (std::vector<std::string>{"boolean"}));
}

TEST(PoolRecipe, GivesEveryExpertItsTrainingRecipe) {
  const PoolRecipe recipe = read(kGood);
  const train::Recipe quick = recipe.expert_recipe(0, 1, "some/data"), balanced = recipe.expert_recipe(1, 4, "other"), able = recipe.expert_recipe(2, 1, "d");
  EXPECT_EQ(quick.model.layers, 2);
  EXPECT_EQ(balanced.model.layers, 1) << "the shared table's";
  EXPECT_EQ(able.model.layers, 4);
  EXPECT_EQ(quick.budget.steps, 60);
  EXPECT_EQ(balanced.budget.steps, 0);
  EXPECT_EQ(balanced.budget.tokens, 1000);
  EXPECT_NE(quick.optimizer.name, "muon");
  EXPECT_EQ(able.optimizer.name, "muon");
  EXPECT_EQ(quick.data.path, "some/data");
  EXPECT_EQ(quick.data.loss_after, (std::vector<std::string>{" =", " ⊢"}));
  EXPECT_EQ(read(replaced(kGood, "[\"chains\", \"boolean\"]", "[\"chains\", \"tools\"]")).expert_recipe(0, 1, "d").data.loss_after, (std::vector<std::string>{" =", " ⊢", "\n"})) << "tools have no answer marker";
  EXPECT_EQ(quick.train.seed, 11);
  EXPECT_EQ(balanced.train.seed, 14) << "the fourth run's";
  EXPECT_EQ(quick.train.threads, recipe.pool.threads);
  EXPECT_EQ(quick.train.rows, 8);
}

TEST(PoolRecipe, WritesASourceThatReadsBackTheSame) {
  const std::string with_model = replaced(kGood, "[experts.balanced]\nscratchpad = 0.3\nbudget.tokens = 1000", "[experts.balanced]\nmodel = \"some/run\"\nbudget.tokens = 1000");
  const std::string with_empty = replaced(with_model, "model = \"some/run\"\nbudget.tokens = 1000", "");  // an empty table stays in its place
  const std::string with_subtables = replaced(kGood, "[experts.quick]\nmodel.layers = 2\nbudget.steps = 60", "[experts.quick.model]\nlayers = 2\n[experts.quick.budget]\nsteps = 60");
  for (const std::string& toml : {std::string(kGood), with_model, with_subtables}) {
    const PoolRecipe once = read(toml), again = read(once.source);
    EXPECT_EQ(again.source, once.source);
    EXPECT_EQ(names(again), names(once));
    for (size_t e = 0; e < 3; ++e) {
      EXPECT_EQ(again.expert_recipe(e, 2, "x").to_toml(), once.expert_recipe(e, 2, "x").to_toml());
      EXPECT_EQ(again.experts[e].model, once.experts[e].model);
      EXPECT_EQ(again.experts[e].scratchpad, once.experts[e].scratchpad);
    }
    EXPECT_EQ(again.pool.families, once.pool.families);
    EXPECT_EQ(again.observation.rounds, once.observation.rounds);
  }
  EXPECT_EQ(read(kGood).source, read(with_subtables).source) << "one pool, written twice";
  const std::string commented = replaced(kGood, "depth = 3", "depth   =   3  # steps");
  EXPECT_EQ(read(kGood).source, read(commented).source);
  EXPECT_NE(read(kGood).source, read(replaced(kGood, "depth = 3", "depth = 4")).source);
  expect_refused(with_empty, {"budget"});
}

TEST(PoolRecipe, TakesSettingsOfTheCommandLine) {
  config::Document document = config::Document::parse(kGood, "POOL.toml");
  document.set("pool.lambda=0.25");
  document.set("experts.quick.model.layers=5");
  document.set("experts.quick.english=0");
  const PoolRecipe recipe = PoolRecipe::from(document);
  EXPECT_EQ(recipe.pool.lambda, 0.25);
  EXPECT_EQ(recipe.expert_recipe(0, 1, "d").model.layers, 5);
  EXPECT_EQ(recipe.experts[0].english, 0);
  EXPECT_EQ(names(read(recipe.source)), names(recipe));
}

TEST(PoolRecipe, ListsAllThatIsWrong) {
  expect_refused(R"(
[pool]
famlies = ["chains"]
families = ["chains", "chians", "chains"]
runs = 0
english = 2
lambda = "much"
shares = [0.7, 0.7]
[observation]
mode = "telepathy"
width = 30
heads = 4
[experts.quick]
modle = "x"
english = -1
families = ["bolean"]
budget.steps = 5
model.layrs = 2
[experts.able]
answers = "scratchpad"
budget.steps = 5
[experts.third]
budget.steps = 5
budget.tokens = 5
[train]
row = 8
)",
                 {"famlies", "did you mean pool.families?", "chians", "did you mean chains?", "names chains twice", "pool.runs", "pool.english", "pool.lambda", "shares has 2 values for 3 experts", "sum to 1",
                  "observation.mode", "modle", "did you mean experts.quick.model?", "experts.quick.english", "experts.quick.families", "bolean", "experts.quick: unknown key model.layrs",
                  "experts.able answers with a scratchpad but never learns one", "observation.width is no multiple of observation.heads", "unknown key train.row"});
}

TEST(PoolRecipe, SaysASharedProblemOnce) {
  try {
    read(replaced(kGood, "rows = 8", "rwos = 8"));
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find("train.rwos"), text.rfind("train.rwos")) << text;
    EXPECT_EQ(text.find("experts."), std::string::npos) << text;
  }
}

TEST(PoolRecipe, RefusesPoolsThatCannotBe) {
  const std::string shares = "[pool]\nfamilies = [\"chains\"]\nshares = ";
  expect_refused("[pool]\nfamilies = [\"chains\"]\n", {"this one 0"});
  expect_refused(shares + "[1.0]\n[experts.a]\nbudget.steps = 1\n", {"2 to 100", "this one 1"});
  std::string many = shares + "[1.0]\n";
  for (int i = 0; i < 101; ++i) many += "[experts.e" + std::to_string(i) + "]\nbudget.steps = 1\n";
  expect_refused(many, {"this one 101"});
  expect_refused(replaced(kGood, "families = [\"chains\", \"boolean\"]", "families = []"), {"pool.families is empty"});
  expect_refused(replaced(kGood, "seed = 11", "shares = [1.2, -0.2, 0.0]"), {"must not be negative"});
  expect_refused(replaced(kGood, "[experts.quick]", "[experts.\"very quick\"]"), {"experts.very quick: a name"});
  expect_refused(replaced(kGood, "[experts.quick]", "[experts.\"../quick\"]"), {"a name"});
  expect_refused(replaced(kGood, "[experts.quick]", "[experts.\"schnell/über\"]"), {"a name"});
  expect_refused(replaced(kGood, "rounds = 3", "mode = \"neighbours\"\nneighbours = 3"), {"observation.neighbours"});
  expect_refused(replaced(kGood, "families = [\"chains\", \"boolean\"]", "families = [\"tools\"]"), {"observation.steps = 0"});
  expect_refused(replaced(kGood, "families = [\"chains\", \"boolean\"]", "families = [\"keyvalue.keys\"]"), {"keyvalue.keys"});
  expect_refused(replaced(kGood, "families = [\"chains\", \"boolean\"]", "families = [\"relay\", \"chains\"]"), {"relay", "observation.steps = 0"});
  expect_refused("experts = 3\n" + std::string("[pool]\n"), {"experts"});
  expect_refused(replaced(kGood, "seed = 11", "shares = [nan, 0.5, 0.5]"), {"shares"});
}

TEST(PoolRecipe, ChecksNoTrainingOfAReadyModel) {
  const PoolRecipe recipe = read(replaced(kGood, "scratchpad = 0.7\nanswers = \"scratchpad\"\nfamilies = [\"boolean\"]\nmodel.layers = 4", "answers = \"scratchpad\"\nmodel = \"ready\""));
  EXPECT_EQ(recipe.experts[2].model, "ready");
}

TEST(PoolRecipe, KnowsHowDeepFamiliesGo) {
  EXPECT_EQ(deepest("chains", 3), 3);
  EXPECT_LT(deepest("chains", 64), 64);
  EXPECT_TRUE(is_skill(kKeysSkill) && is_skill(kSumsSkill) && !is_skill("keyvalue"));
}

}  // namespace
}  // namespace entrain::experts
