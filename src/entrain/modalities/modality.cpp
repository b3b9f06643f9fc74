#include "entrain/modalities/modality.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "entrain/base/error.h"
#include "entrain/modalities/glyphs.h"
#include "entrain/modalities/mel.h"
#include "entrain/text/parallel.h"
#include "entrain/text/tokenizer.h"

namespace entrain::modalities {
namespace {

Modality make_bytes(const Items& items) {
  Modality modality{"bytes", 256, 0};
  for (const std::string& line : items.lines) {
    auto& ids = modality.ids.emplace_back();
    for (const char c : line) ids.push_back(static_cast<unsigned char>(c));
  }
  return modality;
}

Modality make_bpe(const Items& items, const Config& config) {
  const text::Tokenizer tokenizer = text::Tokenizer::load(config.tokenizer);
  const std::vector<std::string_view> lines(items.lines.begin(), items.lines.end());
  return {"bpe", tokenizer.vocab_size(), 0, tokenizer.encode_batch(lines, text::Specials::kAsText, static_cast<int>(config.threads))};
}

ItemFrames draw_glyphs(const Items& items, const Config& config) {
  const GlyphRenderer renderer(config.font, config.glyph_height);
  ItemFrames frames;
  for (const std::string& line : items.lines) frames.push_back(cut_frames(renderer.render(line), config.glyph_columns));
  return frames;
}

ItemFrames speak_lines(const Items& items, const Config& config) {
  ItemFrames frames(items.lines.size());
  text::parallel_for_each(items.lines.size(), text::thread_count(static_cast<int>(config.threads)), [&](size_t, size_t i) {
    const at::NoGradGuard no_grad;
    frames[i] = quantised_frames(log_mel(resample(speak(items.lines[i], config.voice, config.speech_rate))));
  });
  return frames;
}

/// Names everything that decides the frames; the number stands for the code that makes them.
std::string recipe_of(const std::string& name, const Config& config) {
  if (name == "speech") return "speech 1 " + config.voice + " " + std::to_string(config.speech_rate);
  return "glyphs 1 " + to_hex(file_checksum(config.font)) + " " + std::to_string(config.glyph_height) + " " + std::to_string(config.glyph_columns);
}

ItemFrames cached_frames(const std::string& name, const Items& items, const Config& config, const fs::path& cache) {
  const uint64_t key = checksum(recipe_of(name, config) + " " + to_hex(items.fingerprint()));
  const fs::path path = cache / (name + ".frames");
  if (!cache.empty()) {
    if (auto frames = load_frames(path, key)) return std::move(*frames);
  }
  ItemFrames frames = name == "speech" ? speak_lines(items, config) : draw_glyphs(items, config);
  if (!cache.empty()) {
    make_folder(cache);
    save_frames(path, key, frames);
  }
  return frames;
}

void measure(Modality& modality, int64_t n_train) {
  double n = 0, sum = 0, squares = 0;
  for (int64_t i = 0; i < n_train; ++i) {
    for (const uint8_t byte : modality.frames[static_cast<size_t>(i)]) {
      sum += byte;
      squares += static_cast<double>(byte) * byte;
    }
    n += static_cast<double>(modality.frames[static_cast<size_t>(i)].size());
  }
  modality.mean = sum / n;
  modality.deviation = std::max(1.0, std::sqrt(std::max(0.0, squares / n - modality.mean * modality.mean)));
}

}  // namespace

int64_t Modality::length(int64_t item) const {
  const size_t i = static_cast<size_t>(item);
  return frame_width > 0 ? std::ssize(frames[i]) / frame_width : std::ssize(ids[i]);
}

Modality make_modality(const std::string& name, const Items& items, const Config& config, const fs::path& cache) {
  if (name == "bytes") return make_bytes(items);
  if (name == "bpe") return make_bpe(items, config);
  ENTRAIN_CHECK(name == "glyphs" || name == "speech", "modality " + name);
  Modality modality{name, 0, name == "speech" ? kStack * kMelBands : config.glyph_height * config.glyph_columns};
  modality.frames = cached_frames(name, items, config, cache);
  measure(modality, items.n_train);
  return modality;
}

std::vector<Span> whole(const Modality& modality, std::span<const int64_t> items) {
  std::vector<Span> spans;
  for (const int64_t item : items) spans.push_back({item, 0, modality.length(item)});
  return spans;
}

std::vector<Span> cropped(const Modality& modality, std::span<const int64_t> items, double smallest_share, RandomStream random) {
  std::vector<Span> spans;
  for (const int64_t item : items) {
    const int64_t length = modality.length(item);
    const double share = smallest_share + (1.0 - smallest_share) * random.next_uniform();
    const int64_t kept = std::clamp<int64_t>(static_cast<int64_t>(std::ceil(share * static_cast<double>(length))), 1, length);
    spans.push_back({item, static_cast<int64_t>(random.next_below(static_cast<uint64_t>(length - kept + 1))), kept});
  }
  return spans;
}

int64_t longest(std::span<const Span> spans) {
  int64_t length = 1;
  for (const Span& span : spans) length = std::max(length, span.length);
  return length;
}

Padded pad(const Modality& modality, std::span<const Span> spans) {
  const int64_t rows = std::ssize(spans), width = modality.frame_width, n = longest(spans);
  Padded padded;
  padded.weights = at::zeros({rows, n}, at::kFloat);
  padded.values = width > 0 ? at::zeros({rows, n, width}, at::kFloat) : at::zeros({rows, n}, at::kLong);
  const auto mean = static_cast<float>(modality.mean), scale = static_cast<float>(1.0 / modality.deviation);
  for (int64_t row = 0; row < rows; ++row) {
    const Span& span = spans[static_cast<size_t>(row)];
    padded.weights[row].narrow(0, 0, span.length).fill_(1.0 / static_cast<double>(span.length));
    if (width == 0) {
      const int32_t* ids = modality.ids[static_cast<size_t>(span.item)].data() + span.begin;
      std::copy(ids, ids + span.length, padded.values.data_ptr<int64_t>() + row * n);
    } else {
      const uint8_t* bytes = modality.frames[static_cast<size_t>(span.item)].data() + span.begin * width;
      std::transform(bytes, bytes + span.length * width, padded.values.data_ptr<float>() + row * n * width,
                     [&](uint8_t byte) { return (static_cast<float>(byte) - mean) * scale; });
    }
  }
  return padded;
}

}  // namespace entrain::modalities
