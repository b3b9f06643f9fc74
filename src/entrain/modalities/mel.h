#pragma once
// Sound as log-mel frames.

#include <cstdint>
#include <vector>

#include "entrain/base/tensor.h"
#include "entrain/modalities/speech.h"

namespace entrain::modalities {

constexpr int64_t kSampleRate = 16000;   ///< samples a second that frames are cut from
constexpr int64_t kWindow = 400;         ///< samples in a frame: 25 ms
constexpr int64_t kHop = 160;            ///< samples between frames: 10 ms
constexpr int64_t kTransform = 512;      ///< points of the Fourier transform, a window and zeros
constexpr int64_t kMelBands = 40;
constexpr int64_t kStack = 4;            ///< frames that become one
constexpr double kDynamicRange = 80;     ///< decibels below a sound's loudest band that are told apart

/// The same sound at kSampleRate, by cutting its spectrum (or filling it with zeros): exact for what lies below both Nyquist frequencies,
/// the sound taken as periodic. Filled with zeros to a whole number of periods of both rates. Returns (samples) float32.
Tensor resample(const Sound& sound);

/// Triangular filters with peak 1, spaced equally on the mel scale 2595 log10(1 + f/700) between 0 and kSampleRate / 2 (Davis and Mermelstein, 1980;
/// the scale as in O'Shaughnessy, 1987). Returns (kMelBands, kTransform / 2 + 1).
Tensor mel_filters();
/// Frequency in Hz at which a band's filter peaks. band: in [0, kMelBands).
double mel_centre(int64_t band);

/// samples: (n) at kSampleRate, filled with zeros to one window. Hann-windowed power spectra through mel_filters, in decibels: 10 log10(max(power, 1e-10)).
/// Returns (1 + (n - kWindow) / kHop, kMelBands).
Tensor log_mel(const Tensor& samples);

/// Levels 0..255 over the kDynamicRange below the sound's maximum (steps of 0.31 dB), kStack frames one after the other in each row, the last row filled
/// with level 0: (frames, kMelBands) -> ceil(frames / kStack) * kStack * kMelBands bytes.
std::vector<uint8_t> quantised_frames(const Tensor& decibels);

}  // namespace entrain::modalities
