#include "entrain/eval/contamination.h"

#include <algorithm>
#include <array>
#include <map>
#include <span>

#include "entrain/text/corpus.h"

namespace entrain::eval {
namespace {

constexpr uint64_t kBase = 0x9e3779b97f4a7c15;  // odd: no information of a word is lost when it is shifted

/// The sum of word * kBase^(distance from the last word), modulo 2^64, over a run of a fixed number of words; moves on word by word.
class RollingHash {
 public:
  explicit RollingHash(size_t n_words) : n_words_(n_words) {
    for (size_t i = 0; i < n_words; ++i) leaving_ *= kBase;
  }
  /// words: hashes; call with end = 0, 1, ... Returns the hash of the n words that end at `end`, once there are that many.
  uint64_t move_to(std::span<const uint64_t> words, size_t end) {
    hash_ = end == 0 ? words[0] : hash_ * kBase + words[end];
    if (end >= n_words_) hash_ -= words[end - n_words_] * leaving_;
    return hash_;
  }

 private:
  size_t n_words_;
  uint64_t leaving_ = 1, hash_ = 0;
};

struct Run {
  uint64_t hash;
  uint32_t item, begin;
};

/// The runs of one length, sorted by hash, with a bit table that settles nearly every miss.
class RunIndex {
 public:
  void add(Run run) { runs_.push_back(run); }
  void finish() {
    std::sort(runs_.begin(), runs_.end(), [](const Run& a, const Run& b) { return a.hash < b.hash; });
    for (const Run& run : runs_) seen_[slot(run.hash)] = true;
  }
  std::span<const Run> find(uint64_t hash) const {
    if (!seen_[slot(hash)]) return {};
    const auto [begin, end] = std::equal_range(runs_.begin(), runs_.end(), Run{hash, 0, 0}, [](const Run& a, const Run& b) { return a.hash < b.hash; });
    return {begin, end};
  }

 private:
  static constexpr int kBits = 24;
  static size_t slot(uint64_t hash) { return (hash * 0xff51afd7ed558ccd) >> (64 - kBits); }
  std::vector<Run> runs_;
  std::vector<bool> seen_ = std::vector<bool>(size_t{1} << kBits);
};

bool is_space(unsigned char c) { return c == ' ' || (c >= 9 && c <= 13) || c == '-'; }

/// Length of a general-punctuation character (U+2000 to U+206F) or of U+00A0, U+00A1, U+00AB, U+00B7, U+00BB, U+00BF at `at`; 0: none. separates: white space and dashes.
size_t wide_punctuation(std::string_view text, size_t at, bool& separates) {
  const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  if (byte(0) == 0xc2 && (byte(1) == 0xa0 || byte(1) == 0xa1 || byte(1) == 0xab || byte(1) == 0xb7 || byte(1) == 0xbb || byte(1) == 0xbf)) {
    separates = byte(1) == 0xa0;
    return 2;
  }
  if (byte(0) == 0xe2 && (byte(1) == 0x80 || (byte(1) == 0x81 && byte(2) <= 0xaf))) {
    separates = byte(1) == 0x80 && (byte(2) <= 0x95 || byte(2) == 0xa8 || byte(2) == 0xa9 || byte(2) == 0xaf);
    return 3;
  }
  return 0;
}

std::vector<uint64_t> hashes_of(const std::vector<std::string>& words) {
  std::vector<uint64_t> out;
  out.reserve(words.size());
  for (const std::string& word : words) out.push_back(checksum(word));
  return out;
}

}  // namespace

std::vector<std::string> overlap_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    bool separates = false;
    if (is_space(c)) {
      end_word();
    } else if (const size_t n = c >= 0x80 ? wide_punctuation(text, i, separates) : 0) {
      if (separates) end_word();
      i += n - 1;
    } else if (c >= 'A' && c <= 'Z') {
      word += static_cast<char>(c + 32);
    } else if (c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      word += static_cast<char>(c);
    }
  }
  end_word();
  return words;
}

std::vector<Overlap> find_overlaps(const std::vector<std::string>& texts, const std::vector<fs::path>& training) {
  std::vector<Overlap> out(texts.size(), Overlap::kClean);
  std::vector<std::vector<std::string>> items;
  std::map<size_t, RunIndex> indexes;
  for (const std::string& text : texts) {
    const auto item = static_cast<uint32_t>(items.size());
    const std::vector<std::string>& words = items.emplace_back(overlap_words(text));
    if (words.size() < kShortestOverlapWords) {
      out[item] = Overlap::kNotCheckable;
      continue;
    }
    const size_t n_words = std::min(words.size(), kOverlapWords);
    RunIndex& index = indexes[n_words];
    RollingHash rolling(n_words);
    const std::vector<uint64_t> hashes = hashes_of(words);
    for (size_t end = 0; end < words.size(); ++end) {
      const uint64_t hash = rolling.move_to(hashes, end);
      if (end + 1 >= n_words) index.add({hash, item, static_cast<uint32_t>(end + 1 - n_words)});
    }
  }
  for (auto& [n_words, index] : indexes) index.finish();

  text::for_each_document(training, [&](text::Document document) {
    const std::vector<std::string> words = overlap_words(document.text);
    const std::vector<uint64_t> hashes = hashes_of(words);
    for (const auto& [n_words, index] : indexes) {
      RollingHash rolling(n_words);
      for (size_t end = 0; end < words.size(); ++end) {
        const uint64_t hash = rolling.move_to(hashes, end);
        if (end + 1 < n_words) continue;
        for (const Run& run : index.find(hash)) {
          if (out[run.item] == Overlap::kContaminated) continue;
          const auto begin = words.begin() + static_cast<std::ptrdiff_t>(end + 1 - n_words);
          if (std::equal(begin, begin + static_cast<std::ptrdiff_t>(n_words), items[run.item].begin() + run.begin)) out[run.item] = Overlap::kContaminated;
        }
      }
    }
  });
  return out;
}

}  // namespace entrain::eval
