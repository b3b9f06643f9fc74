#pragma once
// Classifiers that answer without reasoning. None may do better than chance on a family's items, or what a model learns from them
// may be the shortcut (arXiv 2205.11502 shows how models do).

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "entrain/reasoning/item.h"

namespace entrain::reasoning {

enum class Surface { kSymbolic, kEnglish };

enum class Shortcut {
  kConstant,         ///< the most frequent answer
  kCopy,             ///< the only truth value that the prompt shows; other prompts are not scored
  kLastSymbol,       ///< the most frequent answer behind the last symbol other than "?"
  kBag,              ///< logistic regression on how often each symbol occurs
  kPremisesRemoved,  ///< the same on the question alone
  kQueryRemoved,     ///< the same on all but the question
};

constexpr std::array<std::string_view, 6> kShortcutNames = {"constant",       "copy the only truth symbol", "last symbol",
                                                            "bag of symbols", "premises removed",           "query removed"};

const std::string& prompt(const Item& item, Surface surface);

/// Premises and question: from a "?" that is not last on; else what follows the last ";" or "." (all, where there is none).
std::pair<std::string_view, std::string_view> split_question(std::string_view prompt);

/// How many truth values a prompt shows: ● ◑ ⊥, or true, unknown, false.
int64_t n_truth_symbols(std::string_view prompt);

/// One answer per item of `scored` (position in kAnswers, -1: not scored) by a classifier fitted to `train`. Deterministic.
std::vector<int> shortcut_answers(Shortcut shortcut, Surface surface, std::span<const Item* const> train,
                                  std::span<const Item* const> scored);

}  // namespace entrain::reasoning
