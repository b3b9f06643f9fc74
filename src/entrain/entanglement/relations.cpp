#include "entrain/entanglement/relations.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "entrain/base/error.h"
#include "entrain/base/format.h"

namespace entrain::entanglement {
namespace {

/// Tokens and phrases that occur often enough; the more frequent first, tokens before phrases.
std::vector<Unit> frequent_units(std::span<const int32_t> ids, std::span<const int64_t> windows, const RelationsOptions& options) {
  std::vector<Unit> units;
  for (size_t length = 1; length <= 3; ++length) {
    std::map<std::vector<int32_t>, std::vector<int64_t>> found;
    for (size_t end = length - 1; end < ids.size(); ++end) {
      const size_t begin = end + 1 - length;
      if (windows[begin] != windows[end]) continue;
      found[{ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end + 1)}].push_back(static_cast<int64_t>(end));
    }
    std::vector<Unit> of_length;
    for (auto& [tokens, ends] : found) {
      if (static_cast<int64_t>(ends.size()) >= options.min_occurrences) of_length.push_back({.ids = tokens, .occurrences = std::move(ends)});
    }
    std::stable_sort(of_length.begin(), of_length.end(), [](const Unit& a, const Unit& b) { return a.occurrences.size() > b.occurrences.size(); });
    const size_t room = static_cast<size_t>(options.max_units) / (length == 1 ? 2 : 4);
    if (of_length.size() > room) of_length.resize(room);
    std::move(of_length.begin(), of_length.end(), std::back_inserter(units));
  }
  return units;
}

/// Mean direction of each unit over all tokens of all its occurrences, (U, d), unit length.
Tensor directions(const std::vector<Unit>& units, const Tensor& centred) {
  std::vector<Tensor> rows;
  for (const Unit& unit : units) {
    Tensor sum = at::zeros({centred.size(1)}, centred.options());
    for (size_t back = 0; back < unit.ids.size(); ++back) sum += centred.index_select(0, at::tensor(unit.occurrences, at::kLong) - static_cast<int64_t>(back)).sum(0);
    rows.push_back(sum / sum.norm().clamp_min(1e-12));
  }
  return at::stack(rows);
}

bool share_a_token(const Unit& a, const Unit& b) {
  return std::any_of(a.ids.begin(), a.ids.end(), [&](int32_t id) { return std::find(b.ids.begin(), b.ids.end(), id) != b.ids.end(); });
}

std::vector<RelatedPair> strongest_pairs(const std::vector<Unit>& units, const Tensor& vectors, int64_t n_pairs) {
  const Tensor cosines = at::mm(vectors, vectors.t()).contiguous();
  const float* values = cosines.data_ptr<float>();
  std::vector<RelatedPair> all;
  for (size_t i = 0; i < units.size(); ++i) {
    for (size_t j = i + 1; j < units.size(); ++j) all.push_back({i, j, values[i * units.size() + j]});
  }
  std::sort(all.begin(), all.end(), [](const RelatedPair& a, const RelatedPair& b) { return a.cosine > b.cosine; });
  std::vector<RelatedPair> kept;
  for (const RelatedPair& pair : all) {
    if (static_cast<int64_t>(kept.size()) == n_pairs) break;
    if (!share_a_token(units[pair.first], units[pair.second])) kept.push_back(pair);
  }
  return kept;
}

std::vector<Cluster> clusters_of(std::vector<Unit>& units, const Tensor& vectors, int64_t n_clusters) {
  const int64_t k = std::min<int64_t>(n_clusters, vectors.size(0));
  std::vector<int64_t> starts{0};
  Tensor nearest = at::mv(vectors, vectors[0]);
  while (static_cast<int64_t>(starts.size()) < k) {
    starts.push_back(nearest.argmin().item<int64_t>());
    nearest = at::maximum(nearest, at::mv(vectors, vectors[starts.back()]));
  }
  Tensor centres = vectors.index_select(0, at::tensor(starts, at::kLong)).clone(), labels;
  for (int round = 0; round < 30; ++round) {
    labels = at::mm(vectors, centres.t()).argmax(1);
    const Tensor sums = at::zeros_like(centres).index_add_(0, labels, vectors), norms = sums.norm(2, {1}, true);
    const Tensor moved = at::where(norms > 0, sums / norms.clamp_min(1e-12), centres);
    if (at::equal(moved, centres)) break;
    centres = moved;
  }
  const Tensor fit = at::mm(vectors, centres.t());
  std::vector<Cluster> clusters(static_cast<size_t>(k));
  for (size_t i = 0; i < units.size(); ++i) clusters[static_cast<size_t>(labels[static_cast<int64_t>(i)].item<int64_t>())].members.push_back(i);
  std::vector<size_t> order(clusters.size());
  for (size_t c = 0; c < clusters.size(); ++c) {
    const auto closeness = [&](size_t i) { return fit[static_cast<int64_t>(i)][static_cast<int64_t>(c)].item<double>(); };
    std::map<size_t, double> close;
    for (const size_t i : clusters[c].members) clusters[c].cohesion += close[i] = closeness(i);
    clusters[c].cohesion /= static_cast<double>(std::max<size_t>(1, clusters[c].members.size()));
    std::stable_sort(clusters[c].members.begin(), clusters[c].members.end(), [&](size_t a, size_t b) { return close[a] > close[b]; });
  }
  std::erase_if(clusters, [](const Cluster& cluster) { return cluster.members.empty(); });
  std::stable_sort(clusters.begin(), clusters.end(), [](const Cluster& a, const Cluster& b) { return a.cohesion > b.cohesion; });
  for (size_t c = 0; c < clusters.size(); ++c) {
    for (const size_t i : clusters[c].members) units[i].cluster = static_cast<int64_t>(c);
  }
  return clusters;
}

/// Places the units on the plane of their two largest principal components.
void place(std::vector<Unit>& units, const Tensor& vectors) {
  const Tensor centred = vectors - vectors.mean(0, true);
  const Tensor axes = std::get<1>(at::linalg_eigh(at::mm(centred.t(), centred))).narrow(1, vectors.size(1) - 2, 2);  // ascending eigenvalues
  const Tensor at_plane = at::mm(centred, axes).contiguous();
  const float* values = at_plane.data_ptr<float>();
  for (size_t i = 0; i < units.size(); ++i) {
    units[i].x = values[2 * i + 1];
    units[i].y = values[2 * i];
  }
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : static_cast<unsigned char>(c) < 0x20 ? "\xC2\xB7" : std::string(1, c);
  return out;
}

}  // namespace

Relations find_relations(const Tensor& z, std::span<const int32_t> ids, std::span<const int64_t> windows, const RelationsOptions& options) {
  at::NoGradGuard no_grad;
  Relations relations;
  relations.units = frequent_units(ids, windows, options);
  if (relations.units.size() < 3 || z.size(1) < 2) {
    throw Error(ErrorKind::kData, "the text has " + std::to_string(relations.units.size()) + " tokens and phrases that occur " + std::to_string(options.min_occurrences) + " times",
                "give a longer text");
  }
  const Tensor unit_length = z.to(at::kFloat) / z.to(at::kFloat).norm(2, {1}, true).clamp_min(1e-12);
  const Tensor vectors = directions(relations.units, unit_length - unit_length.mean(0, true));
  relations.pairs = strongest_pairs(relations.units, vectors, options.n_pairs);
  relations.clusters = clusters_of(relations.units, vectors, options.n_clusters);
  place(relations.units, vectors);
  return relations;
}

std::string map_svg(const Relations& relations, const std::vector<std::string>& names, const std::string& title) {
  constexpr double kWidth = 1000, kHeight = 760, kMargin = 50;
  double low_x = 1e300, high_x = -1e300, low_y = 1e300, high_y = -1e300;
  for (const Unit& unit : relations.units) {
    low_x = std::min(low_x, unit.x), high_x = std::max(high_x, unit.x);
    low_y = std::min(low_y, unit.y), high_y = std::max(high_y, unit.y);
  }
  const auto scaled = [](double value, double low, double high, double from, double to) { return from + (value - low) / std::max(high - low, 1e-12) * (to - from); };
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1000 760\" font-family=\"sans-serif\" role=\"img\">\n<title>" + escaped(title) +
                    "</title>\n<rect width=\"1000\" height=\"760\" fill=\"white\"/>\n<text x=\"20\" y=\"30\" font-size=\"20\">" + escaped(title) + "</text>\n";
  std::vector<std::pair<double, double>> taken;
  for (size_t i = 0; i < relations.units.size(); ++i) {
    const Unit& unit = relations.units[i];
    const double x = scaled(unit.x, low_x, high_x, kMargin, kWidth - 2 * kMargin), y = scaled(unit.y, low_y, high_y, kHeight - kMargin, kMargin + 20);
    const int hue = static_cast<int>(unit.cluster * 137 % 360);  // the golden angle keeps neighbours apart
    svg += format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"hsl(%d,65%%,45%%)\" fill-opacity=\"0.6\"><title>%s, %zu times, cluster %lld</title></circle>\n", x, y,
                  1.5 + 0.9 * std::log(static_cast<double>(unit.occurrences.size())), hue, escaped(names[i]).c_str(), unit.occurrences.size(), static_cast<long long>(unit.cluster + 1));
    const bool free = std::none_of(taken.begin(), taken.end(), [&](const auto& other) { return std::abs(other.first - x) < 62 && std::abs(other.second - y) < 13; });
    if (!free) continue;
    taken.emplace_back(x, y);
    svg += format("<text x=\"%.1f\" y=\"%.1f\" font-size=\"12\" fill=\"hsl(%d,65%%,28%%)\">", x + 6, y + 4, hue) + escaped(names[i]) + "</text>\n";
  }
  return svg + "</svg>\n";
}

}  // namespace entrain::entanglement
