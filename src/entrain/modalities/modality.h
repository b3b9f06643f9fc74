#pragma once
// A modality of all items: sequences of ids or of frames, and batches of them.

#include <span>
#include <string>
#include <vector>

#include "entrain/base/random.h"
#include "entrain/base/tensor.h"
#include "entrain/modalities/frame_cache.h"
#include "entrain/modalities/items.h"

namespace entrain::modalities {

/// Either ids or frames; no sequence is empty.
struct Modality {
  std::string name;
  int64_t vocab_size = 0;                     ///< ids lie in [0, vocab_size); 0: frames
  int64_t frame_width = 0;                    ///< F, numbers in a frame; 0: ids
  std::vector<std::vector<int32_t>> ids = {};
  ItemFrames frames = {};
  double mean = 0, deviation = 1;             ///< of the bytes of frames, over the training items: frames enter as (byte - mean) / deviation

  int64_t length(int64_t item) const;
};

/// One modality of the items, rendered on several threads where that takes long. Frames are kept in `cache` (a folder; empty: nowhere) under a key made
/// of the items and of every setting that decides them. Throws what the tokenizer, the font and espeak-ng throw.
Modality make_modality(const std::string& name, const Items& items, const Config& config, const fs::path& cache);

/// A stretch of an item's sequence.
struct Span {
  int64_t item = 0, begin = 0, length = 0;
};

/// The length that a batch of them is filled up to.
int64_t longest(std::span<const Span> spans);
/// The items' whole sequences.
std::vector<Span> whole(const Modality& modality, std::span<const int64_t> items);
/// One view of each item: a share of its sequence uniform in [smallest_share, 1], rounded up, at a uniform place.
std::vector<Span> cropped(const Modality& modality, std::span<const int64_t> items, double smallest_share, RandomStream random);

/// Sequences side by side, filled up on the right with id 0 or zeros.
struct Padded {
  Tensor values;   ///< ids: (B, T) int64; frames: (B, T, F) float32
  Tensor weights;  ///< (B, T) float32: 1 / length at valid positions, 0 elsewhere
};
Padded pad(const Modality& modality, std::span<const Span> spans);

}  // namespace entrain::modalities
