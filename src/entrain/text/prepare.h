#pragma once
// From text to a data folder: train.tokens, val.tokens, test.tokens where asked for, tokenizer.json, data.json (docs/formats.md).

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "entrain/text/tokenizer.h"

namespace entrain::text {

struct SplitCounts {
  uint64_t n_documents = 0, n_tokens = 0, n_bytes = 0;
};

struct PrepareSummary {
  SplitCounts train, validation, test;
  std::string split_note;  ///< empty, or what was done because the documents are few
};

struct PrepareOptions {
  double val_fraction = 0.1;  ///< share of documents held out, in (0, 1)
  double test_fraction = 0;   ///< share of documents kept for final judgements alone; 0: no test.tokens
  int n_threads = 0;          ///< 0: all cores
  /// Called now and then with what has been read so far; may be empty.
  std::function<void(uint64_t n_documents, uint64_t n_bytes)> progress = {};
};

/// Encodes all documents of `paths` (Corpus rules) into the folder `out`. Special tokens spelled in a document are text; every
/// document ends with the tokenizer's eos token, if it has one.
///
/// Split: a document is held out when the XXH3 hash of its text, as a number in [0, 1), is below val_fraction. So equal
/// documents fall on the same side, and neither the order of files nor adding others moves a document. With few documents:
/// - if none falls below, the one with the smallest hash is held out; if all do, the one with the largest is not;
/// - if all documents are equal, one of them is kept and its end, val_fraction of its bytes from a line border on, is held out.
/// A document belongs to the test split when that number is in [val_fraction, val_fraction + test_fraction); if none is, that is
/// Error{kData}.
/// Sizes vary with the documents: a long one on one side moves the ratio of tokens away from val_fraction.
///
/// Memory: one batch of documents. Each file is written aside and moved into place at the end, data.json last: a folder
/// with data.json is whole. On an error nothing new is left in `out`.
/// Throws what the corpus throws, Error{kUsage} for a bad fraction, Error{kData} for a single document too short to divide.
PrepareSummary prepare(const std::vector<fs::path>& paths, const Tokenizer& tokenizer, const fs::path& out,
                       const PrepareOptions& options);

}  // namespace entrain::text
