#pragma once
// The modality `speech`: sentences spoken by the program espeak-ng. It runs as a separate program and is not linked: its licence is GPL-3.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace entrain::modalities {

/// One channel of sound.
struct Sound {
  int64_t rate = 0;            ///< samples a second
  std::vector<float> samples;  ///< in [-1, 1)
};

/// RIFF WAVE, 16-bit PCM, one channel. A data chunk that claims more than there is (as written to a pipe) ends with the bytes.
/// Throws Error{kData} for anything else.
Sound parse_wav(std::string_view bytes);

/// A line spoken by a voice at so many words per minute; silence where there is nothing to say. Safe on several threads at once.
/// Throws Error{kIo} naming the package where espeak-ng is missing, fails or takes longer than half a minute.
Sound speak(const std::string& line, const std::string& voice, int64_t words_per_minute, const std::string& program = "espeak-ng");

}  // namespace entrain::modalities
