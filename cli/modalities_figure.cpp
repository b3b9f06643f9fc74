#include "cli/modalities_figure.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "entrain/base/format.h"
#include "entrain/lab/gnuplot.h"

namespace entrain::cli {
namespace {

using modalities::ArmRow;

constexpr int kPanelWidth = 300, kHeight = 280, kKeyHeight = 34;

struct Panel {
  std::string title;
  std::map<std::string, std::vector<const ArmRow*>> arms;
};

std::vector<Panel> panels_of(const modalities::Summary& summary) {
  std::vector<Panel> panels;
  std::vector<std::string> keys;
  for (const ArmRow& row : summary.arms) {
    const std::string key = row.group + " " + row.a + " " + row.b;
    const size_t index = static_cast<size_t>(std::find(keys.begin(), keys.end(), key) - keys.begin());
    if (index == keys.size()) {
      keys.push_back(key);
      panels.push_back({row.a + " and " + row.b + ": recall at 10, %", {}});
    }
    panels[index].arms[row.arm].push_back(&row);
  }
  return panels;
}

std::string data_block(const std::string& name, const std::vector<const ArmRow*>& rows) {
  std::string text = "$" + name + " << EOD\n";
  for (const ArmRow* row : rows) text += format("%.9g %.9g\n", 100 * row->share, 100 * row->recall[2]);
  return text + "EOD\n";
}

/// One panel's commands; `left` and `right` are shares of the drawing's width.
std::string panel_script(lab::Drawing& drawing, const Panel& panel, size_t index, double left, double right, double chance) {
  std::string script;
  std::vector<std::string> curves;
  for (size_t colour = 0; colour < modalities::arm_names().size(); ++colour) {
    const std::string& arm = modalities::arm_names()[colour];
    const auto rows = panel.arms.find(arm);
    if (rows == panel.arms.end()) continue;
    const std::string name = format("%s%zu", arm.c_str(), index);
    script += data_block(name, rows->second);
    constexpr int kMarks[] = {7, 9, 5};
    curves.push_back(format("$%s using 1:2 with linespoints pt %d ps 0.7 lw 2 lc rgb \"%s\" title %s", name.c_str(), kMarks[colour % std::size(kMarks)], lab::arm_colour(colour).c_str(), drawing.slot(arm).c_str()));
  }
  curves.push_back(format("%.9g with lines dt 2 lw 1 lc rgb \"%s\" title %s", 100 * chance, lab::kMuted, drawing.slot("chance").c_str()));
  script += format("set lmargin at screen %.4f\nset rmargin at screen %.4f\nset label 1 %s at graph 0,1.06 left tc rgb \"%s\"\n", left, right, drawing.slot(panel.title).c_str(), lab::kInk);
  script += index == 0 ? "set key at screen 0.5,0.985 center top horizontal maxrows 1 samplen 2\n" : "unset key\n";
  script += "plot ";
  for (size_t i = 0; i < curves.size(); ++i) script += (i ? ", " : "") + curves[i];
  return script + "\n";
}

}  // namespace

std::string draw_modalities(const modalities::Summary& summary) {
  const std::vector<Panel> panels = panels_of(summary);
  double low = 100, high = 0;
  for (const ArmRow& row : summary.arms) {
    low = std::min(low, 100 * row.share);
    high = std::max(high, 100 * row.share);
  }
  lab::Drawing drawing;
  drawing.id = "modalities";
  drawing.label = "Recall at 10 against the share of known pairs";
  drawing.width = kPanelWidth * static_cast<int>(panels.size());
  drawing.height = kHeight + kKeyHeight;
  drawing.script = format("set multiplot\nset border 1 lc rgb \"%s\"\nset tics nomirror scale 0.4 tc rgb \"%s\"\nset ytics scale 0 0,20,100\nset grid ytics lt 1 lw 1 lc rgb \"%s\"\n"
                          "set logscale x\nset xrange [%.9g:%.9g]\nset yrange [0:100]\nset tmargin at screen %.4f\nset bmargin at screen 0.16\nset xlabel %s tc rgb \"%s\" offset 0,0.3\n",
                          lab::kMuted, lab::kMuted, lab::kRule, low / 1.3, high * 1.3, 1.0 - 2.0 * kKeyHeight / drawing.height, drawing.slot("known pairs, % of the items").c_str(), lab::kMuted);
  std::string tics;
  for (const ArmRow& row : summary.arms) {
    const std::string tic = format("\"%g\" %.9g", 100 * row.share, 100 * row.share);
    if (tics.find(tic) == std::string::npos) tics += (tics.empty() ? "" : ", ") + tic;
  }
  drawing.script += "set xtics (" + tics + ")\n";
  for (size_t i = 0; i < panels.size(); ++i) {
    const double unit = 1.0 / static_cast<double>(panels.size()), left = (static_cast<double>(i) + 0.19) * unit, right = (static_cast<double>(i) + 0.97) * unit;
    drawing.script += panel_script(drawing, panels[i], i, left, right, modalities::chance(2, summary.held_out));
  }
  drawing.script += "unset multiplot\n";
  return lab::draw_file(drawing, "gnuplot");
}

}  // namespace entrain::cli
