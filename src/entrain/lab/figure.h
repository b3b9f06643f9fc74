#pragma once
// The figures of an experiment's report, as inline SVG.

#include <map>
#include <string>
#include <vector>

#include "entrain/lab/judge.h"

namespace entrain::lab {

/// What all figures of one page share.
struct FigureStyle {
  std::string gnuplot = "gnuplot";        ///< program
  std::map<std::string, size_t> colours;  ///< index of each arm's colour
};

/// Loss against one axis: mean line and band from the lowest to the highest seed. bands: of that axis, not empty.
/// The figures below throw Error{kIo} where gnuplot cannot draw.
std::string draw_bands(const std::vector<Band>& bands, const std::string& id, const FigureStyle& style);

/// Runs as points over a logarithmic amount; each arm's fitted curve, or where nothing was fitted straight pieces between its means.
/// Dashed where no run of that arm was.
std::string draw_scaling(const Efficiency& efficiency, const std::string& id, const FigureStyle& style);

/// Differences with their intervals, one row each, against a line at 0. comparisons: of one metric, not empty.
std::string draw_forest(const std::vector<Comparison>& comparisons, const std::string& id, const FigureStyle& style);

}  // namespace entrain::lab
