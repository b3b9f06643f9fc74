#include "entrain/modalities/speech.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "entrain/base/error.h"
#include "entrain/base/process.h"
#include "entrain/modalities/mel.h"

namespace entrain::modalities {
namespace {

std::string number(uint64_t value, int n_bytes) {
  std::string bytes;
  for (int i = 0; i < n_bytes; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  return bytes;
}

std::string chunk(const std::string& name, const std::string& body) { return name + number(body.size(), 4) + body + std::string(body.size() % 2, '\0'); }

std::string format_chunk(int channels = 1, int rate = 16000, int bits = 16) {
  return chunk("fmt ", number(1, 2) + number(static_cast<uint64_t>(channels), 2) + number(static_cast<uint64_t>(rate), 4) + number(static_cast<uint64_t>(rate * channels * bits / 8), 4) +
                           number(static_cast<uint64_t>(channels * bits / 8), 2) + number(static_cast<uint64_t>(bits), 2));
}

std::string wav(const std::string& chunks) { return "RIFF" + number(4 + chunks.size(), 4) + "WAVE" + chunks; }

Sound sine(double hertz, int64_t rate, int64_t n, double amplitude = 0.5) {
  Sound sound{rate, {}};
  for (int64_t i = 0; i < n; ++i) sound.samples.push_back(static_cast<float>(amplitude * std::sin(2 * std::numbers::pi * hertz * static_cast<double>(i) / static_cast<double>(rate))));
  return sound;
}

bool has_espeak() {
  try {
    return run_process("espeak-ng", {"--version"}, "", std::chrono::seconds(10), "").exit_code == 0;
  } catch (const Error&) {
    return false;
  }
}

TEST(Wav, GivesSamplesAndRate) {
  const std::string samples = number(0, 2) + number(16384, 2) + number(0x8000, 2) + number(0xFFFF, 2);
  const Sound sound = parse_wav(wav(format_chunk(1, 22050) + chunk("LIST", "odd") + chunk("data", samples)));
  EXPECT_EQ(sound.rate, 22050);
  EXPECT_EQ(sound.samples, (std::vector<float>{0.0f, 0.5f, -1.0f, -1.0f / 32768}));
}

TEST(Wav, EndsWithTheBytesWhereTheLengthIsUnknown) {
  const std::string samples = number(1, 2) + number(2, 2);
  const Sound sound = parse_wav("RIFF" + number(0x7FFFF024, 4) + "WAVE" + format_chunk() + "data" + number(0x7FFFF000, 4) + samples);
  EXPECT_EQ(sound.samples.size(), 2u);
  EXPECT_EQ(parse_wav(wav(format_chunk() + chunk("data", ""))).samples.size(), 0u);
}

TEST(Wav, RefusesWhatItCannotRead) {
  const std::string good = wav(format_chunk() + chunk("data", number(5, 2)));
  for (size_t n = 0; n < 44; ++n) EXPECT_THROW(parse_wav(good.substr(0, n)), Error) << "cut after " << n << " bytes";
  for (const std::string& bytes : {wav(format_chunk(2) + chunk("data", "")), wav(format_chunk(1, 16000, 8) + chunk("data", "")), wav(format_chunk(1, 0) + chunk("data", "")),
                                   wav(chunk("data", "")), wav(format_chunk()), wav(chunk("fmt ", "short") + chunk("data", "")), std::string("RIFX")}) {
    EXPECT_THROW(parse_wav(bytes), Error);
  }
}

// Filters rise to 1 at their centre and share every frequency between two neighbours: at any bin between the first and the last peak they sum to 1.
TEST(Mel, FiltersAreTrianglesThatSumToOne) {
  const Tensor filters = mel_filters();
  ASSERT_EQ(filters.sizes(), (std::vector<int64_t>{kMelBands, kTransform / 2 + 1}));
  for (int64_t bin = 0; bin <= kTransform / 2; ++bin) {
    const double hertz = static_cast<double>(bin * kSampleRate) / kTransform, sum = filters.select(1, bin).sum().item<double>();
    if (hertz >= mel_centre(0) && hertz <= mel_centre(kMelBands - 1)) {
      EXPECT_NEAR(sum, 1.0, 1e-6) << hertz << " Hz; float32 rounds two numbers";
    }
  }
  EXPECT_GE(filters.min().item<float>(), 0.0f);
  // 40 equal steps of 2840.02 / 41 mel: the twentieth peak at 700 (10^(20 * 69.268 / 2595) - 1) Hz.
  EXPECT_NEAR(mel_centre(19), 700 * (std::pow(10.0, 20 * 2595 * std::log10(1 + 8000.0 / 700) / 41 / 2595) - 1), 1e-9);
}

TEST(Mel, ASinePeaksInItsBand) {
  for (const int64_t band : {5, 12, 20, 30, 38}) {
    const double hertz = mel_centre(band);
    for (const int64_t rate : {16000, 22050}) {
      const Tensor decibels = log_mel(resample(sine(hertz, rate, rate)));
      ASSERT_EQ(decibels.size(1), kMelBands);
      const Tensor middle = decibels[decibels.size(0) / 2];
      EXPECT_EQ(middle.argmax().item<int64_t>(), band) << hertz << " Hz at " << rate;
    }
  }
}

TEST(Mel, FramesAndLoudness) {
  EXPECT_EQ(log_mel(at::zeros({0})).size(0), 1) << "silence is one frame";
  EXPECT_EQ(log_mel(at::zeros({kWindow})).size(0), 1);
  EXPECT_EQ(log_mel(at::zeros({kWindow + kHop})).size(0), 2);
  EXPECT_EQ(log_mel(at::zeros({0})).max().item<double>(), -100.0) << "the floor 1e-10";
  const Tensor loud = log_mel(resample(sine(1000, 16000, 4000, 0.5))), quiet = log_mel(resample(sine(1000, 16000, 4000, 0.05)));
  const Tensor strong = loud > loud.max() - 20;
  EXPECT_LT(((loud - quiet).masked_select(strong) - 20).abs().max().item<double>(), 1e-3) << "a tenth of the amplitude is 20 dB less";
}

// A sine below both Nyquist frequencies with a whole number of periods in both sequences is carried over exactly.
TEST(Mel, ResamplingKeepsASine) {
  const Tensor out = resample(sine(1000, 22050, 22050));
  ASSERT_EQ(out.size(0), 16000);
  const Sound expected = sine(1000, 16000, 16000);
  const Tensor error = out - at::from_blob(const_cast<float*>(expected.samples.data()), {16000}, at::kFloat);
  EXPECT_LT(error.abs().max().item<double>(), 2e-5) << "float32 transforms of 22050 points";
  EXPECT_EQ(resample({8000, {}}).size(0), 2) << "one period of both rates";
}

TEST(Mel, QuantisesTheDynamicRange) {
  const Tensor decibels = at::full({5, kMelBands}, -200.0);
  decibels[0][0] = 10.0;
  decibels[1][3] = 10.0 - kDynamicRange / 2;
  const std::vector<uint8_t> frames = quantised_frames(decibels);
  ASSERT_EQ(std::ssize(frames), 2 * kStack * kMelBands) << "five frames are two stacks of four";
  EXPECT_EQ(frames[0], 255);
  EXPECT_EQ(frames[kMelBands + 3], 128) << "127.5 to the even number";
  EXPECT_EQ(frames[1], 0);
  EXPECT_EQ(frames.back(), 0);
}

TEST(Speech, SpeaksTheSameLineAlike) {
  if (!has_espeak()) GTEST_SKIP() << "the program espeak-ng is not installed";
  const Sound a = speak("In the beginning God created the heaven and the earth.", "en", 175), b = speak("In the beginning God created the heaven and the earth.", "en", 175);
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_GT(static_cast<double>(a.samples.size()) / static_cast<double>(a.rate), 1.0) << "ten words at 175 a minute take 3.4 s";
  EXPECT_LT(static_cast<double>(a.samples.size()) / static_cast<double>(a.rate), 8.0);
  const Sound fast = speak("In the beginning God created the heaven and the earth.", "en", 350);
  EXPECT_LT(fast.samples.size(), a.samples.size());
  EXPECT_NE(speak("And the earth was without form.", "en", 175).samples, a.samples);
}

TEST(Speech, SurvivesOddLines) {
  if (!has_espeak()) GTEST_SKIP() << "the program espeak-ng is not installed";
  for (const std::string& line : {std::string(), std::string("--help"), std::string("\xff\xfe"), std::string("???"), std::string("$(exit 3) `ls` ; \" '"), std::string("<speak>")}) {
    const Tensor decibels = log_mel(resample(speak(line, "en", 175)));
    EXPECT_GE(decibels.size(0), 1) << line;
    EXPECT_FALSE(quantised_frames(decibels).empty()) << line;
  }
  EXPECT_GT(speak("--help", "en", 175).samples.size(), 1000u) << "spoken, not obeyed";
  EXPECT_THROW(speak("hello", "xxzz", 175), Error);
}

TEST(Speech, NamesThePackageWhereTheProgramIsMissing) {
  try {
    speak("hello", "en", 175, "espeak-ng-is-not-here");
    FAIL() << "started a program that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kIo);
    EXPECT_NE(error.hint().find("espeak-ng"), std::string::npos);
  }
}

}  // namespace
}  // namespace entrain::modalities
