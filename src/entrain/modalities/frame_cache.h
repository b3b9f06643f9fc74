#pragma once
// Rendered frames on disk, so that a second run does not draw or speak again (docs/formats.md).

#include <cstdint>
#include <optional>
#include <vector>

#include "entrain/base/files.h"

namespace entrain::modalities {

/// The frames of every item, one after the other.
using ItemFrames = std::vector<std::vector<uint8_t>>;

/// Writes the frames under a key that tells what they were made of.
void save_frames(const fs::path& path, uint64_t key, const ItemFrames& frames);

/// The frames of a file with this key; nothing where there is no such file, it has another key, or it is damaged: a cache is made again.
std::optional<ItemFrames> load_frames(const fs::path& path, uint64_t key);

}  // namespace entrain::modalities
