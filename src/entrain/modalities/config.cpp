#include "entrain/modalities/config.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "entrain/base/error.h"

namespace entrain::modalities {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end = text.find(separator); end != std::string::npos; end = text.find(separator, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

/// Collects what is wrong; throws it as one error.
class Problems {
 public:
  void need(bool good, const std::string& problem) {
    if (!good) problems_.push_back(problem);
  }
  void throw_any() const {
    if (problems_.empty()) return;
    std::string message = problems_.size() == 1 ? "the recipe has a problem: " : std::to_string(problems_.size()) + " problems in the recipe:";
    for (const std::string& problem : problems_) message += problems_.size() == 1 ? problem : "\n  - " + problem;
    throw Error(ErrorKind::kUsage, message, "docs/methods/modalities.md says what each key means");
  }

 private:
  std::vector<std::string> problems_;
};

void check_names(Problems& problems, const std::string& key, const std::vector<std::string>& names) {
  const std::vector<std::string>& known = modality_names();
  for (const std::string& name : names) {
    const std::string near = nearest_name(name, known);
    problems.need(std::find(known.begin(), known.end(), name) != known.end(),
                  key + ": there is no modality \"" + name + "\"" + (near.empty() ? "; there are bytes, bpe, glyphs and speech" : "; did you mean " + near + "?"));
  }
  problems.need(names.size() >= 2, key + " needs two modalities or more");
  problems.need(std::set<std::string>(names.begin(), names.end()).size() == names.size(), key + " names a modality twice");
}

void check_lists(Problems& problems, const Config& c) {
  const auto distinct = [](const auto& list) { return std::set(list.begin(), list.end()).size() == list.size(); };
  problems.need(!c.shares.empty() && std::all_of(c.shares.begin(), c.shares.end(), [](double s) { return s > 0 && s <= 1; }) && distinct(c.shares),
                "modalities.shares: different shares above 0 and up to 1");
  problems.need(!c.seeds.empty() && std::all_of(c.seeds.begin(), c.seeds.end(), [](double s) { return s >= 0 && s <= 9e15 && s == std::floor(s); }) && distinct(c.seeds),
                "modalities.seeds: different whole numbers from 0 on");
  problems.need(!c.arms.empty() && std::all_of(c.arms.begin(), c.arms.end(), [](const std::string& a) { return std::ranges::find(arm_names(), a) != arm_names().end(); }) && distinct(c.arms),
                "modalities.arms: one or more of hierarchical, joint and flat");
}

void check(const Config& c) {
  Problems problems;
  if (c.pairs.empty()) check_names(problems, "modalities.names", c.names);
  for (const std::string& pair : c.pairs) check_names(problems, "modalities.pairs \"" + pair + "\"", split(pair, '+'));
  problems.need(std::set<std::string>(c.pairs.begin(), c.pairs.end()).size() == c.pairs.size(), "modalities.pairs holds a pair twice");
  check_lists(problems, c);
  problems.need(!c.text.empty(), "modalities.text names no folder of text");
  problems.need(!c.uses("bpe") || !c.tokenizer.empty(), "the modality bpe needs modalities.tokenizer, a tokenizer.json");
  problems.need(c.min_characters <= c.max_characters, "modalities.min_characters is larger than modalities.max_characters");
  problems.need(c.batch <= c.items, "modalities.batch (" + std::to_string(c.batch) + ") is larger than modalities.items (" + std::to_string(c.items) + ")");
  problems.need(c.width % c.heads == 0 && c.width / c.heads % 2 == 0, "modalities.width must be a multiple of twice modalities.heads, for rotary positions");
  problems.throw_any();
}

}  // namespace

const std::vector<std::string>& modality_names() {
  static const std::vector<std::string> names{"bytes", "bpe", "glyphs", "speech"};
  return names;
}

const std::vector<std::string>& arm_names() {
  static const std::vector<std::string> names{"hierarchical", "joint", "flat"};
  return names;
}

void Config::bind(config::Binder& b) {
  b.section("modalities", "`entrain modalities` (docs/methods/modalities.md): the only table of its recipes.");
  b.bind("names", &names, "modalities trained together, of `bytes`, `bpe`, `glyphs` and `speech`; not read where `pairs` is set");
  b.bind("pairs", &pairs, "experiments of their own, each \"one+other\"; three names or more may be joined");
  b.bind("text", &text, "text files or folder that sentences are drawn from");
  b.bind("tokenizer", &tokenizer, "tokenizer.json of the modality `bpe`");
  b.bind("items", &items, "training sentences").range(2, 1e8);
  b.bind("held_out", &held_out, "sentences kept apart, among which the right one is to be found").range(2, 1e6);
  b.bind("min_characters", &min_characters, "shortest sentence").range(1, 10000);
  b.bind("max_characters", &max_characters, "longest sentence; costs time and memory").range(1, 10000);
  b.bind("shares", &shares, "shares of the training items whose counterparts are known; at least two items are");
  b.bind("seeds", &seeds, "of initialisation, of which items are paired, and of batches; the same in every arm");
  b.bind("arms", &arms, "`hierarchical`: within each modality first, then also across; `joint`: within and across from the first step; `flat`: across alone");
  b.bind("match", &match, "what arms have in common: `flops`, those of a hierarchical run of `steps` updates, or `steps`").one_of({"flops", "steps"});
  b.bind("steps", &steps, "updates of a hierarchical run, and with `match = \"steps\"` of every run").range(1, 1e9);
  b.bind("batch", &batch, "items of a step, in every arm; fewer where fewer are paired").range(2, 65536);
  b.bind("within_share", &within_share, "share of a hierarchical run's updates that are within only").range(0, 1);
  b.bind("crop", &crop, "smallest share of a sequence that a view within a modality keeps").range(0.01, 1);
  b.bind("temperature", &temperature, "of the loss within; across, it is learned").range(0.001, 100);
  b.bind("uniformity_weight", &uniformity_weight, "of the uniformity of both modalities together, against their gap").range(0, 1000);
  b.bind("width", &width, "C of each encoder").range(4, 65536);
  b.bind("layers", &layers, "of each encoder").range(1, 1000);
  b.bind("heads", &heads, "attention heads of each encoder").range(1, 1024);
  b.bind("d", &d, "width of the shared space").range(2, 65536);
  b.bind("dropout", &dropout, "share of each block's update set to zero in training").range(0, 0.9);
  b.bind("lr", &lr, "AdamW's peak learning rate").range(0, 100);
  b.bind("warmup", &warmup, "share of the steps in which the rate rises; a cosine to 0 follows").range(0, 1);
  b.bind("weight_decay", &weight_decay, "AdamW's decay of matrices").range(0, 100);
  b.bind("clip", &clip, "largest norm of the whole gradient; 0: no clipping").range(0, 1e9);
  b.bind("font", &font, "font file of the modality `glyphs`");
  b.bind("glyph_height", &glyph_height, "pixels in the height of a line of `glyphs`").range(8, 256);
  b.bind("glyph_columns", &glyph_columns, "columns of pixels in a frame of `glyphs`").range(1, 256);
  b.bind("voice", &voice, "voice of espeak-ng for `speech`");
  b.bind("speech_rate", &speech_rate, "words per minute of `speech`").range(80, 450);
  b.bind("threads", &threads, "CPU threads; 0: all cores. Results repeat bit for bit at a fixed number").range(0, 4096);
}

Config Config::from(const config::Document& document) {
  Config config;
  config::Binder binder;
  config.bind(binder);
  binder.read(document);
  check(config);
  return config;
}

std::string Config::to_toml() const {
  Config copy = *this;
  config::Binder binder;
  copy.bind(binder);
  return binder.to_toml();
}

std::vector<std::vector<std::string>> Config::groups() const {
  if (pairs.empty()) return {names};
  std::vector<std::vector<std::string>> groups;
  for (const std::string& pair : pairs) groups.push_back(split(pair, '+'));
  return groups;
}

bool Config::uses(const std::string& modality) const {
  for (const auto& group : groups()) {
    if (std::find(group.begin(), group.end(), modality) != group.end()) return true;
  }
  return false;
}

int64_t Config::n_paired(double share) const { return std::clamp<int64_t>(std::llround(share * static_cast<double>(items)), 2, items); }

uint64_t Config::fingerprint() const {
  Config copy = *this;
  copy.names = copy.pairs = copy.arms = {};
  copy.shares = copy.seeds = {};
  copy.text = copy.tokenizer = "";
  return checksum(copy.to_toml());
}

}  // namespace entrain::modalities
