#pragma once
// Sentences: what the modalities of an experiment have in common.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "entrain/modalities/config.h"

namespace entrain::modalities {

/// The sentences of an experiment, no two alike in their letters.
struct Items {
  std::vector<std::string> lines;  ///< the training items, then the held-out ones
  int64_t n_train = 0;
  int64_t n_held_out() const { return static_cast<int64_t>(lines.size()) - n_train; }
  uint64_t fingerprint() const;
};

/// Sentences of one line of text: cut after . ? ! before white space, runs of white space as one space, none at the ends.
std::vector<std::string> sentences(std::string_view line);

/// Draws config.items + config.held_out sentences of min_characters to max_characters characters (code points) by the checksums of their letters:
/// the order and number of files does not matter, held-out items stay the same whatever config.items is, and two that differ in case,
/// spaces or punctuation only are one. Throws Error{kData} where the text has too few, and what text::for_each_document throws.
Items draw_items(const Config& config);

}  // namespace entrain::modalities
