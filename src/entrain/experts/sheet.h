#pragma once
// The questions of one split and what each expert of a pool answered: all that heads, coordinators and judgements are made from.

#include <string>
#include <vector>

#include "entrain/experts/ask.h"
#include "entrain/reasoning/item.h"

namespace entrain::experts {

/// A question as the pool meets it: in one surface.
struct Question {
  reasoning::Item item;
  bool in_english = false;
  const std::string& prompt() const { return in_english ? item.english : item.symbolic; }
};

/// n questions, N experts.
struct Sheet {
  std::vector<Question> questions;
  std::vector<std::string> names;   ///< of the experts
  std::vector<Answers> answers;     ///< one an expert
  Tensor truth;                     ///< (n) int64, in reasoning::kAnswers' order
  Tensor correct;                   ///< (N, n) float64, 0 or 1; 0 for an expert that failed
  Tensor cost;                      ///< (N, n) float64, FLOPs of each answer; that of a failed one is 0
  std::vector<int64_t> lengths;     ///< tokens of each prompt
  std::vector<bool> usable;         ///< of each expert: it did not fail

  int64_t n() const { return static_cast<int64_t>(questions.size()); }
  int64_t n_experts() const { return static_cast<int64_t>(names.size()); }
  /// Expert of least mean cost among the usable ones, and of the largest.
  int64_t cheapest() const;
  int64_t dearest() const;
  /// Mean cost of each expert over that of the dearest, (N) float64: the unit in which lambda prices an answer.
  Tensor relative_cost() const;
  std::vector<std::string> failures() const;
};

/// Asks every expert everything. surface: which surface an item is asked in is decided by its hash, with this share in English.
Sheet make_sheet(const Pool& pool, std::vector<reasoning::Item> items, double english, const AskOptions& options = {});
/// Asks the same questions in their other surface.
Sheet other_surface(const Pool& pool, const Sheet& sheet, const AskOptions& options = {});
/// Asks the same questions with their letters exchanged, for experts that read symbols alone. A question without letters stays as it is.
Sheet other_letters(const Pool& pool, const Sheet& sheet, const AskOptions& options = {});

/// An expert that failed on one sheet counts as failed on all: what is fitted to one is used on the others. Throws Error{kNumeric} where none is left.
void agree_on_failures(std::span<Sheet* const> sheets);

/// Whether an item is asked in English when this share is.
bool asked_in_english(const reasoning::Item& item, double share);

/// Stratum of each question: its family, depth and surface, numbered from 0.
std::vector<int64_t> strata(const Sheet& sheet);

}  // namespace entrain::experts
