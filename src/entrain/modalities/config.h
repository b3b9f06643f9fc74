#pragma once
// Recipe table [modalities]: encoders of several modalities of the same text, aligned within each first and then across.

#include <cstdint>
#include <string>
#include <vector>

#include "entrain/base/config.h"

namespace entrain::modalities {

struct Config {
  std::vector<std::string> names = {"bytes", "bpe"};
  std::vector<std::string> pairs = {};
  std::string text = "";
  std::string tokenizer = "";
  int64_t items = 4000;
  int64_t held_out = 500;
  int64_t min_characters = 40;
  int64_t max_characters = 200;
  std::vector<double> shares = {0.01, 0.1, 1.0};
  std::vector<double> seeds = {1, 2, 3};
  std::vector<std::string> arms = {"hierarchical", "joint", "flat"};
  std::string match = "flops";
  int64_t steps = 400;
  int64_t batch = 64;
  double within_share = 0.3;
  double crop = 0.7;
  double temperature = 0.1;
  double uniformity_weight = 0.5;
  int64_t width = 64;
  int64_t layers = 2;
  int64_t heads = 4;
  int64_t d = 64;
  double dropout = 0.1;
  double lr = 2e-3;
  double warmup = 0.05;
  double weight_decay = 0.1;
  double clip = 1.0;
  std::string font = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
  int64_t glyph_height = 16;
  int64_t glyph_columns = 8;
  std::string voice = "en";
  int64_t speech_rate = 175;
  int64_t threads = 0;

  void bind(config::Binder& binder);
  /// Reads [modalities], the only table of such a recipe, and checks. Throws one Error{kUsage} that lists all problems.
  static Config from(const config::Document& document);
  std::string to_toml() const;

  /// The modalities that are trained together: one list an entry of `pairs`, or `names` alone.
  std::vector<std::vector<std::string>> groups() const;
  bool uses(const std::string& modality) const;
  /// Training items whose counterparts are known at this share: at least 2, at most `items`.
  int64_t n_paired(double share) const;
  /// Checksum of every value that decides what one run computes, but for the lists of runs and the places of files.
  uint64_t fingerprint() const;
};

/// The names a recipe may use.
const std::vector<std::string>& modality_names();
const std::vector<std::string>& arm_names();

}  // namespace entrain::modalities
