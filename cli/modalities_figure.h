#pragma once
// The figure of `entrain modalities`.

#include <string>

#include "entrain/modalities/summary.h"

namespace entrain::cli {

/// A self-contained SVG: recall at 10 against the share of known pairs, one panel for every two modalities, every arm and chance.
/// Throws Error{kIo} where gnuplot cannot draw.
std::string draw_modalities(const modalities::Summary& summary);

}  // namespace entrain::cli
