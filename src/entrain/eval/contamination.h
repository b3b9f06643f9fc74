#pragma once
// Which items of an evaluation set stand in a training text: shared runs of 13 words (Brown et al. 2020, appendix C).

#include <string>
#include <string_view>
#include <vector>

#include "entrain/base/files.h"

namespace entrain::eval {

constexpr size_t kOverlapWords = 13;          ///< words in a run
constexpr size_t kShortestOverlapWords = 8;   ///< items of 8 to 12 words are looked for as a whole, shorter ones not at all

enum class Overlap {
  kClean,
  kContaminated,  ///< shares a run with a document
  kNotCheckable,  ///< has fewer than kShortestOverlapWords words
};

/// Words in lower case without punctuation. White space, hyphens and dashes separate words, other punctuation vanishes
/// ("don't" is "dont"); ASCII letters are lowered, bytes of other scripts stay as they are.
std::vector<std::string> overlap_words(std::string_view text);

/// One answer for each text, against the documents of files and folders (text::for_each_document). Runs do not cross documents. The
/// training text is streamed; memory holds one document and an index of the items. A run found by its 64-bit hash is compared word by word.
std::vector<Overlap> find_overlaps(const std::vector<std::string>& texts, const std::vector<fs::path>& training);

}  // namespace entrain::eval
