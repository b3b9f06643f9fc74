#include "entrain/text/bpe_trainer.h"

#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <queue>
#include <unordered_map>

#include "entrain/base/error.h"
#include "entrain/text/byte_level.h"
#include "entrain/text/parallel.h"
#include "entrain/text/pretokenizer.h"

namespace entrain::text {
namespace {

constexpr size_t kPartBytes = size_t{1} << 20;

/// How often each piece occurs: open addressing over one string of all pieces.
class PieceCounts {
 public:
  struct Entry {
    uint64_t hash = 0, begin = 0;
    int64_t count = 0;  // 0: empty slot
    uint32_t size = 0;
  };
  PieceCounts() : slots_(size_t{1} << 12) {}

  void add(std::string_view piece, int64_t n) { add(piece, XXH3_64bits(piece.data(), piece.size()), n); }
  void add(std::string_view piece, uint64_t hash, int64_t n) {
    const size_t mask = slots_.size() - 1;
    size_t i = static_cast<size_t>(hash) & mask;
    for (; slots_[i].count != 0; i = (i + 1) & mask) {
      if (slots_[i].hash == hash && piece_of(slots_[i]) == piece) {
        slots_[i].count += n;
        return;
      }
    }
    slots_[i] = {hash, bytes_.size(), n, static_cast<uint32_t>(piece.size())};
    bytes_ += piece;
    if (2 * ++size_ > slots_.size()) grow();
  }
  void add_all(const PieceCounts& other) {
    for (const Entry& entry : other.slots_) {
      if (entry.count != 0) add(other.piece_of(entry), entry.hash, entry.count);
    }
  }
  size_t size() const { return size_; }
  std::string_view piece_of(const Entry& entry) const { return std::string_view(bytes_).substr(entry.begin, entry.size); }
  /// Slots of count 0 are empty.
  const std::vector<Entry>& slots() const { return slots_; }

 private:
  void grow() {
    std::vector<Entry> old(4 * slots_.size());
    old.swap(slots_);
    const size_t mask = slots_.size() - 1;
    for (const Entry& entry : old) {
      if (entry.count == 0) continue;
      size_t i = static_cast<size_t>(entry.hash) & mask;
      while (slots_[i].count != 0) i = (i + 1) & mask;
      slots_[i] = entry;
    }
  }
  std::vector<Entry> slots_;
  std::string bytes_;
  size_t size_ = 0;
};

using Pair = uint64_t;  // left id in the high half: comparing pairs compares left, then right
Pair make_pair_key(int32_t left, int32_t right) {
  return Pair{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

/// Numbers pairs 0, 1, 2, ... as they appear.
class PairNumbers {
 public:
  PairNumbers() : slots_(size_t{1} << 14, kEmpty), numbers_(slots_.size()) {}
  uint32_t number(Pair pair) {
    size_t i = find(pair);
    if (slots_[i] == kEmpty) {
      if (2 * (pairs_.size() + 1) > slots_.size()) {
        grow();
        i = find(pair);
      }
      slots_[i] = pair;
      numbers_[i] = static_cast<uint32_t>(pairs_.size());
      pairs_.push_back(pair);
    }
    return numbers_[i];
  }
  Pair pair(uint32_t number) const { return pairs_[number]; }
  size_t size() const { return pairs_.size(); }

 private:
  static constexpr Pair kEmpty = ~Pair{0};
  size_t find(Pair pair) const {
    const size_t mask = slots_.size() - 1;
    size_t i = static_cast<size_t>((pair * 0x9E3779B97F4A7C15ull) >> 24) & mask;
    while (slots_[i] != pair && slots_[i] != kEmpty) i = (i + 1) & mask;
    return i;
  }
  void grow() {
    slots_.assign(4 * slots_.size(), kEmpty);
    numbers_.resize(slots_.size());
    for (uint32_t n = 0; n < pairs_.size(); ++n) {
      const size_t i = find(pairs_[n]);
      slots_[i] = pairs_[n];
      numbers_[i] = n;
    }
  }
  std::vector<Pair> slots_;
  std::vector<uint32_t> numbers_;
  std::vector<Pair> pairs_;
};

/// The merge loop over the distinct pieces.
class Merger {
 public:
  Merger(const PieceCounts& counts, const BpeTrainerOptions& options) : options_(options) {
    parts_.pattern = named_pattern(options.pattern);
    for (const std::string& token : options.special_tokens) {
      parts_.special_ids.push_back(static_cast<int32_t>(parts_.tokens.size()));
      parts_.tokens.push_back(token);
    }
    int32_t byte_ids[256];
    for (const unsigned char byte : bytes_in_alphabet_order()) {
      byte_ids[byte] = static_cast<int32_t>(parts_.tokens.size());
      parts_.tokens.push_back(std::string(1, static_cast<char>(byte)));
    }
    // A merge may spell a special token or one that exists already; both are found by spelling in the byte-level alphabet.
    for (size_t id = 0; id < parts_.tokens.size(); ++id) {
      const bool special = id < options.special_tokens.size();
      ids_.emplace(special ? parts_.tokens[id] : to_byte_level(parts_.tokens[id]), static_cast<int32_t>(id));
    }
    words_.reserve(counts.size());
    for (const auto& entry : counts.slots()) {
      if (entry.count == 0) continue;
      words_.push_back({symbols_.size(), entry.size, entry.count});
      for (const char c : counts.piece_of(entry)) symbols_.push_back(byte_ids[static_cast<unsigned char>(c)]);
    }
  }

  TokenizerParts run() {
    for (uint32_t w = 0; w < words_.size(); ++w) {
      const int32_t* symbols = symbols_.data() + words_[w].begin;
      for (uint32_t i = 0; i + 1 < words_[w].size; ++i) change_pair(symbols[i], symbols[i + 1], words_[w].count, w);
    }
    queue_touched();
    std::unordered_map<Pair, size_t> last_merge;  // a pair can be merged twice, see below
    std::vector<std::pair<Pair, size_t>> merges;
    while (static_cast<int64_t>(ids_.size()) < options_.vocab_size && !queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const uint32_t number = pairs_.number(top.pair);
      if (top.count != counts_[number]) {
        queue_.push({counts_[number], top.pair, top.words});
        continue;
      }
      if (top.count < 1 || top.count < options_.min_frequency) break;
      merge(static_cast<int32_t>(top.pair >> 32), static_cast<int32_t>(top.pair & 0xFFFFFFFFu), std::move(word_lists_[top.words]));
      last_merge[top.pair] = merges.size();
      merges.push_back({top.pair, merges.size()});
      queue_touched();
    }
    // Where two pairs spell the same token ("a"+"bc" and "ab"+"c"), its neighbours can enter the queue a second time and be
    // merged twice; the later rank counts, as in the reference.
    for (const auto& [pair, index] : merges) {
      if (last_merge[pair] == index) {
        parts_.merges.push_back({static_cast<int32_t>(pair >> 32), static_cast<int32_t>(pair & 0xFFFFFFFFu)});
      }
    }
    return std::move(parts_);
  }

 private:
  struct Word {
    size_t begin;
    uint32_t size;
    int64_t count;
  };
  struct Candidate {
    int64_t count;
    Pair pair;
    size_t words;  // in word_lists_
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  void change_pair(int32_t left, int32_t right, int64_t change, uint32_t word) {
    const uint32_t number = pairs_.number(make_pair_key(left, right));
    if (number >= counts_.size()) {
      counts_.resize(number + 1, 0);
      touched_words_.resize(number + 1);
    }
    counts_[number] += change;
    if (change > 0) {
      auto& words = touched_words_[number];
      if (words.empty()) touched_.push_back(number);
      if (words.empty() || words.back() != word) words.push_back(word);
    }
  }

  // Queues every pair that appeared anew since the last call, with the words it appeared in.
  void queue_touched() {
    for (const uint32_t number : touched_) {
      if (counts_[number] > 0) {
        queue_.push({counts_[number], pairs_.pair(number), word_lists_.size()});
        word_lists_.push_back(std::move(touched_words_[number]));
      }
      touched_words_[number] = {};
    }
    touched_.clear();
  }

  void merge(int32_t left, int32_t right, std::vector<uint32_t> words) {
    const auto spelling = [&](int32_t id) {
      const auto i = static_cast<size_t>(id);
      return i < options_.special_tokens.size() ? parts_.tokens[i] : to_byte_level(parts_.tokens[i]);
    };
    const auto [found, is_new] =
        ids_.emplace(spelling(left) + spelling(right), static_cast<int32_t>(parts_.tokens.size()));
    const int32_t id = found->second;
    if (is_new) parts_.tokens.push_back(parts_.tokens[static_cast<size_t>(left)] + parts_.tokens[static_cast<size_t>(right)]);
    for (const uint32_t w : words) {
      Word& word = words_[w];
      int32_t* symbols = symbols_.data() + word.begin;
      uint32_t n = 0;  // symbols kept so far
      for (uint32_t i = 0; i < word.size; ++i) {
        if (symbols[i] != left || i + 1 >= word.size || symbols[i + 1] != right) {
          symbols[n++] = symbols[i];
          continue;
        }
        if (n > 0) {
          change_pair(symbols[n - 1], left, -word.count, w);
          change_pair(symbols[n - 1], id, word.count, w);
        }
        if (i + 2 < word.size) {
          change_pair(right, symbols[i + 2], -word.count, w);
          change_pair(id, symbols[i + 2], word.count, w);
        }
        symbols[n++] = id;
        ++i;
      }
      word.size = n;
    }
  }

  const BpeTrainerOptions& options_;
  TokenizerParts parts_;
  std::unordered_map<std::string, int32_t> ids_;  // by spelling
  std::vector<Word> words_;
  std::vector<int32_t> symbols_;
  PairNumbers pairs_;
  std::vector<int64_t> counts_;                      // of each pair
  std::vector<std::vector<uint32_t>> touched_words_;  // of each pair: words in which it appeared since queue_touched()
  std::vector<uint32_t> touched_;
  std::vector<std::vector<uint32_t>> word_lists_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

struct BpeTrainer::Counts {
  explicit Counts(const std::string& pattern) : pretokenizer(pattern) {}
  Pretokenizer pretokenizer;
  std::vector<std::unique_ptr<PieceCounts>> of_thread;
};

BpeTrainer::BpeTrainer(BpeTrainerOptions options) : options_(std::move(options)) {
  const auto minimum = static_cast<int64_t>(256 + options_.special_tokens.size());
  if (options_.vocab_size < minimum) {
    throw Error(ErrorKind::kUsage,
                "a vocabulary of " + std::to_string(options_.vocab_size) + " tokens is too small: 256 bytes and " +
                    std::to_string(options_.special_tokens.size()) + " special tokens take " + std::to_string(minimum),
                "set the vocabulary size to " + std::to_string(minimum) + " or more");
  }
  if (options_.vocab_size > (1 << 24)) {
    throw Error(ErrorKind::kUsage, "a vocabulary of " + std::to_string(options_.vocab_size) + " tokens is too large",
                "set the vocabulary size to 16777216 or less");
  }
  if (options_.min_frequency < 0) throw Error(ErrorKind::kUsage, "the minimum frequency is negative", "set it to 0 or more");
  options_.n_threads = thread_count(options_.n_threads);
  counts_ = std::make_unique<Counts>(named_pattern(options_.pattern));
  for (int t = 0; t < options_.n_threads; ++t) counts_->of_thread.push_back(std::make_unique<PieceCounts>());
}
BpeTrainer::~BpeTrainer() = default;

void BpeTrainer::add(std::span<const std::string_view> texts) {
  std::vector<std::string_view> parts;
  for (const std::string_view text : texts) {
    for (const std::string_view part : counts_->pretokenizer.independent_parts(text, kPartBytes)) parts.push_back(part);
  }
  parallel_for_each(parts.size(), options_.n_threads, [&](size_t thread, size_t i) {
    PieceCounts& counts = *counts_->of_thread[thread];
    PieceReader pieces(counts_->pretokenizer, parts[i]);
    for (std::string_view piece = pieces.next(); !piece.empty(); piece = pieces.next()) counts.add(piece, 1);
  });
}

Tokenizer BpeTrainer::train() const {
  PieceCounts all;
  for (const auto& counts : counts_->of_thread) all.add_all(*counts);
  if (all.size() == 0) throw Error(ErrorKind::kData, "there is no text to train a tokenizer on", "name files that hold text");
  return Tokenizer::from_parts(Merger(all, options_).run());
}

}  // namespace entrain::text
