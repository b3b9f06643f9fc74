#include "entrain/modalities/mel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "entrain/base/error.h"

namespace entrain::modalities {
namespace {

double mel_of(double hertz) { return 2595.0 * std::log10(1.0 + hertz / 700.0); }
double hertz_of(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }
/// Edges and peaks: kMelBands + 2 points.
double mel_point(int64_t i) { return hertz_of(mel_of(kSampleRate / 2.0) * static_cast<double>(i) / static_cast<double>(kMelBands + 1)); }

}  // namespace

double mel_centre(int64_t band) { return mel_point(band + 1); }

Tensor resample(const Sound& sound) {
  ENTRAIN_CHECK(sound.rate > 0, "a sound without a rate");
  const int64_t common = std::gcd(sound.rate, kSampleRate), period_in = sound.rate / common, period_out = kSampleRate / common;
  const int64_t n_periods = std::max<int64_t>(1, (std::ssize(sound.samples) + period_in - 1) / period_in);
  Tensor samples = at::zeros({n_periods * period_in}, at::kFloat);
  std::copy(sound.samples.begin(), sound.samples.end(), samples.data_ptr<float>());
  if (period_in == period_out) return samples;
  const int64_t n_out = n_periods * period_out;
  const Tensor spectrum = at::fft_rfft(samples);
  const int64_t n_kept = std::min(spectrum.size(0), n_out / 2 + 1);
  Tensor kept = at::zeros({n_out / 2 + 1}, spectrum.options());
  kept.narrow(0, 0, n_kept).copy_(spectrum.narrow(0, 0, n_kept));
  return at::fft_irfft(kept, n_out) * (static_cast<double>(n_out) / static_cast<double>(samples.size(0)));
}

Tensor mel_filters() {
  constexpr int64_t kBins = kTransform / 2 + 1;
  const Tensor filters = at::zeros({kMelBands, kBins}, at::kFloat);
  auto filter = filters.accessor<float, 2>();
  for (int64_t band = 0; band < kMelBands; ++band) {
    const double low = mel_point(band), peak = mel_point(band + 1), high = mel_point(band + 2);
    for (int64_t bin = 0; bin < kBins; ++bin) {
      const double hertz = static_cast<double>(bin * kSampleRate) / static_cast<double>(kTransform);
      filter[band][bin] = static_cast<float>(std::max(0.0, std::min((hertz - low) / (peak - low), (high - hertz) / (high - peak))));
    }
  }
  return filters;
}

Tensor log_mel(const Tensor& samples) {
  const int64_t n = std::max(samples.size(0), kWindow);
  const Tensor padded = at::constant_pad_nd(samples, {0, n - samples.size(0)});
  const Tensor frames = padded.unfold(0, kWindow, kHop) * at::hann_window(kWindow, at::kFloat);
  const Tensor power = at::fft_rfft(frames, kTransform).abs().square();
  return at::matmul(power, mel_filters().t()).clamp_min(1e-10).log10() * 10.0;
}

std::vector<uint8_t> quantised_frames(const Tensor& decibels) {
  const double floor = decibels.max().item<double>() - kDynamicRange;
  const Tensor levels = ((decibels - floor) * (255.0 / kDynamicRange)).clamp(0, 255).round().to(at::kByte).contiguous();
  std::vector<uint8_t> frames(levels.data_ptr<uint8_t>(), levels.data_ptr<uint8_t>() + levels.numel());
  constexpr int64_t kRow = kStack * kMelBands;
  frames.resize(static_cast<size_t>((std::ssize(frames) + kRow - 1) / kRow * kRow), 0);
  return frames;
}

}  // namespace entrain::modalities
