#include "entrain/text/batch_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "entrain/base/error.h"
#include "temporary_folder.h"

namespace entrain::text {
namespace {

// A file whose tokens are 0..n-1, so that a token says where it stands.
fs::path write_numbered(const TemporaryFolder& folder, const std::vector<int32_t>& lengths) {
  const fs::path path = folder / "numbered";
  TokenFileWriter writer(path, {.fingerprint = 0, .vocab_size = 1 << 20, .eos_id = -1});
  int32_t next = 0;
  for (const int32_t length : lengths) {
    std::vector<int32_t> document(static_cast<size_t>(length));
    for (auto& token : document) token = next++;
    writer.add_document(document, static_cast<uint64_t>(length));
  }
  writer.finish();
  return path;
}

std::vector<int64_t> row(const std::vector<int64_t>& values, int64_t i, int64_t per_row) {
  return {values.begin() + i * per_row, values.begin() + (i + 1) * per_row};
}

TEST(BatchSource, CutsRowsIntoBagsAndTargets) {
  const TemporaryFolder folder;
  const TokenFile file(write_numbered(folder, {1000}));
  for (const auto& [bag, target_bag] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {4, 4}, {4, 1}, {1, 4}, {3, 5}}) {
    BatchSource source(file, {.seed = 3, .rows = 2, .run_tokens = 500});
    const BatchShape shape{.rows = 2, .positions = 8, .bag = bag, .target_bag = target_bag};
    const Batch batch = source.next(shape);
    ASSERT_EQ(batch.inputs.size(), static_cast<size_t>(2 * 8 * bag));
    ASSERT_EQ(batch.targets.size(), static_cast<size_t>(2 * 8 * target_bag));
    ASSERT_EQ(batch.segments, std::vector<int32_t>(16, 0));
    for (int64_t b = 0; b < 2; ++b) {
      const auto inputs = row(batch.inputs, b, 8 * bag);
      for (size_t i = 0; i < inputs.size(); ++i) EXPECT_EQ(inputs[i], inputs[0] + static_cast<int64_t>(i));
      for (int64_t j = 0; j < 8; ++j) {
        for (int64_t k = 0; k < target_bag; ++k) {
          // raw token (j+1)*bag + k of the row
          EXPECT_EQ(batch.targets[static_cast<size_t>((b * 8 + j) * target_bag + k)], inputs[0] + (j + 1) * bag + k);
        }
      }
    }
    EXPECT_EQ(source.cursor(), 8 * bag);
    EXPECT_EQ(source.tokens_read(), 16 * bag);
  }
}

// Over whole epochs and with the shape changing in between, every token is an input once an epoch.
TEST(BatchSource, ReadsEveryTokenOnceAnEpoch) {
  const TemporaryFolder folder;
  const TokenFile file(write_numbered(folder, {7, 50, 1, 120, 33, 29}));  // 240 tokens
  BatchSource source(file, {.seed = 11, .rows = 4, .run_tokens = 20});    // 12 runs an epoch, 60 tokens a lane
  ASSERT_EQ(source.runs_per_epoch(), 12);
  std::map<int64_t, int> seen;
  const std::vector<BatchShape> shapes{{4, 5, 3, 3}, {4, 10, 1, 1}, {4, 5, 2, 1}, {4, 5, 1, 6}, {4, 5, 4, 4}};  // 15+10+10+5+20
  for (int epoch = 0; epoch < 3; ++epoch) {
    EXPECT_DOUBLE_EQ(source.epoch(), epoch);
    for (const auto& shape : shapes) {
      for (const int64_t token : source.next(shape).inputs) ++seen[token];
    }
    ASSERT_EQ(seen.size(), 240u);
    for (const auto& [token, n] : seen) EXPECT_EQ(n, epoch + 1) << token;
  }
}

// The stream of inputs of a lane does not depend on how it is cut.
TEST(BatchSource, LanesReadTheSameTokensWhateverTheBag) {
  const TemporaryFolder folder;
  const TokenFile file(write_numbered(folder, {300, 200, 13}));
  const BatchSourceOptions options{.seed = 5, .rows = 2, .run_tokens = 32};
  BatchSource plain(file, options), mixed(file, options);
  std::vector<int64_t> a[2], b[2];
  for (int i = 0; i < 30; ++i) {
    const Batch batch = plain.next({2, 16, 1, 1});
    for (int64_t r = 0; r < 2; ++r) for (const int64_t t : row(batch.inputs, r, 16)) a[r].push_back(t);
  }
  for (int i = 0; i < 10; ++i) {
    const int64_t bag = i % 2 == 0 ? 4 : 2;
    const Batch batch = mixed.next({2, 16, bag, bag});
    for (int64_t r = 0; r < 2; ++r) for (const int64_t t : row(batch.inputs, r, 16 * bag)) b[r].push_back(t);
  }
  EXPECT_EQ(plain.cursor(), mixed.cursor());
  for (int r = 0; r < 2; ++r) EXPECT_EQ(a[r], b[r]);
}

TEST(BatchSource, LastTargetsOfARowAreFirstInputsOfTheNext) {
  const TemporaryFolder folder;
  const TokenFile file(write_numbered(folder, {90, 110}));
  BatchSource source(file, {.seed = 1, .rows = 2, .run_tokens = 10});
  const BatchShape shape{2, 7, 2, 2};
  Batch batch = source.next(shape);
  for (int i = 0; i < 40; ++i) {  // over several epochs
    const Batch next = source.next(shape);
    for (int64_t b = 0; b < 2; ++b) {
      for (int64_t k = 0; k < 2; ++k) {
        EXPECT_EQ(batch.targets[static_cast<size_t>((b * 7 + 6) * 2 + k)], next.inputs[static_cast<size_t>(b * 14 + k)]);
      }
    }
    batch = next;
  }
}

TEST(BatchSource, ShufflesEachEpochAnew) {
  const TemporaryFolder folder;
  const TokenFile file(write_numbered(folder, std::vector<int32_t>(40, 10)));
  BatchSource source(file, {.seed = 2, .rows = 1, .run_tokens = 20});
  const BatchShape epoch{1, 400, 1, 1};
  // One batch would need a target beyond the text; half epochs do not.
  const BatchShape half{1, 200, 1, 1};
  std::vector<std::vector<int64_t>> orders;
  for (int e = 0; e < 3; ++e) {
    std::vector<int64_t> order = source.next(half).inputs;
    for (const int64_t t : source.next(half).inputs) order.push_back(t);
    std::vector<int64_t> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    for (size_t i = 0; i < sorted.size(); ++i) ASSERT_EQ(sorted[i], static_cast<int64_t>(i));
    orders.push_back(order);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
  EXPECT_THROW(source.next(epoch), Error);

  BatchSource other(file, {.seed = 3, .rows = 1, .run_tokens = 20});
  EXPECT_NE(other.next(half).inputs, std::vector<int64_t>(orders[0].begin(), orders[0].begin() + 200));
}

TEST(BatchSource, SeekResumesExactly) {
  const TemporaryFolder folder;
  const TokenFile file(write_numbered(folder, {100, 30, 77, 301, 5}));
  const BatchSourceOptions options{.seed = 9, .rows = 3, .run_tokens = 16, .borders = Borders::kMask};
  BatchSource source(file, options);
  for (int i = 0; i < 25; ++i) {
    const int64_t cursor = source.cursor();
    const BatchShape shape{3, 6, 1 + i % 3, 1 + i % 3};
    const Batch batch = source.next(shape);
    BatchSource fresh(file, options);
    fresh.seek(cursor);
    const Batch again = fresh.next(shape);
    EXPECT_EQ(batch.inputs, again.inputs);
    EXPECT_EQ(batch.targets, again.targets);
    EXPECT_EQ(batch.segments, again.segments);
    EXPECT_EQ(source.cursor(), fresh.cursor());
  }
}

// Segments change exactly where the next token does not follow in the file, or begins a document, or at a run border; and
// masked targets are those of another segment.
TEST(BatchSource, MasksTargetsOfOtherDocuments) {
  const TemporaryFolder folder;
  const std::vector<int32_t> lengths{5, 9, 3, 40, 2, 61, 8};  // 128
  const TokenFile file(write_numbered(folder, lengths));
  std::vector<int> document_of;
  for (size_t d = 0; d < lengths.size(); ++d) document_of.insert(document_of.end(), static_cast<size_t>(lengths[d]), static_cast<int>(d));
  const BatchSourceOptions cross{.seed = 4, .rows = 2, .run_tokens = 16};
  BatchSourceOptions mask = cross;
  mask.borders = Borders::kMask;
  BatchSource a(file, cross), b(file, mask);
  int n_masked = 0;
  for (int i = 0; i < 20; ++i) {
    const int64_t bag = 1 + i % 3, target_bag = 1 + i % 2;
    const int64_t start = a.cursor();
    const BatchShape shape{2, 7, bag, target_bag};
    const Batch full = a.next(shape), masked = b.next(shape);
    EXPECT_EQ(full.inputs, masked.inputs);
    EXPECT_EQ(full.segments, masked.segments);
    for (int64_t r = 0; r < 2; ++r) {
      // Rebuild the row's raw tokens and their segments from first principles.
      std::vector<int64_t> raw = row(full.inputs, r, 7 * bag);
      for (int64_t k = 0; k < target_bag; ++k) raw.push_back(full.targets[static_cast<size_t>((r * 7 + 6) * target_bag + k)]);
      std::vector<int32_t> segment{0};
      for (size_t t = 1; t < raw.size(); ++t) {
        const bool border = (start + static_cast<int64_t>(t)) % 16 == 0 ||
                            document_of[static_cast<size_t>(raw[t])] != document_of[static_cast<size_t>(raw[t - 1])];
        segment.push_back(segment.back() + (border ? 1 : 0));
      }
      for (int64_t j = 0; j < 7; ++j) {
        const int32_t own = segment[static_cast<size_t>((j + 1) * bag - 1)];
        EXPECT_EQ(full.segments[static_cast<size_t>(r * 7 + j)], own);
        for (int64_t k = 0; k < target_bag; ++k) {
          const auto at = static_cast<size_t>((r * 7 + j) * target_bag + k);
          const auto raw_at = static_cast<size_t>((j + 1) * bag + k);
          EXPECT_EQ(full.targets[at], raw[raw_at]);
          EXPECT_EQ(masked.targets[at], segment[raw_at] == own ? raw[raw_at] : kIgnore);
          n_masked += masked.targets[at] == kIgnore;
        }
      }
    }
  }
  EXPECT_GT(n_masked, 20);
}

TEST(BatchSource, SmallTextShortensRunsAndShorterIsAnError) {
  const TemporaryFolder folder;
  const TokenFile file(write_numbered(folder, {50, 53}));
  BatchSource source(file, {.seed = 0, .rows = 4, .run_tokens = 1000});
  EXPECT_EQ(source.run_tokens(), 25);
  EXPECT_EQ(source.runs_per_epoch(), 4);
  EXPECT_NO_THROW(source.next({4, 102, 1, 1}));  // 103 tokens: just enough
  for (const BatchShape& shape : {BatchShape{4, 103, 1, 1}, BatchShape{4, 30, 4, 4}}) {
    try {
      source.next(shape);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_NE(std::string(error.what()).find("103 tokens"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(std::to_string(shape.row_tokens())), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(BatchSource(file, {.seed = 0, .rows = 104, .run_tokens = 16}), Error);
}

TEST(BatchSource, SlicesRows) {
  const TemporaryFolder folder;
  const TokenFile file(write_numbered(folder, {200}));
  BatchSource source(file, {.seed = 0, .rows = 4, .run_tokens = 50});
  const Batch batch = source.next({4, 6, 2, 3});
  const Batch slice = slice_rows(batch, 1, 3);
  EXPECT_EQ(slice.rows, 2);
  EXPECT_EQ(row(slice.inputs, 0, 12), row(batch.inputs, 1, 12));
  EXPECT_EQ(row(slice.targets, 1, 18), row(batch.targets, 2, 18));
  EXPECT_EQ(slice.segments.size(), 12u);
}

TEST(ValidationWindows, PredictEachTokenButTheFirstOnce) {
  const TemporaryFolder folder;
  const TokenFile file(write_numbered(folder, {1, 9, 8, 2, 17}));
  std::vector<int32_t> token_bytes(37);
  for (size_t i = 0; i < 37; ++i) token_bytes[i] = static_cast<int32_t>(i % 5);
  const ValidationWindows windows(file, 4, token_bytes);
  ASSERT_EQ(windows.size(), 0 + 2 + 2 + 1 + 4);
  std::set<int64_t> predicted;
  int64_t n_bytes = 0, n_targets = 0;
  for (int64_t first = 0; first < windows.size(); first += 2) {
    const WindowBatch w = windows.batch(first, 2);
    for (int64_t r = 0; r < w.batch.rows; ++r) {
      const DocumentRange range = file.document(w.documents[static_cast<size_t>(r)]);
      for (int64_t j = 0; j < 4; ++j) {
        const auto cell = static_cast<size_t>(r * 4 + j);
        const bool real = j < w.n_targets[static_cast<size_t>(r)];
        EXPECT_EQ(w.batch.segments[cell], real ? 0 : 1);
        if (!real) {
          EXPECT_EQ(w.batch.targets[cell], kIgnore);
          continue;
        }
        EXPECT_EQ(w.batch.targets[cell], w.batch.inputs[cell] + 1);
        EXPECT_GE(w.batch.inputs[cell], static_cast<int64_t>(range.begin));
        EXPECT_LT(w.batch.targets[cell], static_cast<int64_t>(range.end));
        EXPECT_TRUE(predicted.insert(w.batch.targets[cell]).second);
      }
      n_bytes += w.n_bytes[static_cast<size_t>(r)];
      n_targets += w.n_targets[static_cast<size_t>(r)];
    }
  }
  EXPECT_EQ(predicted.size(), 37u - 5);
  EXPECT_EQ(n_targets, 37 - 5);
  int64_t expected_bytes = 0;
  for (const int64_t token : predicted) expected_bytes += token_bytes[static_cast<size_t>(token)];
  EXPECT_EQ(n_bytes, expected_bytes);
}

TEST(ValidationWindows, ALimitSpreadsOverAllDocuments) {
  const TemporaryFolder folder;
  const TokenFile file(write_numbered(folder, std::vector<int32_t>(10, 101)));
  const std::vector<int32_t> token_bytes(1010, 1);
  const ValidationWindows windows(file, 10, token_bytes, 200);
  EXPECT_EQ(windows.size(), 20);
  std::set<uint64_t> documents;
  for (const uint64_t d : windows.batch(0, 100).documents) documents.insert(d);
  EXPECT_EQ(documents.size(), 10u);
}

TEST(ValidationWindows, RejectsTextWithoutTargetsAndForeignTokenizers) {
  const TemporaryFolder folder;
  const TokenFile single(write_numbered(folder, {1, 1}));
  EXPECT_THROW(ValidationWindows(single, 4, std::vector<int32_t>(2, 1)), Error);
  const TokenFile file(write_numbered(folder, {10}));
  const ValidationWindows windows(file, 4, std::vector<int32_t>(5, 1));
  EXPECT_THROW(windows.batch(0, 3), Error);
}

// Documents of 7, 1, 12, 5 and 30 tokens; ids count up, but for the markers 500 and 501 at these places.
constexpr int64_t kMarkerA = 500, kMarkerB = 501;
struct MarkedFile {
  TemporaryFolder folder;
  std::vector<std::vector<int32_t>> documents;
  MarkedFile() {
    int32_t next = 0;
    for (const size_t length : {7, 1, 12, 5, 30}) {
      std::vector<int32_t>& document = documents.emplace_back(length);
      for (int32_t& token : document) token = next++;
    }
    documents[0][2] = kMarkerA;   // and again at 5: only the first counts
    documents[0][5] = kMarkerA;
    documents[2][9] = kMarkerB;
    documents[3][4] = kMarkerA;   // last: nothing follows
    documents[4][13] = kMarkerB;
    documents[4][20] = kMarkerA;
    TokenFileWriter writer(folder / "marked", {.fingerprint = 0, .vocab_size = 502, .eos_id = -1});
    for (const auto& document : documents) writer.add_document(document, document.size());
    writer.finish();
  }
  TokenFile open() const { return TokenFile(folder / "marked"); }
  /// Tokens after the first of the markers in their document. Ids are unique but for markers.
  std::set<int64_t> counted(const std::vector<int64_t>& markers) const {
    std::set<int64_t> ids;
    for (const auto& document : documents) {
      const auto first = std::find_first_of(document.begin(), document.end(), markers.begin(), markers.end());
      if (first != document.end()) ids.insert(first + 1, document.end());
    }
    ids.erase(kMarkerA);
    ids.erase(kMarkerB);
    return ids;
  }
};

TEST(BatchSource, PredictsOnlyWhatFollowsTheMarker) {
  const MarkedFile marked;
  const TokenFile file = marked.open();
  for (const Borders borders : {Borders::kCross, Borders::kMask}) {
    for (const std::vector<int64_t>& markers : {std::vector<int64_t>{kMarkerA}, {kMarkerB}, {kMarkerA, kMarkerB}, {kMarkerB, kMarkerA, 3}}) {
      const std::set<int64_t> counted = marked.counted(markers);
      BatchSource all(file, {.seed = 4, .rows = 2, .run_tokens = 11, .borders = borders});
      BatchSource some(file, {.seed = 4, .rows = 2, .run_tokens = 11, .borders = borders, .loss_after = markers});
      int n_left = 0, n_masked = 0;
      for (int i = 0; i < 60; ++i) {  // many epochs; rows begin everywhere in a document
        const BatchShape shape{2, 6, 1 + i % 3, 1 + i % 2 * (i % 3)};
        const Batch full = all.next(shape), masked = some.next(shape);
        ASSERT_EQ(full.inputs, masked.inputs);
        ASSERT_EQ(full.segments, masked.segments);
        for (size_t at = 0; at < full.targets.size(); ++at) {
          const int64_t id = full.targets[at];
          if (id == kIgnore || id == kMarkerA || id == kMarkerB) continue;  // markers are checked below
          EXPECT_EQ(masked.targets[at], counted.contains(id) ? id : kIgnore) << id;
          (counted.contains(id) ? n_left : n_masked) += 1;
        }
      }
      EXPECT_GT(n_left, 50);
      EXPECT_GT(n_masked, 50);
    }
  }
  // A second marker is predicted, the first is not: with B alone, A at place 20 of the last document is a target, at 2 and 5 of the first it is not.
  BatchSource source(file, {.seed = 1, .rows = 1, .run_tokens = 55, .loss_after = {kMarkerB}});
  const Batch batch = source.next({1, 54, 1, 1});
  for (size_t j = 0; j < 54; ++j) {
    if (batch.targets[j] == kMarkerA) {
      EXPECT_EQ(batch.inputs[j], 25 + 19) << "the only one after B";
    }
    EXPECT_NE(batch.targets[j], kMarkerB);
  }
  EXPECT_EQ(std::count(batch.targets.begin(), batch.targets.end(), kMarkerA), 1);
}

TEST(BatchSource, ResumesBehindAMarkerAndNeedsOne) {
  const MarkedFile marked;
  const TokenFile file = marked.open();
  const BatchSourceOptions options{.seed = 4, .rows = 2, .run_tokens = 16, .loss_after = {kMarkerB}};
  BatchSource source(file, options);
  for (int i = 0; i < 20; ++i) {
    BatchSource fresh(file, options);
    fresh.seek(source.cursor());
    EXPECT_EQ(source.next({2, 5, 1, 1}).targets, fresh.next({2, 5, 1, 1}).targets);
  }
  for (const int64_t absent : {int64_t{499}, int64_t{54}}) {  // 499 is nowhere, and nothing follows 54
    try {
      BatchSource(file, {.seed = 4, .rows = 2, .run_tokens = 16, .loss_after = {absent}});
      ADD_FAILURE() << absent;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_NE(std::string(error.what()).find("data.loss_after"), std::string::npos) << error.what();
    }
  }
}

TEST(ValidationWindows, PredictOnlyWhatFollowsTheMarker) {
  const MarkedFile marked;
  const TokenFile file = marked.open();
  std::vector<int32_t> token_bytes(502);
  for (size_t i = 0; i < token_bytes.size(); ++i) token_bytes[i] = static_cast<int32_t>(1 + i % 5);
  for (const int64_t positions : {1, 3, 4, 100}) {
    const ValidationWindows all(file, positions, token_bytes), empty(file, positions, token_bytes, 0, {});
    const std::vector<int64_t> markers{kMarkerA, kMarkerB};
    const ValidationWindows some(file, positions, token_bytes, 0, markers);
    EXPECT_EQ(all.size(), empty.size());
    EXPECT_EQ(all.batch(0, 1000).batch.targets, empty.batch(0, 1000).batch.targets);
    EXPECT_LT(some.size(), all.size());
    // Each window is one of those of all windows, with fewer targets.
    const WindowBatch whole = all.batch(0, 1000), part = some.batch(0, 1000);
    std::multiset<int64_t> predicted;
    int64_t n_bytes = 0, n_targets = 0, expected_bytes = 0;
    for (int64_t r = 0; r < part.batch.rows; ++r) {
      const auto inputs = row(part.batch.inputs, r, positions);
      bool found = false;
      for (int64_t w = 0; w < whole.batch.rows && !found; ++w) found = row(whole.batch.inputs, w, positions) == inputs && whole.documents[static_cast<size_t>(w)] == part.documents[static_cast<size_t>(r)];
      EXPECT_TRUE(found) << r;
      for (const int64_t target : row(part.batch.targets, r, positions)) {
        if (target == kIgnore) continue;
        predicted.insert(target);
        expected_bytes += token_bytes[static_cast<size_t>(target)];
      }
      EXPECT_GT(part.n_targets[static_cast<size_t>(r)], 0) << "a window without targets costs time and says nothing";
      n_targets += part.n_targets[static_cast<size_t>(r)];
      n_bytes += part.n_bytes[static_cast<size_t>(r)];
    }
    const std::set<int64_t> counted = marked.counted(markers);
    EXPECT_EQ(predicted.size(), counted.size() + 2) << "two markers follow a first one";
    for (const int64_t id : counted) EXPECT_EQ(predicted.count(id), 1u) << id;
    EXPECT_EQ(predicted.count(kMarkerA), 2u);
    EXPECT_EQ(n_targets, static_cast<int64_t>(predicted.size()));
    EXPECT_EQ(n_bytes, expected_bytes);
  }
  EXPECT_THROW(ValidationWindows(file, 4, token_bytes, 0, std::vector<int64_t>{499}), Error);
}

}  // namespace
}  // namespace entrain::text
