#include "entrain/lab/figure.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "entrain/base/format.h"
#include "entrain/lab/gnuplot.h"

namespace entrain::lab {
namespace {

constexpr size_t kMaxBandPoints = 400;  // more cannot be told apart at this size
constexpr int kCurvePieces = 40;
constexpr double kSkippedShare = 0.1;  // of an axis: the steep start may leave the picture, or the end would be flat in it

/// A unit in which an axis has short numbers, and its name: "raw tokens (millions)".
struct Unit {
  double size = 1;
  std::string name;
};

Unit unit_of(const std::string& axis, double largest) {
  if (axis == "seconds") {
    if (largest >= 2 * 3600) return {3600, "hours"};
    return largest >= 300 ? Unit{60, "minutes"} : Unit{1, axis};
  }
  if (largest < 1e4) return {1, axis};
  if (largest < 1e6) return {1e3, axis + " (thousands)"};
  if (largest < 1e9) return {1e6, axis + " (millions)"};
  if (largest < 1e12) return {1e9, axis + " (billions)"};
  static constexpr std::array<const char*, 10> kDigits{"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  const int exponent = static_cast<int>(std::floor(std::log10(largest)));
  std::string power;
  for (const char digit : std::to_string(exponent)) power += kDigits[static_cast<size_t>(digit - '0')];
  return {std::pow(10.0, exponent), axis + " (10" + power + ")"};
}

/// Margins, tics and a grid of horizontal lines that all figures share.
std::string frame() {
  return format("set border 1 lc rgb \"%s\"\nset tics nomirror scale 0.4 tc rgb \"%s\"\nset ytics scale 0\nset grid ytics lt 1 lw 1 lc rgb \"%s\"\nunset key\nset tmargin 2.2\nset rmargin 2\n", kMuted, kMuted, kRule);
}

std::string axis_names(Drawing& drawing, const std::string& x, const std::string& y) {
  return format("set xlabel %s tc rgb \"%s\" offset 0,0.3\nset label 1 %s at graph 0,1.07 left tc rgb \"%s\"\n", drawing.slot(x).c_str(), kMuted, drawing.slot(y).c_str(), kMuted);
}

size_t colour_of(const FigureStyle& style, const std::string& arm) {
  const auto found = style.colours.find(arm);
  return found == style.colours.end() ? 0 : found->second;
}

/// All names, for a label.
std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// Long names cut after as many letters as half a row holds.
std::string shortened(const std::string& name) {
  constexpr size_t kMost = 28;
  size_t n_letters = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    if ((static_cast<unsigned char>(name[i]) & 0xC0) != 0x80 && ++n_letters > kMost) return name.substr(0, i) + "\xE2\x80\xA6";
  }
  return name;
}

/// Tics of a logarithmic axis: as many round numbers as fit.
std::string log_tics(double low, double high) {
  static const std::array<std::vector<double>, 4> kSteps{{{1, 1.5, 2, 3, 4, 5, 7}, {1, 2, 5}, {1, 3}, {1}}};
  for (const std::vector<double>& steps : kSteps) {
    std::string text;
    int n = 0;
    for (int e = static_cast<int>(std::floor(std::log10(low))); e <= std::ceil(std::log10(high)); ++e) {
      for (const double step : steps) {
        const double at = step * std::pow(10.0, e);
        if (at < low * 0.999 || at > high * 1.001) continue;
        text += format("%s\"%g\" %.9g", n++ ? ", " : "", at, at);
      }
    }
    if (n <= 7 || &steps == &kSteps.back()) return "set xtics (" + text + ")\n";
  }
  return "";
}

/// Points that can be drawn, thinned evenly with the last one kept.
std::vector<Band::Point> drawable(const Band& band) {
  std::vector<Band::Point> finite, thinned;
  for (const Band::Point& p : band.points) {
    if (std::isfinite(p.x) && std::isfinite(p.mean) && std::isfinite(p.low) && std::isfinite(p.high)) finite.push_back(p);
  }
  const size_t stride = 1 + finite.size() / kMaxBandPoints;
  for (size_t i = 0; i < finite.size(); ++i) {
    if (i % stride == 0 || i + 1 == finite.size()) thinned.push_back(finite[i]);
  }
  return thinned;
}

/// Mean loss of an arm at each of its amounts, ascending.
std::map<double, double> means_of(const Efficiency& efficiency, size_t arm) {
  std::map<double, std::pair<double, int>> sums;
  for (const statistics::ScalingPoint& p : efficiency.points) {
    if (p.arm != arm) continue;
    sums[p.amount].first += p.loss;
    sums[p.amount].second += 1;
  }
  std::map<double, double> means;
  for (const auto& [amount, sum] : sums) means[amount] = sum.first / sum.second;
  return means;
}

}  // namespace

std::string draw_bands(const std::vector<Band>& bands, const std::string& id, const FigureStyle& style) {
  Drawing drawing;
  drawing.id = id;
  std::vector<std::vector<Band::Point>> series;
  std::vector<std::string> names;
  double x_high = 0, y_low = 1e300, y_high = -1e300;
  for (const Band& band : bands) {
    series.push_back(drawable(band));
    names.push_back(band.arm);
    for (const Band::Point& p : series.back()) x_high = std::max(x_high, p.x);
  }
  for (const auto& points : series) {
    for (const Band::Point& p : points) {
      if (p.x >= kSkippedShare * x_high || points.size() < 8) y_low = std::min(y_low, p.low), y_high = std::max(y_high, p.high);
    }
  }
  if (y_low > y_high || x_high <= 0) y_low = 0, y_high = 1, x_high = 1;
  const double margin = std::max(0.04 * (y_high - y_low), 1e-6);
  const Unit unit = unit_of(bands.front().axis, x_high);
  drawing.label = "Line chart: held-out loss in nats per token against " + bands.front().axis + ", one line for each of: " + joined(names);
  drawing.script = frame() + axis_names(drawing, unit.name, "nats per token") + format("set xrange [0:%.9g]\nset yrange [%.9g:%.9g]\n", x_high / unit.size, y_low - margin, y_high + margin);
  std::string areas, lines;
  for (size_t i = 0; i < series.size(); ++i) {
    drawing.script += format("$b%zu << EOD\n", i);
    for (const Band::Point& p : series[i]) drawing.script += format("%.9g %.9g %.9g %.9g\n", p.x / unit.size, p.mean, p.low, p.high);
    drawing.script += "EOD\n";
    if (series[i].empty()) continue;
    const std::string colour = arm_colour(colour_of(style, bands[i].arm));
    areas += format("%s$b%zu u 1:3:4 w filledcurves fs transparent solid 0.18 noborder fc rgb \"%s\"", areas.empty() ? "" : ", ", i, colour.c_str());
    lines += format(", $b%zu u 1:2 w %s lc rgb \"%s\"", i, series[i].size() == 1 ? "points pt 7 ps 0.5" : "lines lw 1.8", colour.c_str());
  }
  drawing.script += areas.empty() ? "plot 1/0\n" : "plot " + areas + lines + "\n";
  return draw(drawing, style.gnuplot);
}

std::string draw_scaling(const Efficiency& efficiency, const std::string& id, const FigureStyle& style) {
  static constexpr std::array<int, 4> kShapes{7, 5, 9, 13};  // disc, square, triangle, diamond
  Drawing drawing{.id = id, .label = "", .width = 400, .height = 290, .script = "", .texts = {}};
  double x_low = 1e300, x_high = 0, y_low = 1e300, y_high = -1e300;
  for (const statistics::ScalingPoint& p : efficiency.points) {
    x_low = std::min(x_low, p.amount), x_high = std::max(x_high, p.amount);
    y_low = std::min(y_low, p.loss), y_high = std::max(y_high, p.loss);
  }
  if (efficiency.points.empty()) x_low = x_high = 1, y_low = 0, y_high = 1;
  const bool fitted = !efficiency.fit.fit.coefficients.empty() && efficiency.fit.fit.problem != statistics::JointFit::Problem::kTooFewAmounts;
  const double from = x_low / 1.15, to = x_high * 1.5, margin = std::max(0.06 * (y_high - y_low), 1e-6);
  const Unit unit = unit_of(efficiency.axis, x_high);
  drawing.label = "Scatter chart: held-out loss in nats per token of every fully decayed run against " + efficiency.axis + " on a logarithmic axis, with " +
                  (fitted ? "fitted power laws" : "lines between the means") + " of: " + joined(efficiency.arms);
  drawing.script = frame() + axis_names(drawing, unit.name + ", logarithmic", "nats per token") + "set logscale x\n" + log_tics(from / unit.size, to / unit.size) +
                   format("set xrange [%.9g:%.9g]\nset yrange [%.9g:%.9g]\n", from / unit.size, to / unit.size, y_low - margin, y_high + margin);
  std::string plots;
  for (size_t arm = 0; arm < efficiency.arms.size(); ++arm) {
    const std::map<double, double> means = means_of(efficiency, arm);
    if (means.empty()) continue;
    const std::string colour = arm_colour(colour_of(style, efficiency.arms[arm]));
    const double first = means.begin()->first, last = means.rbegin()->first;
    drawing.script += format("$p%zu << EOD\n", arm);
    for (const statistics::ScalingPoint& p : efficiency.points) {
      if (p.arm == arm) drawing.script += format("%.9g %.9g\n", p.amount / unit.size, p.loss);
    }
    drawing.script += format("EOD\n$m%zu << EOD\n", arm);
    for (const auto& [amount, loss] : means) drawing.script += format("%.9g %.9g\n", amount / unit.size, loss);
    drawing.script += "EOD\n";
    const std::string line = format("lc rgb \"%s\"", colour.c_str());
    if (fitted && arm < efficiency.fit.fit.coefficients.size() && efficiency.fit.fit.coefficients[arm] > 0) {
      const auto loss = [&fit = efficiency.fit.fit, arm](double amount) { return fit.irreducible + fit.coefficients[arm] * std::pow(amount, -fit.beta); };
      const std::array<double, 4> ends{from, first, last, to};
      for (size_t piece = 0; piece < 3; ++piece) {
        drawing.script += format("$f%zu_%zu << EOD\n", arm, piece);
        for (int i = 0; i <= kCurvePieces; ++i) {
          const double amount = ends[piece] * std::pow(ends[piece + 1] / ends[piece], static_cast<double>(i) / kCurvePieces);
          drawing.script += format("%.9g %.9g\n", amount / unit.size, loss(amount));
        }
        drawing.script += "EOD\n";
        plots += format("$f%zu_%zu w l lw %s %s, ", arm, piece, piece == 1 ? "1.8" : "1.4 dt (6,5)", line.c_str());
      }
    } else if (means.size() > 1) {
      plots += format("$m%zu w l lw 1.4 %s, ", arm, line.c_str());
    }
    plots += format("$p%zu w p pt %d ps 0.6 %s, ", arm, kShapes[arm % kShapes.size()], line.c_str());
  }
  if (plots.empty()) plots = "1/0  ";
  drawing.script += "plot " + plots.substr(0, plots.size() - 2) + "\n";
  return draw(drawing, style.gnuplot);
}

std::string draw_forest(const std::vector<Comparison>& comparisons, const std::string& id, const FigureStyle& style) {
  constexpr int kRowHeight = 64;
  Drawing drawing{.id = id, .label = "", .width = 400, .height = static_cast<int>(comparisons.size()) * kRowHeight + 56, .script = "", .texts = {}};
  double low = 0, high = 0;
  for (const Comparison& c : comparisons) {
    for (const double value : {c.difference.low, c.difference.estimate, c.difference.high}) {
      if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
    }
  }
  const double margin = std::max(0.08 * (high - low), 1e-6);
  low -= margin, high += margin;
  const std::string& metric = comparisons.front().metric;
  drawing.label = "Differences in " + metric + " with their intervals:";
  const double n = static_cast<double>(comparisons.size());
  std::string script = frame() + format("unset ytics\nunset grid\nset lmargin 2\nset tmargin 0.5\nset xrange [%.9g:%.9g]\nset yrange [%.9g:0]\n", low, high, -n);
  script += format("set xlabel %s tc rgb \"%s\" offset 0,0.3\nset xtics autofreq\n", drawing.slot("difference in " + metric).c_str(), kMuted);
  std::string plots;
  for (size_t i = 0; i < comparisons.size(); ++i) {
    const Comparison& c = comparisons[i];
    const double left = std::isfinite(c.difference.low) ? c.difference.low : low, right = std::isfinite(c.difference.high) ? c.difference.high : high;
    const double top = -static_cast<double>(i), y = top - 0.75;  // a row has unit height: name, numbers, interval
    const std::string colour = arm_colour(colour_of(style, c.arm));
    const std::string words = format("%+.4f  [%+.4f, %+.4f]", c.difference.estimate, c.difference.low, c.difference.high);
    drawing.label += " " + c.arm + " against " + c.reference + " " + words + ";";
    std::string shown = words;
    for (size_t at = shown.find('-'); at != std::string::npos; at = shown.find('-', at)) shown.replace(at, 1, "\xE2\x88\x92");
    script += format("set label at graph 0,first %.9g left %s\n", top - 0.16, drawing.slot(shortened(c.arm) + " \xE2\x88\x92 " + shortened(c.reference)).c_str());
    script += format("set label at graph 0,first %.9g left %s tc rgb \"%s\"\n", top - 0.42, drawing.slot(shown).c_str(), kMuted);
    script += format("set arrow from 0,%.9g to 0,%.9g nohead lw 1 lc rgb \"%s\"\n", y - 0.17, y + 0.17, kMuted);
    script += format("$d%zu << EOD\n%.9g %.9g %.9g %.9g\nEOD\n", i, left, y, right, c.difference.estimate);
    plots += format("%s$d%zu u 1:2:($3-$1):(0) w vectors nohead lw 2.5 lc rgb \"%s\", $d%zu u 4:2 w p pt 7 ps 0.9 lc rgb \"%s\"", i ? ", " : "", i, colour.c_str(), i, colour.c_str());
  }
  drawing.script = script + "plot " + plots + "\n";
  return draw(drawing, style.gnuplot);
}

}  // namespace entrain::lab
