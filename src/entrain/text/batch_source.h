#pragma once
// From a token file to training batches: which tokens are read in which order, and how rows are cut into bags and targets.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "entrain/text/token_file.h"

namespace entrain::text {

/// Target id that takes no part in a loss (the value PyTorch's cross entropy ignores).
constexpr int64_t kIgnore = -100;

/// Shape of a batch: B rows of T positions, each position a bag of `bag` input tokens that predicts `target_bag` tokens.
/// A row is made of T*bag + target_bag consecutive raw tokens r[0], r[1], ...: position j reads r[j*bag .. (j+1)*bag-1] and
/// its targets are the target_bag tokens that follow, r[(j+1)*bag .. (j+1)*bag+target_bag-1]. So
///   bag = target_bag = 1: next-token prediction;
///   bag = target_bag = s: bags in, next bag out (raw tokens (j+1)s..(j+2)s-1);
///   bag = s, target_bag = 1: bags in, next token out;   bag = 1, target_bag = s: tokens in, next s tokens out.
struct BatchShape {
  int64_t rows = 0;
  int64_t positions = 0;
  int64_t bag = 1;
  int64_t target_bag = 1;
  /// Tokens a row touches; it moves the cursor by positions * bag of them.
  int64_t row_tokens() const { return positions * bag + target_bag; }
};

struct Batch {
  int64_t rows = 0, positions = 0, bag = 1, target_bag = 1;
  std::vector<int64_t> inputs;    ///< (B, T*bag)
  std::vector<int64_t> targets;   ///< (B, T, target_bag), kIgnore where there is none
  std::vector<int32_t> segments;  ///< (B, T): counts up from 0 in each row, changes at every border of a document or a run
};

/// Rows [begin, end) of a batch, for gradient accumulation and data-parallel ranks.
Batch slice_rows(const Batch& batch, int64_t begin, int64_t end);

/// What a target may see of another document.
enum class Borders {
  kCross,  ///< packed training: targets cross document borders freely
  kMask,   ///< targets in another segment than their position's are kIgnore; attention should keep to `segments`
};

struct BatchSourceOptions {
  uint64_t seed = 0;
  int64_t rows = 0;          ///< B: also the number of lanes, so fixed for the life of a run
  int64_t run_tokens = 0;    ///< tokens read in their order before jumping elsewhere; 16 * T is a good value
  Borders borders = Borders::kCross;
  /// 0: the whole file; else only about this many tokens of it, the documents that come first in an order that is the same for
  /// every seed (stream(0, "data/subset")), the last one cut short. A smaller subset is part of a larger one.
  int64_t unique_tokens = 0;
  /// Where given, only targets after the first of these ids in their document count; the others, that id too, are kIgnore. A row that begins
  /// inside a document looks for it from the document's beginning: O(tokens before) for each, little where documents are short.
  std::vector<int64_t> loss_after = {};
};

/// An endless, shuffled, exactly restorable sequence of batches.
///
/// Each epoch, the documents are shuffled (stream(seed, "data/documents", epoch)) and thought of as laid end to end; that
/// text is cut into runs of run_tokens tokens, and the runs are shuffled (stream(seed, "data/runs", epoch)). What is left
/// over, less than one run, sits out that epoch only: the next one has another order of documents. The runs of all epochs
/// form one sequence, and lane b (row b of every batch) reads runs b, b+B, b+2B, ... end to end.
///
/// The cursor is one integer: tokens consumed in each lane. A batch reads coordinates [cursor, cursor + row_tokens()) of
/// every lane, the last target_bag of them as targets only, and moves the cursor by positions * bag. A change of shape
/// between batches thus neither skips nor repeats a token, and resuming is seek(cursor()).
///
/// Memory: O(documents + runs) for each of two cached epochs. Borrows the file, which must outlive it. Not thread-safe.
class BatchSource {
 public:
  /// run_tokens is reduced to n_tokens / rows when the text is small, so that every lane has a run to read.
  /// Throws Error{kData} when there are fewer tokens than rows, or no document has a target after an id of loss_after.
  BatchSource(const TokenFile& file, const BatchSourceOptions& options);

  /// The batch at the cursor; shape.rows must be the options' rows. The segment of a position is that of its bag's last token.
  /// Throws Error{kData} when the whole text is shorter than one row.
  Batch next(const BatchShape& shape);

  int64_t cursor() const { return cursor_; }
  void seek(int64_t cursor);
  /// Epochs read so far, with fraction.
  double epoch() const;
  /// Tokens read so far in all lanes.
  int64_t tokens_read() const { return cursor_ * options_.rows; }
  /// The run length in use, after reduction.
  int64_t run_tokens() const { return run_tokens_; }
  int64_t runs_per_epoch() const { return runs_per_epoch_; }
  /// Tokens of the text in use: the whole file or the subset.
  int64_t unique_tokens() const { return n_tokens_; }

 private:
  struct Epoch {
    int64_t number = -1;
    std::vector<uint32_t> documents;  // shuffled
    std::vector<uint64_t> ends;       // where each shuffled document ends in the epoch's text
    std::vector<uint32_t> runs;       // shuffled
  };
  void choose_subset();
  DocumentRange document(uint32_t i) const { return subset_.empty() ? file_.document(i) : subset_[i]; }
  const Epoch& epoch_layout(int64_t number);
  /// counted: which tokens may be targets, one byte each; empty where loss_after is, all may then.
  void read_lane(int64_t lane, std::span<int64_t> tokens, std::span<int32_t> segments, std::span<uint8_t> counted);

  const TokenFile& file_;
  BatchSourceOptions options_;
  int64_t n_tokens_ = 0, run_tokens_ = 0, runs_per_epoch_ = 0, cursor_ = 0;
  std::vector<DocumentRange> subset_;  // empty: the whole file
  std::array<Epoch, 2> epochs_;
};

/// A batch of evaluation windows (bag = target_bag = 1).
struct WindowBatch {
  Batch batch;
  std::vector<uint64_t> documents;  ///< (B): the document each window lies in
  std::vector<int64_t> n_targets;   ///< (B): tokens predicted; the first n_targets positions of the row, but where loss_after leaves out some before them
  std::vector<int64_t> n_bytes;     ///< (B): bytes of text those predicted tokens stand for
};

/// Evaluation: every document cut into consecutive windows of at most T inputs, so that each token of a document but its
/// first is predicted exactly once. A shorter last window is padded with input 0, target kIgnore and segment 1.
/// Bits per byte = summed nats / ln 2 / summed n_bytes; the bytes are those of the predicted tokens (not of first tokens,
/// which nothing predicts), so the figure means the same whether all windows are read or some.
/// With loss_after (see BatchSourceOptions) the cut is the same, windows without a target are left out, and only targets after the first of
/// these ids in their document are predicted and counted, tokens and bytes alike.
class ValidationWindows {
 public:
  /// token_bytes: bytes of text per id (Tokenizer::token_byte_lengths()), copied. max_tokens > 0 keeps about that many predicted
  /// tokens by taking windows at an even stride over all windows, so that all parts of the data take part; 0 keeps all.
  /// Throws Error{kData} when nothing is left to predict; batch() throws it for an id without an entry in token_bytes.
  ValidationWindows(const TokenFile& file, int64_t positions, std::span<const int32_t> token_bytes, int64_t max_tokens = 0, std::span<const int64_t> loss_after = {});

  int64_t size() const { return n_selected_; }
  /// Windows [first, min(first + rows, size())).
  WindowBatch batch(int64_t first, int64_t rows) const;

 private:
  const TokenFile& file_;
  int64_t positions_;
  std::vector<int32_t> token_bytes_;
  std::vector<int64_t> first_window_;  // number of windows before each document, and the total
  std::vector<int64_t> first_target_;  // in each document, counted from its beginning; empty: 1 in all
  int64_t n_selected_ = 0;
};

}  // namespace entrain::text
