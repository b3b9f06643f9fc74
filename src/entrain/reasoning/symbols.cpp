#include "entrain/reasoning/symbols.h"

#include <algorithm>
#include <array>

#include "entrain/base/error.h"

namespace entrain::reasoning {
namespace {

using Pool = std::vector<std::string>;

// Single letters and, after them, codes of two letters out of the same letters, so that the vocabularies stay disjoint.
Pool letters(std::string_view alphabet) {
  Pool pool;
  for (const char c : alphabet) pool.push_back(std::string(1, c));
  for (const char a : alphabet) {
    for (const char b : alphabet) {
      if (a != b) pool.push_back({a, b});
    }
  }
  return pool;
}

const Pool kLowerTrained = letters("abcdefghijklmnopqr"), kLowerUnseen = letters("stuvwxyz");
const Pool kUpperTrained = letters("ABCDEFGHIJKLMNOPQR"), kUpperUnseen = letters("STUVWXYZ");

const Pool kNounTrained = {"wug",  "blicket", "zib",  "tove", "gazzer", "fep",  "modi",  "toma", "koba",  "lorp",
                           "dack", "rimp",    "narp", "plin", "sorg",   "vint", "crel",  "dorf", "flim",  "gorn",
                           "hulp", "jarn",    "kelt", "lumbo", "mipp",  "nosk", "pilk",  "quen", "rafe",  "snerl",
                           "trop", "urt",     "vorn", "welp", "yarb",   "zorn", "bonk",  "chell", "drim", "frood"};
const Pool kNounUnseen = {"tulver", "grine", "spod",  "wampo", "brill", "glorb", "hask", "jelt",
                          "kneed",  "larm",  "murk",  "nelp",  "orb",   "pramp", "roft", "skeem",
                          "tarn",   "ulb",   "veck",  "wirt",  "yolp",  "zamp",  "clune", "dweeb"};
const Pool kAdjectiveTrained = {"red",   "old",   "cold",  "big",    "kind",  "round", "loud",  "slow",  "green", "soft",
                                "young", "warm",  "small", "rough",  "quiet", "fast",  "blue",  "hard",  "wet",   "bright",
                                "heavy", "sweet", "tall",  "smooth", "brave", "clean", "dark",  "deep",  "dry",   "early",
                                "full",  "gentle", "happy", "hot",   "large", "late",  "light", "long",  "mild",  "new"};
const Pool kAdjectiveUnseen = {"pale",  "proud", "quick", "rare",  "ripe",   "sharp", "shiny", "short",
                               "sour",  "steep", "stiff", "strong", "thick", "thin",  "tidy",  "tiny",
                               "vague", "vast",  "white", "wide",  "wild",   "wise",  "yellow", "zany"};
const Pool kPersonTrained = {"Ann",  "Bo",   "Cleo", "Dan",  "Eve",  "Finn", "Gus",  "Hal",  "Ida",  "Jon",
                             "Kim",  "Leo",  "Mia",  "Ned",  "Ola",  "Pam",  "Quin", "Ray",  "Sue",  "Tom",
                             "Una",  "Vic",  "Wes",  "Xia",  "Yan",  "Zoe",  "Abe",  "Bea",  "Cal",  "Dot",
                             "Eli",  "Fay",  "Gil",  "Hope", "Ian",  "Joy",  "Ken",  "Lou",  "Max",  "Nan"};
const Pool kPersonUnseen = {"Otto", "Paul", "Rita", "Saul", "Tess", "Ugo",  "Vera", "Walt",
                            "Xena", "Yuri", "Zack", "Alma", "Burt", "Cora", "Dirk", "Edna",
                            "Fred", "Gwen", "Hugo", "Iris", "Jack", "Kate", "Lars", "Mona"};

uint64_t mix(uint64_t hash, uint64_t value) {  // splitmix64's finaliser
  uint64_t z = hash * 0x9E3779B97F4A7C15ull + value + 0x7F4A7C15F39CC060ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

uint64_t hash_of(std::string_view text) {
  uint64_t hash = text.size();
  for (const char c : text) hash = mix(hash, static_cast<unsigned char>(c));
  return hash;
}

size_t n_distinct(std::vector<uint64_t> values) {
  std::sort(values.begin(), values.end());
  return static_cast<size_t>(std::unique(values.begin(), values.end()) - values.begin());
}

}  // namespace

std::vector<std::string_view> split_views(std::string_view text) {
  std::vector<std::string_view> pieces;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) pieces.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return pieces;
}

std::vector<std::string> split_symbols(std::string_view text) {
  const auto views = split_views(text);
  return {views.begin(), views.end()};
}

std::string join(std::span<const std::string> pieces, std::string_view separator) {
  std::string text;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0) text += separator;
    text += pieces[i];
  }
  return text;
}

std::vector<std::string> split_at(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts(1);
  for (const std::string_view symbol : split_views(text)) {
    if (symbol == separator) {
      parts.emplace_back();
    } else {
      if (!parts.back().empty()) parts.back() += ' ';
      parts.back() += symbol;
    }
  }
  return parts;
}

std::string sorted_symbols(std::string_view text) {
  auto symbols = split_views(text);
  std::sort(symbols.begin(), symbols.end());
  std::string sorted;
  for (const std::string_view symbol : symbols) (sorted += symbol) += ' ';
  return sorted;
}

std::span<const std::string> name_pool(NameKind kind, Names names) {
  const bool trained = names == Names::kTrained;
  switch (kind) {
    case NameKind::kLower: return trained ? kLowerTrained : kLowerUnseen;
    case NameKind::kUpper: return trained ? kUpperTrained : kUpperUnseen;
    case NameKind::kNoun: return trained ? kNounTrained : kNounUnseen;
    case NameKind::kAdjective: return trained ? kAdjectiveTrained : kAdjectiveUnseen;
    case NameKind::kPerson: return trained ? kPersonTrained : kPersonUnseen;
  }
  return {};
}

std::vector<std::string> draw_names(RandomStream& random, NameKind kind, Names names, size_t n) {
  const auto all = name_pool(kind, names);
  ENTRAIN_CHECK(n <= all.size(), std::to_string(n) + " names");
  const bool has_codes = kind == NameKind::kLower || kind == NameKind::kUpper;
  const size_t n_letters = names == Names::kTrained ? 18 : 8;
  // From the letters as far as they go, the rest from the codes.
  const size_t n_common = has_codes ? n_letters : all.size();
  std::vector<std::string> drawn;
  const auto take = [&](std::span<const std::string> pool, size_t count) {
    std::vector<uint32_t> order(pool.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    for (size_t i = 0; i < count; ++i) {
      std::swap(order[i], order[i + random.next_below(order.size() - i)]);
      drawn.push_back(pool[order[i]]);
    }
  };
  take(all.subspan(0, n_common), std::min(n, n_common));
  if (n > n_common) {
    take(all.subspan(n_common), n - n_common);
    shuffle(drawn, random);
  }
  return drawn;
}

std::string structure_form(std::span<const std::string> labels, std::span<const Relation> relations) {
  std::vector<uint64_t> colors(labels.size()), next(labels.size()), label_hashes(relations.size());
  for (size_t i = 0; i < labels.size(); ++i) colors[i] = hash_of(labels[i]);
  for (size_t i = 0; i < relations.size(); ++i) label_hashes[i] = hash_of(relations[i].label);
  for (size_t before = 0, now = n_distinct(colors); now > before;) {
    for (size_t i = 0; i < colors.size(); ++i) next[i] = mix(colors[i], 1);
    for (size_t r = 0; r < relations.size(); ++r) {
      uint64_t whole = label_hashes[r];
      for (const int object : relations[r].objects) whole = mix(whole, colors[static_cast<size_t>(object)]);
      // A sum over statements does not depend on their order.
      uint64_t place = 0;
      for (const int object : relations[r].objects) next[static_cast<size_t>(object)] += mix(whole, ++place);
    }
    colors.swap(next);
    before = now;
    now = n_distinct(colors);
  }
  std::vector<uint64_t> ranked = colors;
  std::sort(ranked.begin(), ranked.end());
  const auto rank = [&](size_t object) {
    return std::to_string(std::lower_bound(ranked.begin(), ranked.end(), colors[object]) - ranked.begin());
  };
  std::vector<std::string> lines;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (!labels[i].empty()) lines.push_back(rank(i) + ":" + labels[i]);
  }
  for (const Relation& relation : relations) {
    std::string line = relation.label;
    for (const int object : relation.objects) line += ' ' + rank(static_cast<size_t>(object));
    lines.push_back(line);
  }
  std::sort(lines.begin(), lines.end());
  return join(lines, ";");
}

}  // namespace entrain::reasoning
