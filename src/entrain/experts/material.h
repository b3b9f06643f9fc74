#pragma once
// What the experts of a pool learn from and are asked: task items, the tokenizer, and each expert's prepared text.

#include "entrain/experts/recipe.h"
#include "entrain/text/tokenizer.h"

namespace entrain::experts {

/// Questions of some families in equal shares, shuffled; all depths to config.depth. Test questions are the same for every run.
std::vector<reasoning::Item> draw_items(const PoolConfig& config, const std::vector<std::string>& families, int64_t n, reasoning::Split split, uint64_t seed);

/// Learned from task text of all families of the recipe in both surfaces, the same for all runs. Written to `file` where it is missing.
text::Tokenizer pool_tokenizer(const PoolRecipe& recipe, const fs::path& file);

/// Writes an expert's training text as a data folder (docs/formats.md): train.tokens, val.tokens, tokenizer.json, data.json. A folder that is whole is
/// left as it is.
void write_material(const PoolRecipe& recipe, size_t expert, int64_t run, const text::Tokenizer& tokenizer, const fs::path& folder);

}  // namespace entrain::experts
