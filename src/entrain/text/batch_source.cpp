#include "entrain/text/batch_source.h"

#include <algorithm>
#include <limits>
#include <string>

#include "entrain/base/error.h"
#include "entrain/base/random.h"

namespace entrain::text {
namespace {

void check_shape(const BatchShape& shape) {
  ENTRAIN_CHECK(shape.rows > 0 && shape.positions > 0 && shape.bag > 0 && shape.target_bag > 0,
                "rows " + std::to_string(shape.rows) + ", positions " + std::to_string(shape.positions) + ", bag " +
                    std::to_string(shape.bag) + ", target_bag " + std::to_string(shape.target_bag));
}

template <typename T>
std::vector<T> rows_of(const std::vector<T>& values, int64_t begin, int64_t end, int64_t per_row) {
  return {values.begin() + begin * per_row, values.begin() + end * per_row};
}

/// Where the targets of a document begin: behind the first of the ids among its tokens before `end`, or `end`.
uint64_t targets_begin(const TokenFile& file, const DocumentRange& document, uint64_t end, std::span<const int64_t> loss_after) {
  for (uint64_t i = document.begin; i < end; ++i) {
    if (std::find(loss_after.begin(), loss_after.end(), file.token(i)) != loss_after.end()) return i + 1;
  }
  return end;
}

Error nothing_to_predict(const TokenFile& file) {
  return Error(ErrorKind::kData, "no document of " + file.path().string() + " has a token after one of data.loss_after", "check that its texts hold them as tokens of their own, or leave data.loss_after out");
}

}  // namespace

Batch slice_rows(const Batch& batch, int64_t begin, int64_t end) {
  ENTRAIN_CHECK(0 <= begin && begin <= end && end <= batch.rows,
                "rows [" + std::to_string(begin) + ", " + std::to_string(end) + ") of " + std::to_string(batch.rows));
  return {.rows = end - begin,
          .positions = batch.positions,
          .bag = batch.bag,
          .target_bag = batch.target_bag,
          .inputs = rows_of(batch.inputs, begin, end, batch.positions * batch.bag),
          .targets = rows_of(batch.targets, begin, end, batch.positions * batch.target_bag),
          .segments = rows_of(batch.segments, begin, end, batch.positions)};
}

BatchSource::BatchSource(const TokenFile& file, const BatchSourceOptions& options) : file_(file), options_(options) {
  ENTRAIN_CHECK(options.rows > 0 && options.run_tokens > 0,
                "rows " + std::to_string(options.rows) + ", run_tokens " + std::to_string(options.run_tokens));
  n_tokens_ = static_cast<int64_t>(file.n_tokens());
  if (options.unique_tokens > 0) choose_subset();
  run_tokens_ = std::min(options.run_tokens, n_tokens_ / options.rows);
  if (run_tokens_ == 0) {
    throw Error(ErrorKind::kData,
                file.path().string() + " has " + std::to_string(n_tokens_) + " tokens, fewer than the " +
                    std::to_string(options.rows) + " rows of a batch",
                "use more text or a smaller batch");
  }
  runs_per_epoch_ = n_tokens_ / run_tokens_;
  ENTRAIN_CHECK(runs_per_epoch_ <= std::numeric_limits<uint32_t>::max() &&
                    file.n_documents() <= std::numeric_limits<uint32_t>::max(),
                "more than 2^32 runs or documents; raise run_tokens");
  if (options.loss_after.empty()) return;
  for (uint32_t i = 0; i < (subset_.empty() ? file.n_documents() : subset_.size()); ++i) {
    const DocumentRange range = document(i);
    if (targets_begin(file, range, range.end, options.loss_after) < range.end) return;
  }
  throw nothing_to_predict(file);
}

void BatchSource::choose_subset() {
  if (options_.unique_tokens > n_tokens_) {
    throw Error(ErrorKind::kData, file_.path().string() + " has " + std::to_string(n_tokens_) + " tokens, fewer than the " + std::to_string(options_.unique_tokens) + " asked for",
                "lower data.unique_tokens or prepare more text");
  }
  n_tokens_ = options_.unique_tokens;
  RandomStream order = stream(0, "data/subset");
  auto left = static_cast<uint64_t>(n_tokens_);
  for (const uint32_t i : permutation(order, static_cast<uint32_t>(file_.n_documents()))) {
    DocumentRange range = file_.document(i);
    const uint64_t size = range.end - range.begin, kept = std::min(size, left);
    range.n_bytes = range.n_bytes * kept / std::max<uint64_t>(size, 1);
    range.end = range.begin + kept;
    subset_.push_back(range);
    left -= kept;
    if (left == 0) return;
  }
}

void BatchSource::seek(int64_t cursor) {
  ENTRAIN_CHECK(cursor >= 0, "cursor " + std::to_string(cursor));
  cursor_ = cursor;
}

double BatchSource::epoch() const {
  return static_cast<double>(tokens_read()) / static_cast<double>(runs_per_epoch_ * run_tokens_);
}

const BatchSource::Epoch& BatchSource::epoch_layout(int64_t number) {
  Epoch& epoch = epochs_[static_cast<size_t>(number % 2)];  // a batch may straddle two epochs
  if (epoch.number == number) return epoch;
  const auto key = static_cast<uint64_t>(number);
  RandomStream documents = stream(options_.seed, "data/documents", key);
  RandomStream runs = stream(options_.seed, "data/runs", key);
  epoch.documents = permutation(documents, static_cast<uint32_t>(subset_.empty() ? file_.n_documents() : subset_.size()));
  epoch.runs = permutation(runs, static_cast<uint32_t>(runs_per_epoch_));
  epoch.ends.clear();
  epoch.ends.reserve(epoch.documents.size());
  uint64_t end = 0;
  for (const uint32_t document : epoch.documents) {
    const DocumentRange range = this->document(document);
    epoch.ends.push_back(end += range.end - range.begin);
  }
  epoch.number = number;
  return epoch;
}

// Lane coordinates [cursor, cursor + tokens.size()): run by run, and within a run document by document.
void BatchSource::read_lane(int64_t lane, std::span<int64_t> tokens, std::span<int32_t> segments, std::span<uint8_t> counted) {
  int32_t segment = -1;
  size_t done = 0;
  while (done < tokens.size()) {
    const int64_t coordinate = cursor_ + static_cast<int64_t>(done);
    const int64_t run = lane + options_.rows * (coordinate / run_tokens_);
    const int64_t in_run = coordinate % run_tokens_;
    const Epoch& epoch = epoch_layout(run / runs_per_epoch_);
    const auto run_begin = static_cast<uint64_t>(run_tokens_) * epoch.runs[static_cast<size_t>(run % runs_per_epoch_)];
    uint64_t position = run_begin + static_cast<uint64_t>(in_run);
    size_t left = std::min(static_cast<size_t>(run_tokens_ - in_run), tokens.size() - done);
    auto it = static_cast<size_t>(std::upper_bound(epoch.ends.begin(), epoch.ends.end(), position) - epoch.ends.begin());
    for (; left > 0; ++it) {
      const DocumentRange range = document(epoch.documents[it]);
      const size_t n = std::min(left, static_cast<size_t>(epoch.ends[it] - position));
      const uint64_t begin = range.end - (epoch.ends[it] - position);
      file_.copy(begin, tokens.subspan(done, n));
      if (!counted.empty()) {
        const uint64_t target = targets_begin(file_, range, begin + n, options_.loss_after);
        for (size_t i = 0; i < n; ++i) counted[done + i] = begin + i >= target;
      }
      ++segment;
      std::fill_n(segments.begin() + static_cast<std::ptrdiff_t>(done), n, segment);
      position += n;
      done += n;
      left -= n;
    }
  }
}

Batch BatchSource::next(const BatchShape& shape) {
  check_shape(shape);
  ENTRAIN_CHECK(shape.rows == options_.rows, "rows " + std::to_string(shape.rows) + ", lanes " + std::to_string(options_.rows));
  const int64_t n = shape.row_tokens();
  if (n_tokens_ < n) {
    throw Error(ErrorKind::kData,
                file_.path().string() + " has " + std::to_string(n_tokens_) + " tokens, but one row of " +
                    std::to_string(shape.positions) + " positions x " + std::to_string(shape.bag) + " tokens with " +
                    std::to_string(shape.target_bag) + " targets takes " + std::to_string(n),
                "use more text, or a smaller context or bag");
  }
  Batch batch;
  batch.rows = shape.rows;
  batch.positions = shape.positions;
  batch.bag = shape.bag;
  batch.target_bag = shape.target_bag;
  batch.inputs.reserve(static_cast<size_t>(shape.rows * shape.positions * shape.bag));
  batch.targets.reserve(static_cast<size_t>(shape.rows * shape.positions * shape.target_bag));
  batch.segments.reserve(static_cast<size_t>(shape.rows * shape.positions));
  std::vector<int64_t> tokens(static_cast<size_t>(n));
  std::vector<int32_t> segments(static_cast<size_t>(n));
  std::vector<uint8_t> counted(options_.loss_after.empty() ? 0 : static_cast<size_t>(n));
  for (int64_t row = 0; row < shape.rows; ++row) {
    read_lane(row, tokens, segments, counted);
    batch.inputs.insert(batch.inputs.end(), tokens.begin(), tokens.begin() + shape.positions * shape.bag);
    for (int64_t j = 0; j < shape.positions; ++j) {
      const auto first_target = static_cast<size_t>((j + 1) * shape.bag);
      const int32_t segment = segments[first_target - 1];
      batch.segments.push_back(segment);
      for (size_t t = first_target; t < first_target + static_cast<size_t>(shape.target_bag); ++t) {
        const bool masked = (options_.borders == Borders::kMask && segments[t] != segment) || (!counted.empty() && counted[t] == 0);
        batch.targets.push_back(masked ? kIgnore : tokens[t]);
      }
    }
  }
  cursor_ += shape.positions * shape.bag;
  return batch;
}

ValidationWindows::ValidationWindows(const TokenFile& file, int64_t positions, std::span<const int32_t> token_bytes,
                                     int64_t max_tokens, std::span<const int64_t> loss_after)
    : file_(file), positions_(positions), token_bytes_(token_bytes.begin(), token_bytes.end()) {
  ENTRAIN_CHECK(positions > 0 && max_tokens >= 0,
                "positions " + std::to_string(positions) + ", max_tokens " + std::to_string(max_tokens));
  first_window_.reserve(file.n_documents() + 1);
  first_window_.push_back(0);
  first_target_.reserve(loss_after.empty() ? 0 : file.n_documents());
  int64_t n_targets = 0;
  for (uint64_t d = 0; d < file.n_documents(); ++d) {
    const DocumentRange range = file.document(d);
    const auto targets = static_cast<int64_t>(range.end - range.begin) - 1;
    int64_t unpredicted = 0;  // after the document's first token
    if (!loss_after.empty()) {
      first_target_.push_back(static_cast<int64_t>(targets_begin(file, range, range.end, loss_after) - range.begin));
      unpredicted = std::min(first_target_.back() - 1, targets);
    }
    n_targets += targets - unpredicted;
    const int64_t skipped = unpredicted < targets ? unpredicted / positions : (targets + positions - 1) / positions;
    first_window_.push_back(first_window_.back() + (targets + positions - 1) / positions - skipped);
  }
  const int64_t n_windows = first_window_.back();
  if (n_windows == 0) {
    if (!loss_after.empty()) throw nothing_to_predict(file);
    throw Error(ErrorKind::kData, file.path().string() + " has no document of two tokens or more", "use more text");
  }
  n_selected_ = n_windows;
  if (max_tokens > 0 && max_tokens < n_targets) {
    const double share = static_cast<double>(max_tokens) / static_cast<double>(n_targets);
    n_selected_ = std::clamp(static_cast<int64_t>(static_cast<double>(n_windows) * share), int64_t{1}, n_windows);
  }
}

WindowBatch ValidationWindows::batch(int64_t first, int64_t rows) const {
  ENTRAIN_CHECK(0 <= first && first < n_selected_ && rows > 0,
                "window " + std::to_string(first) + " of " + std::to_string(n_selected_));
  rows = std::min(rows, n_selected_ - first);
  const auto n_cells = static_cast<size_t>(rows * positions_);
  WindowBatch out;
  out.batch = {.rows = rows, .positions = positions_, .bag = 1, .target_bag = 1,
               .inputs = std::vector<int64_t>(n_cells, 0),
               .targets = std::vector<int64_t>(n_cells, kIgnore),
               .segments = std::vector<int32_t>(n_cells, 1)};
  std::vector<int64_t> tokens;
  for (int64_t row = 0; row < rows; ++row) {
    // Even stride: floor(i * windows / selected), in 128 bits for very large data.
    const auto window = static_cast<int64_t>(static_cast<unsigned __int128>(first + row) *
                                             static_cast<unsigned __int128>(first_window_.back()) /
                                             static_cast<unsigned __int128>(n_selected_));
    const auto document = static_cast<uint64_t>(
        std::upper_bound(first_window_.begin(), first_window_.end(), window) - first_window_.begin() - 1);
    const DocumentRange range = file_.document(document);
    const int64_t first_target = first_target_.empty() ? 1 : first_target_[document];
    const int64_t place = ((first_target - 1) / positions_ + window - first_window_[document]) * positions_;
    const uint64_t begin = range.begin + static_cast<uint64_t>(place);
    const int64_t n = std::min(positions_, static_cast<int64_t>(range.end - begin) - 1);
    tokens.resize(static_cast<size_t>(n) + 1);
    file_.copy(begin, tokens);
    int64_t n_targets = 0, n_bytes = 0;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t target = tokens[static_cast<size_t>(j) + 1];
      if (target < 0 || target >= static_cast<int64_t>(token_bytes_.size())) {
        throw Error(ErrorKind::kData,
                    file_.path().string() + " holds id " + std::to_string(target) + ", but the tokenizer has " +
                        std::to_string(token_bytes_.size()) + " ids",
                    "use the tokenizer.json beside the token file");
      }
      const auto cell = static_cast<size_t>(row * positions_ + j);
      out.batch.inputs[cell] = tokens[static_cast<size_t>(j)];
      out.batch.segments[cell] = 0;
      if (place + j + 1 < first_target) continue;
      out.batch.targets[cell] = target;
      ++n_targets;
      n_bytes += token_bytes_[static_cast<size_t>(target)];
    }
    out.documents.push_back(document);
    out.n_targets.push_back(n_targets);
    out.n_bytes.push_back(n_bytes);
  }
  return out;
}

}  // namespace entrain::text
