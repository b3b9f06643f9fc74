#include "entrain/modalities/items.h"

#include <map>

#include "entrain/base/error.h"
#include "entrain/base/files.h"
#include "entrain/text/corpus.h"

namespace entrain::modalities {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v'; }

/// Code points: bytes that do not continue one.
int64_t count_characters(std::string_view text) {
  int64_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return n;
}

/// ASCII letters in lower case and all bytes beyond ASCII: what must differ for two sentences to count as two.
std::string letters(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= 'A' && c <= 'Z') out += static_cast<char>(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80) out += c;
  }
  return out;
}

}  // namespace

uint64_t Items::fingerprint() const {
  Checksum sum;
  for (const std::string& line : lines) {
    sum.update(line.data(), line.size());
    sum.update("\n", 1);
  }
  sum.update(&n_train, sizeof n_train);
  return sum.digest();
}

std::vector<std::string> sentences(std::string_view line) {
  std::vector<std::string> out;
  std::string sentence;
  for (const char c : line) {
    if (!is_space(c)) {
      sentence += c;
      continue;
    }
    if (sentence.empty()) continue;
    const char last = sentence.back();
    if (last == '.' || last == '?' || last == '!') {
      out.push_back(std::move(sentence));
      sentence.clear();
    } else if (last != ' ') {
      sentence += ' ';
    }
  }
  while (!sentence.empty() && sentence.back() == ' ') sentence.pop_back();
  if (!sentence.empty()) out.push_back(std::move(sentence));
  return out;
}

Items draw_items(const Config& config) {
  const int64_t n_wanted = config.items + config.held_out;
  std::map<uint64_t, std::string> lowest;  // the n_wanted smallest checksums
  const auto offer = [&](std::string sentence) {
    const int64_t n = count_characters(sentence);
    if (n < config.min_characters || n > config.max_characters) return;
    const auto [place, added] = lowest.try_emplace(checksum(letters(sentence)), sentence);
    if (!added && sentence < place->second) place->second = std::move(sentence);  // so that the order of files does not matter
    if (std::ssize(lowest) > n_wanted) lowest.erase(std::prev(lowest.end()));
  };
  text::for_each_document({config.text}, [&](const text::Document& document) {
    for (size_t begin = 0; begin < document.text.size();) {
      const size_t end = std::min(document.text.find('\n', begin), document.text.size());
      for (std::string& sentence : sentences(std::string_view(document.text).substr(begin, end - begin))) offer(std::move(sentence));
      begin = end + 1;
    }
  });
  if (std::ssize(lowest) < n_wanted) {
    throw Error(ErrorKind::kData, config.text + " has " + std::to_string(lowest.size()) + " different sentences of " + std::to_string(config.min_characters) + " to " +
                std::to_string(config.max_characters) + " characters, " + std::to_string(n_wanted) + " are asked for",
                "lower modalities.items or modalities.held_out, or give more text");
  }
  std::vector<std::string> held_out;
  Items items;
  for (auto& [sum, sentence] : lowest) (std::ssize(held_out) < config.held_out ? held_out : items.lines).push_back(std::move(sentence));
  items.n_train = std::ssize(items.lines);
  items.lines.insert(items.lines.end(), held_out.begin(), held_out.end());
  return items;
}

}  // namespace entrain::modalities
