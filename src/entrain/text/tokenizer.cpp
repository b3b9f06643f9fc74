#include "entrain/text/tokenizer.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <limits>
#include <queue>
#include <unordered_map>

#include "entrain/base/error.h"
#include "entrain/base/foreign_json.h"
#include "entrain/text/byte_level.h"
#include "entrain/text/nfc.h"
#include "entrain/text/parallel.h"
#include "entrain/text/pretokenizer.h"

namespace entrain::text {
namespace {

constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();
constexpr size_t kPartBytes = size_t{1} << 20;
constexpr size_t kBytesPerId = 4;  // a vocabulary's entry takes more; ids may have gaps

struct Merge {
  uint32_t rank = kNoRank;
  int32_t id = -1;
};

/// Pair of ids -> merge: open addressing, at most half full.
class MergeTable {
 public:
  void reserve(size_t n) {
    size_t capacity = 16;
    while (capacity < 2 * n) capacity *= 2;
    slots_.assign(capacity, Slot{});
    mask_ = capacity - 1;
  }
  /// A pair listed twice keeps its later rank, as in Hugging Face's reader.
  void insert(int32_t left, int32_t right, Merge merge) {
    Slot& slot = slots_[find(key(left, right))];
    slot.key = key(left, right);
    slot.merge = merge;
  }
  Merge lookup(int32_t left, int32_t right) const { return slots_[find(key(left, right))].merge; }

 private:
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static uint64_t key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  size_t find(uint64_t wanted) const {
    size_t i = static_cast<size_t>((wanted * 0x9E3779B97F4A7C15ull) >> 20) & mask_;
    while (slots_[i].key != wanted && slots_[i].key != kEmpty) i = (i + 1) & mask_;
    return i;
  }
  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

struct AddedToken {
  std::string content;
  int32_t id;
  bool special;
};

}  // namespace

struct Tokenizer::Model {
  std::string json;
  std::vector<std::string> tokens;    // bytes of each id
  std::vector<uint8_t> exists;        // ids may have gaps
  std::vector<uint8_t> is_special;
  std::unordered_map<std::string, int32_t> spelling_to_id;
  std::unordered_map<std::string_view, int32_t> bytes_to_id;  // whole pieces, filled only with ignore_merges
  std::array<int32_t, 256> byte_ids{};  // -1: no token, the byte is left out
  MergeTable merges;
  std::vector<AddedToken> added;      // longest first
  std::array<bool, 256> starts_added{};
  Pretokenizer pretokenizer{""};
  bool normalizes = false;            // NFC
  uint64_t fingerprint = 0;
};

/// Encodes on one thread: remembers the ids of the pieces it has seen.
class Tokenizer::Worker {
 public:
  explicit Worker(const Model& model) : model_(model) { grow(256); }

  void encode(std::string_view text, Specials specials, std::vector<int32_t>& out) {
    for (const Stretch& stretch : split_added(text, specials)) {
      if (stretch.added_id >= 0) {
        out.push_back(stretch.added_id);
      } else if (model_.normalizes) {
        encode_text(to_nfc(stretch.text), out);
      } else {
        encode_text(stretch.text, out);
      }
    }
  }

  void encode_text(std::string_view text, std::vector<int32_t>& out) {
    PieceReader pieces(model_.pretokenizer, text);
    for (std::string_view piece = pieces.next(); !piece.empty(); piece = pieces.next()) encode_piece(piece, out);
  }

  struct Stretch {
    std::string_view text;
    int32_t added_id;  // or -1: ordinary text
  };

  // Leftmost-longest added tokens, and the text between them.
  std::vector<Stretch> split_added(std::string_view text, Specials specials) const {
    std::vector<Stretch> stretches;
    size_t begin = 0;
    for (size_t i = 0; i < text.size() && !model_.added.empty();) {
      const AddedToken* found = nullptr;
      if (model_.starts_added[static_cast<unsigned char>(text[i])]) {
        for (const AddedToken& token : model_.added) {
          if (specials == Specials::kAsText && token.special) continue;
          if (text.substr(i).starts_with(token.content)) {
            found = &token;
            break;
          }
        }
      }
      if (found == nullptr) {
        ++i;
        continue;
      }
      if (i > begin) stretches.push_back({text.substr(begin, i - begin), -1});
      stretches.push_back({text.substr(i, found->content.size()), found->id});
      i += found->content.size();
      begin = i;
    }
    if (begin < text.size()) stretches.push_back({text.substr(begin), -1});
    return stretches;
  }

 private:
  struct Slot {
    uint64_t hash = 0;
    uint32_t key_begin = 0, ids_begin = 0;
    uint16_t key_size = 0;  // 0: empty slot
    uint16_t n_ids = 0;
  };
  static constexpr size_t kMaxCachedBytes = 256;
  static constexpr size_t kMaxCached = size_t{1} << 20;

  void encode_piece(std::string_view piece, std::vector<int32_t>& out) {
    if (piece.size() > kMaxCachedBytes) {
      merge_piece(piece);
      out.insert(out.end(), ids_.begin(), ids_.end());
      return;
    }
    const uint64_t hash = XXH3_64bits(piece.data(), piece.size());
    size_t i = static_cast<size_t>(hash) & mask_;
    for (; slots_[i].key_size != 0; i = (i + 1) & mask_) {
      const Slot& slot = slots_[i];
      if (slot.hash == hash && std::string_view(keys_).substr(slot.key_begin, slot.key_size) == piece) {
        const int32_t* ids = cached_ids_.data() + slot.ids_begin;
        out.insert(out.end(), ids, ids + slot.n_ids);
        return;
      }
    }
    merge_piece(piece);
    out.insert(out.end(), ids_.begin(), ids_.end());
    if (n_cached_ == kMaxCached) return;
    slots_[i] = {hash, static_cast<uint32_t>(keys_.size()), static_cast<uint32_t>(cached_ids_.size()),
                 static_cast<uint16_t>(piece.size()), static_cast<uint16_t>(ids_.size())};
    keys_ += piece;
    cached_ids_.insert(cached_ids_.end(), ids_.begin(), ids_.end());
    if (2 * ++n_cached_ > slots_.size()) grow(4 * slots_.size());
  }

  void grow(size_t capacity) {
    const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(capacity));
    mask_ = capacity - 1;
    for (const Slot& slot : old) {
      if (slot.key_size == 0) continue;
      size_t i = static_cast<size_t>(slot.hash) & mask_;
      while (slots_[i].key_size != 0) i = (i + 1) & mask_;
      slots_[i] = slot;
    }
  }

  // Fills ids_: the merge of lowest rank first, of equal ones the leftmost.
  void merge_piece(std::string_view piece) {
    ids_.clear();
    if (!model_.bytes_to_id.empty()) {
      const auto whole = model_.bytes_to_id.find(piece);
      if (whole != model_.bytes_to_id.end()) {
        ids_.push_back(whole->second);
        return;
      }
    }
    for (const char c : piece) {
      if (const int32_t id = model_.byte_ids[static_cast<unsigned char>(c)]; id >= 0) ids_.push_back(id);
    }
    if (ids_.size() <= 48) {
      merge_short();
    } else {
      merge_long();
    }
  }

  void merge_short() {
    size_t n = ids_.size();
    std::array<Merge, 48> ahead;  // merge of ids_[i] with its right neighbour
    for (size_t i = 0; i + 1 < n; ++i) ahead[i] = model_.merges.lookup(ids_[i], ids_[i + 1]);
    while (n > 1) {
      size_t best = 0;
      for (size_t i = 1; i + 1 < n; ++i) {
        if (ahead[i].rank < ahead[best].rank) best = i;
      }
      if (ahead[best].rank == kNoRank) break;
      ids_[best] = ahead[best].id;
      for (size_t i = best + 1; i + 1 < n; ++i) {
        ids_[i] = ids_[i + 1];
        ahead[i] = ahead[i + 1 < n - 1 ? i + 1 : i];
      }
      --n;
      if (best + 1 < n) ahead[best] = model_.merges.lookup(ids_[best], ids_[best + 1]);
      if (best > 0) ahead[best - 1] = model_.merges.lookup(ids_[best - 1], ids_[best]);
    }
    ids_.resize(n);
  }

  // A heap of candidate merges over a linked list: n log n, for pieces such as a megabyte of one letter.
  void merge_long() {
    struct Candidate {
      uint32_t rank, position;
      int32_t left, right, id;
      bool operator>(const Candidate& other) const {
        return rank != other.rank ? rank > other.rank : position > other.position;
      }
    };
    const auto n = static_cast<uint32_t>(ids_.size());
    std::vector<uint32_t> previous(n), next(n);
    for (uint32_t i = 0; i < n; ++i) {
      previous[i] = i - 1;  // wraps for 0; never used
      next[i] = i + 1;
    }
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
    const auto consider = [&](uint32_t i) {
      if (next[i] >= n) return;
      const Merge merge = model_.merges.lookup(ids_[i], ids_[next[i]]);
      if (merge.rank != kNoRank) queue.push({merge.rank, i, ids_[i], ids_[next[i]], merge.id});
    };
    for (uint32_t i = 0; i < n; ++i) consider(i);
    while (!queue.empty()) {
      const Candidate top = queue.top();
      queue.pop();
      const uint32_t i = top.position;
      if (ids_[i] != top.left || next[i] >= n || ids_[next[i]] != top.right) continue;  // merged since
      ids_[i] = top.id;
      const uint32_t gone = next[i];
      ids_[gone] = -1;
      next[i] = next[gone];
      if (next[i] < n) previous[next[i]] = i;
      consider(i);
      if (i > 0) consider(previous[i]);
    }
    std::erase(ids_, -1);
  }

  const Model& model_;
  std::vector<Slot> slots_;
  size_t mask_ = 0, n_cached_ = 0;
  std::string keys_;
  std::vector<int32_t> cached_ids_;
  std::vector<int32_t> ids_;
};

namespace {

/// Reads a tokenizer.json into a Model, refusing whatever would change ids and is not implemented.
class ModelReader {
 public:
  ModelReader(const std::string& name) : name_(name) {}

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorKind::kData, name_ + ": " + what,
                "only byte-level BPE tokenizers (GPT-2, Llama-3, Qwen2 and the like) can be used; "
                "train one with `entrain tokenizer train`");
  }

  const Json& require(const Json& object, const char* key) const {
    if (!object.is_object() || !object.contains(key)) refuse(std::string("lacks '") + key + "'");
    return object.at(key);
  }

  // The value of a key that may be missing or null.
  template <typename T>
  T optional(const Json& object, const char* key, T fallback) const {
    if (!object.contains(key) || object.at(key).is_null()) return fallback;
    return object.at(key).get<T>();
  }

  std::string read_pattern(const Json& pre) const {
    const Json* byte_level = nullptr;
    std::string pattern;
    const std::string type = pre.is_object() ? optional<std::string>(pre, "type", "") : "";
    if (type == "ByteLevel") {
      byte_level = &pre;
      if (optional(pre, "use_regex", true)) pattern = named_pattern("gpt2");
    } else if (type == "Sequence" && require(pre, "pretokenizers").size() == 2) {
      const Json& split = pre.at("pretokenizers").at(0);
      byte_level = &pre.at("pretokenizers").at(1);
      const bool digits = require(split, "type") == "Digits";
      if ((!digits && split.at("type") != "Split") || require(*byte_level, "type") != "ByteLevel") {
        refuse("has a pre-tokenizer sequence other than Split, ByteLevel or Digits, ByteLevel");
      }
      if (digits) {
        if (!optional(split, "individual_digits", false) || !optional(*byte_level, "use_regex", true)) {
          refuse("has a Digits pre-tokenizer that keeps digits together, or no pattern after it");
        }
        if (optional(*byte_level, "add_prefix_space", true)) refuse("adds a space before the text (add_prefix_space)");
        return named_pattern("smollm");
      }
      if (optional<std::string>(split, "behavior", "") != "Isolated" || optional(split, "invert", false) ||
          !require(split, "pattern").contains("Regex")) {
        refuse("has a Split pre-tokenizer that is not {Regex, Isolated}");
      }
      if (optional(*byte_level, "use_regex", true)) refuse("splits twice: by a Split pattern and ByteLevel's own");
      pattern = split.at("pattern").at("Regex").get<std::string>();
    }
    if (pattern.empty()) refuse("has a pre-tokenizer that is not byte-level with a split pattern");
    if (optional(*byte_level, "add_prefix_space", true)) refuse("adds a space before the text (add_prefix_space)");
    return pattern;
  }

  bool read_normalizer(const Json& document) const {
    if (!document.contains("normalizer") || document.at("normalizer").is_null()) return false;
    const std::string type = optional<std::string>(document.at("normalizer"), "type", "");
    if (type != "NFC") refuse("has the normalizer '" + type + "'; only NFC or none can be used");
    return true;
  }

  void check_model(const Json& model) const {
    if (optional<std::string>(model, "type", "BPE") != "BPE") {
      refuse("is a " + model.at("type").get<std::string>() + " model, not BPE");
    }
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!optional<std::string>(model, key, "").empty()) refuse(std::string("uses ") + key);
    }
    if (optional(model, "byte_fallback", false)) refuse("uses byte_fallback: it is not byte-level");
    if (optional(model, "dropout", 0.0) != 0.0) refuse("uses dropout");
  }

 private:
  const std::string& name_;
};

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Model> model) : model_(std::move(model)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const fs::path& path) { return parse(read_file(path), path.string()); }

Tokenizer Tokenizer::parse(std::string json, const std::string& name) try {
  const ModelReader reader(name);
  auto model = std::make_unique<Model>();
  const Json document = parse_foreign<Json>(json);
  const Json& bpe = reader.require(document, "model");
  reader.check_model(bpe);
  model->json = std::move(json);
  model->pretokenizer = Pretokenizer(reader.read_pattern(reader.require(document, "pre_tokenizer")));
  model->normalizes = reader.read_normalizer(document);

  const auto add = [&](int64_t id, const std::string& spelling, std::string bytes, bool special) {
    if (id < 0 || id >= (1 << 24)) reader.refuse("has id " + std::to_string(id) + ", outside [0, 2^24)");
    if (static_cast<size_t>(id) >= model->json.size() / kBytesPerId) reader.refuse("has id " + std::to_string(id) + ", more than a file of its size can number");
    const auto i = static_cast<size_t>(id);
    if (i >= model->tokens.size()) {
      model->tokens.resize(i + 1);
      model->exists.resize(i + 1, 0);
      model->is_special.resize(i + 1, 0);
    }
    model->tokens[i] = std::move(bytes);
    model->exists[i] = 1;
    model->is_special[i] = special ? 1 : 0;
    model->spelling_to_id[spelling] = static_cast<int32_t>(id);
  };

  for (const auto& [spelling, id] : reader.require(bpe, "vocab").items()) {
    add(id.get<int64_t>(), spelling, from_byte_level(spelling), false);
  }
  std::vector<size_t> absent;  // some vocabularies lack bytes that their training text never held
  const auto unknown = model->spelling_to_id.find(reader.optional<std::string>(bpe, "unk_token", ""));
  for (size_t b = 0; b < 256; ++b) {
    const auto found = model->spelling_to_id.find(byte_character(static_cast<unsigned char>(b)));
    if (found == model->spelling_to_id.end()) absent.push_back(b);
    model->byte_ids[b] = found != model->spelling_to_id.end() ? found->second : unknown != model->spelling_to_id.end() ? unknown->second : -1;
  }
  if (absent.size() > 128) reader.refuse("has no token for byte " + std::to_string(absent.front()) + " and " + std::to_string(absent.size() - 1) + " others: it is not byte-level");
  if (!absent.empty() && unknown != model->spelling_to_id.end() && reader.optional(bpe, "fuse_unk", false)) {
    reader.refuse("has no token for byte " + std::to_string(absent.front()) + " and uses fuse_unk");
  }

  const bool ignore_merges = reader.optional(bpe, "ignore_merges", false);
  const Json& merges = reader.require(bpe, "merges");
  model->merges.reserve(merges.size());
  std::vector<int32_t> merge_ids;
  merge_ids.reserve(3 * merges.size());
  uint32_t rank = 0;
  for (const Json& merge : merges) {
    std::string left, right;
    if (merge.is_array() && merge.size() == 2) {
      left = merge.at(0).get<std::string>();
      right = merge.at(1).get<std::string>();
    } else {
      const std::string both = merge.get<std::string>();
      const size_t space = both.find(' ');
      left = both.substr(0, space);
      right = space == std::string::npos ? "" : both.substr(space + 1);
    }
    int32_t ids[3];
    const std::string parts[3] = {left, right, left + right};
    for (int k = 0; k < 3; ++k) {
      const auto found = model->spelling_to_id.find(parts[k]);
      if (found == model->spelling_to_id.end()) {
        reader.refuse("merge " + std::to_string(rank) + " ('" + left + "', '" + right + "') needs the token '" + parts[k] +
                      "', which the vocabulary lacks");
      }
      ids[k] = found->second;
    }
    model->merges.insert(ids[0], ids[1], {rank++, ids[2]});
    merge_ids.insert(merge_ids.end(), ids, ids + 3);
  }

  if (document.contains("added_tokens") && !document.at("added_tokens").is_null()) {
    for (const Json& token : document.at("added_tokens")) {
      const std::string content = reader.require(token, "content").get<std::string>();
      for (const char* key : {"single_word", "lstrip", "rstrip"}) {
        if (reader.optional(token, key, false)) reader.refuse("the added token '" + content + "' uses " + key);
      }
      if (content.empty()) reader.refuse("has an empty added token");
      const auto id = reader.require(token, "id").get<int64_t>();
      const bool special = reader.optional(token, "special", false);
      add(id, content, content, special);
      model->added.push_back({content, static_cast<int32_t>(id), special});
      model->starts_added[static_cast<unsigned char>(content[0])] = true;
    }
    std::stable_sort(model->added.begin(), model->added.end(),
                     [](const AddedToken& a, const AddedToken& b) { return a.content.size() > b.content.size(); });
  }
  if (ignore_merges) {
    for (size_t id = 0; id < model->tokens.size(); ++id) {
      if (model->exists[id] && !model->is_special[id]) model->bytes_to_id.emplace(model->tokens[id], static_cast<int32_t>(id));
    }
  }

  Checksum sum;
  const auto add_number = [&](uint64_t value) { sum.update(&value, sizeof value); };
  const auto add_text = [&](std::string_view value) {
    add_number(value.size());
    sum.update(value.data(), value.size());
  };
  add_number(model->tokens.size());
  for (size_t id = 0; id < model->tokens.size(); ++id) {
    add_number(uint64_t{model->exists[id]} | uint64_t{model->is_special[id]} << 1);
    add_text(model->tokens[id]);
  }
  add_number(merge_ids.size());
  sum.update(merge_ids.data(), merge_ids.size() * sizeof(int32_t));
  add_number(model->added.size());
  for (const AddedToken& token : model->added) add_number(static_cast<uint64_t>(token.id));
  add_text(model->pretokenizer.pattern());
  add_number((ignore_merges ? 1u : 0u) | (model->normalizes ? 2u : 0u));
  model->fingerprint = sum.digest();
  return Tokenizer(std::move(model));
} catch (const Json::exception& error) {
  throw Error(ErrorKind::kData, name + " is not a valid tokenizer.json: " + error.what(),
              "download or train the tokenizer again");
}

const std::string& Tokenizer::to_json() const { return model_->json; }
void Tokenizer::save(const fs::path& path) const { write_file(path, model_->json); }

std::vector<int32_t> Tokenizer::encode(std::string_view text, Specials specials) const {
  std::vector<int32_t> ids;
  Worker(*model_).encode(text, specials, ids);
  return ids;
}

std::vector<std::vector<int32_t>> Tokenizer::encode_batch(std::span<const std::string_view> texts, Specials specials,
                                                          int n_threads) const {
  // Long texts are cut where no piece can span the cut; the parts of one text are joined again in order.
  struct Part {
    size_t text;
    Worker::Stretch stretch;
    std::vector<int32_t> ids;
  };
  std::vector<Part> parts;
  const Worker splitter(*model_);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() <= 2 * kPartBytes || model_->normalizes) {
      parts.push_back({i, {texts[i], -1}, {}});
      continue;
    }
    for (const Worker::Stretch& stretch : splitter.split_added(texts[i], specials)) {
      if (stretch.added_id >= 0) {
        parts.push_back({i, stretch, {}});
      } else {
        for (const std::string_view part : model_->pretokenizer.independent_parts(stretch.text, kPartBytes)) {
          parts.push_back({i, {part, -1}, {}});
        }
      }
    }
  }
  n_threads = thread_count(n_threads);
  std::vector<std::unique_ptr<Worker>> workers;
  for (int t = 0; t < n_threads; ++t) workers.push_back(std::make_unique<Worker>(*model_));
  parallel_for_each(parts.size(), n_threads, [&](size_t thread, size_t i) {
    Part& part = parts[i];
    if (part.stretch.added_id >= 0) {
      part.ids.push_back(part.stretch.added_id);
    } else {
      part.ids.reserve(part.stretch.text.size() / 4);
      workers[thread]->encode(part.stretch.text, specials, part.ids);
    }
  });
  std::vector<std::vector<int32_t>> out(texts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    auto& ids = out[parts[i].text];
    if (ids.empty()) {
      ids = std::move(parts[i].ids);
    } else {
      ids.insert(ids.end(), parts[i].ids.begin(), parts[i].ids.end());
    }
  }
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string out;
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size() || !model_->exists[static_cast<size_t>(id)]) {
      throw Error(ErrorKind::kData, "id " + std::to_string(id) + " is not in the tokenizer's vocabulary of " +
                                        std::to_string(vocab_size()),
                  "use the tokenizer that made the ids");
    }
    out += model_->tokens[static_cast<size_t>(id)];
  }
  return out;
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(model_->tokens.size()); }

std::optional<int32_t> Tokenizer::token_id(std::string_view spelling) const {
  const auto found = model_->spelling_to_id.find(std::string(spelling));
  if (found == model_->spelling_to_id.end()) return std::nullopt;
  return found->second;
}

std::optional<int32_t> Tokenizer::eos_id() const {
  for (const char* spelling : {"<|endoftext|>", "<|end_of_text|>", "</s>"}) {
    if (const auto id = token_id(spelling)) return id;
  }
  return std::nullopt;
}

std::vector<int32_t> Tokenizer::token_byte_lengths() const {
  std::vector<int32_t> lengths(model_->tokens.size());
  for (size_t id = 0; id < lengths.size(); ++id) {
    lengths[id] = model_->is_special[id] ? 0 : static_cast<int32_t>(model_->tokens[id].size());
  }
  return lengths;
}

uint64_t Tokenizer::fingerprint() const { return model_->fingerprint; }
const std::string& Tokenizer::pattern() const { return model_->pretokenizer.pattern(); }

}  // namespace entrain::text
