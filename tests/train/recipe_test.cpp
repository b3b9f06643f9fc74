#include "entrain/train/recipe.h"

#include <gtest/gtest.h>

#include "entrain/base/error.h"

namespace entrain::train {
namespace {

std::string problem_of(const std::string& toml) {
  try {
    Recipe::from(config::Document::parse(toml, "t"));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "";
}

void expect_contains(const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), std::string::npos) << part << " in:\n" << text; }

TEST(Recipe, NeedsExactlyOneBudget) {
  EXPECT_EQ(problem_of("data.path = \"d\"\nbudget.steps = 3"), "");
  for (const char* one : {"tokens = 1e6", "flops = 1e12", "seconds = 3"}) EXPECT_EQ(problem_of("data.path = \"d\"\nbudget." + std::string(one)), "");
  expect_contains(problem_of("data.path = \"d\""), "exactly one of steps, tokens, flops and seconds above 0, has 0");
  expect_contains(problem_of("data.path = \"d\"\nbudget.steps = 3\nbudget.seconds = 1"), "has 2");
}

TEST(Recipe, ListsAllThatCannotRun) {
  const std::string message = problem_of("train.rows = 6\ntrain.micro_batches = 4\nschedule.name = \"wsd\"\nschedule.warmup = 0.6\nschedule.decay = 0.5\nmodel.heads = 8\nmodel.kv_heads = 3\n");
  for (const char* part : {"[budget]", "data.path is missing", "micro_batches", "warmup + schedule.decay", "kv_heads"}) expect_contains(message, part);
}

TEST(Recipe, ItsTomlIsTheRecipe) {
  const std::string toml =
      "data.path = \"a \\\"b\\\"\"\nbudget.tokens = 1e6\nmodel.family = \"qwen3\"\noptimizer.lr = 0.1\nsuperposition.mode = \"full\"\nsuperposition.ratio = 0.3333333333333333\nevaluation.prompt = "
      "\"line\\nline\"\n";
  const Recipe recipe = Recipe::from(config::Document::parse(toml, "t"));
  const Recipe again = Recipe::from(config::Document::parse(recipe.to_toml(), "u"));
  EXPECT_EQ(again.to_toml(), recipe.to_toml());
  EXPECT_EQ(again.model, recipe.model);
  EXPECT_EQ(again.evaluation.prompt, "line\nline");
  EXPECT_EQ(again.superposition.ratio, 0.3333333333333333);
}

}  // namespace
}  // namespace entrain::train
