#include "entrain/modalities/speech.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "entrain/base/error.h"
#include "entrain/base/process.h"

namespace entrain::modalities {
namespace {

constexpr const char* kInstall = "install espeak-ng (Debian package espeak-ng), or leave the modality speech out";

template <typename T>
T little_endian(std::string_view bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value | static_cast<T>(static_cast<unsigned char>(bytes[at + i])) << (8 * i));
  return value;
}

[[noreturn]] void throw_no_wav(const std::string& reason) { throw Error(ErrorKind::kData, "this is no sound that can be read: " + reason, "16-bit PCM of one channel in a RIFF WAVE file is"); }

}  // namespace

Sound parse_wav(std::string_view bytes) {
  if (bytes.size() < 12 || bytes.substr(0, 4) != "RIFF" || bytes.substr(8, 4) != "WAVE") throw_no_wav("no RIFF WAVE header");
  Sound sound;
  for (size_t at = 12; at + 8 <= bytes.size();) {
    const std::string_view name = bytes.substr(at, 4);
    const size_t size = std::min<size_t>(little_endian<uint32_t>(bytes, at + 4), bytes.size() - at - 8);
    const std::string_view body = bytes.substr(at + 8, size);
    if (name == "fmt ") {
      if (size < 16) throw_no_wav("its format chunk is cut short");
      const bool taken = little_endian<uint16_t>(body, 0) == 1 && little_endian<uint16_t>(body, 2) == 1 && little_endian<uint16_t>(body, 14) == 16;
      sound.rate = little_endian<uint32_t>(body, 4);
      if (!taken || sound.rate < 1000 || sound.rate > 1'000'000) throw_no_wav("its format is another");
    } else if (name == "data") {
      if (sound.rate == 0) throw_no_wav("samples come before their format");
      sound.samples.resize(size / 2);
      for (size_t i = 0; i < sound.samples.size(); ++i) sound.samples[i] = static_cast<float>(static_cast<int16_t>(little_endian<uint16_t>(body, 2 * i))) / 32768.0f;
      return sound;
    }
    at += 8 + size + size % 2;
  }
  throw_no_wav("it has no samples");
}

Sound speak(const std::string& line, const std::string& voice, int64_t words_per_minute, const std::string& program) {
  // -b 1: UTF-8. The text is read from standard input, so that nothing in it can be an option.
  const ProcessResult result =
      run_process(program, {"--stdout", "--stdin", "-b", "1", "-v", voice, "-s", std::to_string(words_per_minute)}, line + "\n", std::chrono::seconds(30), kInstall);
  if (result.exit_code != 0) {
    const std::string reason = result.error.substr(0, std::min<size_t>(result.error.find('\n'), 200));
    throw Error(ErrorKind::kIo, program + " did not speak" + (reason.empty() ? "" : ": " + reason), "modalities.voice must name one of its voices (espeak-ng --voices); the package is espeak-ng");
  }
  if (result.output.empty()) return {16000, {}};  // nothing to say
  return parse_wav(result.output);
}

}  // namespace entrain::modalities
