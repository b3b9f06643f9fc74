// Family order: who is below whom, from some comparisons, strict (<) and not (≤). Written < either way round ("b > a").

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "entrain/base/error.h"
#include "entrain/reasoning/graph.h"
#include "entrain/reasoning/makers.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

/// smaller < greater, or smaller ≤ greater.
struct Comparison {
  int smaller = 0, greater = 0;
  bool strict = true;
};

struct Comparisons {
  std::vector<Comparison> given;
  Comparison asked;
  int n_names = 0;
};

[[noreturn]] void not_order(const std::string& text) {
  throw Error(ErrorKind::kData, "not an item of family order: \"" + text + "\"");
}

[[noreturn]] void contradictory(const std::string& text) {
  throw Error(ErrorKind::kData, "the comparisons contradict each other: \"" + text + "\"");
}

Comparisons parse(const std::string& text) {
  const auto halves = split_at(text, "?");
  if (halves.size() != 2) not_order(text);
  Comparisons all;
  std::map<std::string, int> numbers;
  const auto comparison = [&](const std::string& statement) -> Comparison {
    const auto symbols = split_symbols(statement);
    if (symbols.size() != 3) not_order(text);
    const int left = numbers.try_emplace(symbols[0], static_cast<int>(numbers.size())).first->second;
    const int right = numbers.try_emplace(symbols[2], static_cast<int>(numbers.size())).first->second;
    if (symbols[1] == "<") return {left, right, true};
    if (symbols[1] == ">") return {right, left, true};
    if (symbols[1] == "≤") return {left, right, false};
    not_order(text);
  };
  for (const std::string& statement : split_at(halves[0], ";")) all.given.push_back(comparison(statement));
  all.asked = comparison(halves[1]);
  all.n_names = static_cast<int>(numbers.size());
  return all;
}

// Whether heights exist that satisfy the comparisons and one more: all start at 0 and are raised as long as a comparison demands it. If
// there are any, n - 1 suffices as the greatest.
bool has_heights(const Comparisons& all, const Comparison& more) {
  std::vector<Comparison> comparisons = all.given;
  comparisons.push_back(more);
  std::vector<int> height(static_cast<size_t>(all.n_names), 0);
  for (bool raised = true; raised;) {
    raised = false;
    for (const auto& [smaller, greater, strict] : comparisons) {
      const int least = height[static_cast<size_t>(smaller)] + (strict ? 1 : 0);
      if (height[static_cast<size_t>(greater)] >= least) continue;
      if (least >= all.n_names) return false;
      height[static_cast<size_t>(greater)] = least;
      raised = true;
    }
  }
  return true;
}

Comparison opposite(const Comparison& comparison) { return {comparison.greater, comparison.smaller, !comparison.strict}; }

/// What all items of a group share.
struct Frame {
  Graph graph;  // from smaller to greater
  std::vector<bool> strict;
  bool asks_strict = true;
  Distances distance;
  Degrees degrees;

  // A path with a strict edge on it.
  bool reaches_strictly(int from, int to) const {
    for (size_t i = 0; i < graph.edges.size(); ++i) {
      if (strict[i] && distance.reaches(from, graph.edges[i].first) && distance.reaches(graph.edges[i].second, to)) return true;
    }
    return false;
  }
  std::string_view answer(int first, int second) const {
    const auto holds = [&](int from, int to, bool strictly) {
      return strictly ? reaches_strictly(from, to) : distance.reaches(from, to);
    };
    if (holds(first, second, asks_strict)) return kTrue;
    if (holds(second, first, !asks_strict)) return kFalse;
    return kUncertain;
  }
};

class Order : public Family {
 public:
  std::string name() const override { return "order"; }
  std::string description() const override {
    return "whether a < z follows from comparisons, strict or not, some reversed; depth is the number of comparisons needed";
  }
  int64_t max_depth() const override { return 12; }
  double chance(int64_t) const override { return 1.0 / 3; }

  std::vector<Item> draw(RandomStream& random, const Draw& how) const override {
    const int depth = static_cast<int>(how.depth);
    for (;;) {
      const int n_spare = 4 + static_cast<int>(random.next_below(depth > 8 ? 1 : 3));
      Graph graph = draw_graph(random, depth, std::max(depth + n_spare, 8), how.sampler);
      std::vector<bool> strict;
      for (size_t i = 0; i < graph.edges.size(); ++i) strict.push_back(draw_chance(random, 0.65));
      Distances distance(graph);
      Degrees degrees(graph);
      const Frame frame{std::move(graph), std::move(strict), draw_chance(random, 0.7), std::move(distance), std::move(degrees)};
      if (const auto asked = draw_asked(frame, depth, random)) return items(frame, *asked, how, random);
    }
  }

  std::string solve(const Item& item) const override {
    // Transitive closure (Warshall): 1 for ≤, 2 for <.
    const Comparisons all = parse(item.symbolic);
    const auto n = static_cast<size_t>(all.n_names);
    std::vector<std::vector<int>> below(n, std::vector<int>(n, 0));
    for (const auto& [smaller, greater, strict] : all.given) {
      int& at = below[static_cast<size_t>(smaller)][static_cast<size_t>(greater)];
      at = std::max(at, strict ? 2 : 1);
    }
    for (size_t k = 0; k < n; ++k) {
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n && below[i][k] > 0; ++j) {
          if (below[k][j] > 0) below[i][j] = std::max({below[i][j], below[i][k], below[k][j]});
        }
      }
    }
    for (size_t i = 0; i < n; ++i) {
      if (below[i][i] == 2) contradictory(item.symbolic);
    }
    const auto [smaller, greater, strict] = all.asked;
    if (below[static_cast<size_t>(smaller)][static_cast<size_t>(greater)] >= (strict ? 2 : 1)) return std::string(kTrue);
    if (below[static_cast<size_t>(greater)][static_cast<size_t>(smaller)] >= (strict ? 1 : 2)) return std::string(kFalse);
    return std::string(kUncertain);
  }

  std::string solve_by_search(const Item& item) const override {
    const Comparisons all = parse(item.symbolic);
    const bool may_hold = has_heights(all, all.asked), may_fail = has_heights(all, opposite(all.asked));
    if (!may_hold && !may_fail) contradictory(item.symbolic);
    return std::string(may_hold && may_fail ? kUncertain : may_hold ? kTrue : kFalse);
  }

 private:
  using Pair = std::pair<int, int>;

  // Three pairs of nodes to ask for, one for each answer, all alike.
  static std::optional<std::vector<Pair>> draw_asked(const Frame& frame, int depth, RandomStream& random) {
    const int n = frame.graph.n_nodes;
    std::vector<Pair> paths;
    for (int from = 0; from < n; ++from) {
      for (int to = 0; to < n; ++to) {
        // The way back has to answer ⊥ and the way there ●, so one strict edge is needed whatever is asked.
        if (frame.distance(from, to) != depth || !frame.degrees.alike(from, to)) continue;
        if (frame.reaches_strictly(from, to)) paths.emplace_back(from, to);
      }
    }
    if (paths.empty()) return {};
    const Pair path = pick(paths, random);
    // Nothing follows: best if one of the names is the same, or there is a path with no strict edge.
    std::vector<Pair> open, near;
    for (int first = 0; first < n; ++first) {
      for (int second = 0; second < n; ++second) {
        if (first == second || !frame.degrees.alike(first, path.first) || !frame.degrees.alike(second, path.first)) continue;
        if (frame.answer(first, second) != kUncertain) continue;
        // Names that stand in one comparison give themselves away where certain answers take many, so a path with no strict edge has to
        // be long too.
        const int weak = std::max(frame.distance(first, second), frame.distance(second, first));
        if (weak > 0 && weak < std::min(depth, 3)) continue;
        open.emplace_back(first, second);
        if (weak > 0 || first == path.first || second == path.second) near.push_back(open.back());
      }
    }
    if (open.empty()) return {};
    const Pair apart = !near.empty() && draw_chance(random, 0.5) ? pick(near, random) : pick(open, random);
    return std::vector<Pair>{path, apart, {path.second, path.first}};
  }

  static std::vector<Item> items(const Frame& frame, const std::vector<Pair>& asked_pairs, const Draw& how, RandomStream& random) {
    const auto n = static_cast<size_t>(frame.graph.n_nodes);
    const auto letters = draw_names(random, NameKind::kLower, how.names, n);
    const auto people = draw_names(random, NameKind::kPerson, how.names, n);
    std::vector<bool> turned;
    for (size_t i = 0; i <= frame.graph.edges.size(); ++i) turned.push_back(draw_chance(random, 0.5));
    const auto counts = [&](const Pair& asked) {
      std::vector<int> count;
      for (int node = 0; node < frame.graph.n_nodes; ++node) {
        count.push_back(frame.degrees.total(node) + (node == asked.first) + (node == asked.second));
      }
      return count;
    };
    std::vector<std::string> labels;
    for (const bool strict : frame.strict) labels.push_back(strict ? "<" : "≤");
    const std::string skeleton = graph_form(frame.graph, labels, {});
    const Pair& first = asked_pairs.front();
    std::vector<Item> group;
    for (const Pair& asked : asked_pairs) {
      const std::vector<Pair> pinned = {{first.first, asked.first}, {first.second, asked.second}};
      const auto names = rename_nodes(letters, counts(first), counts(asked), pinned);
      const auto persons = rename_nodes(people, counts(first), counts(asked), pinned);
      ENTRAIN_CHECK(!names.empty(), "nodes of a group are alike");
      const auto written = [](const Pair& pair, bool strict, bool reversed, const std::vector<std::string>& of,
                              const std::array<std::string_view, 3>& signs) {
        const std::string &small = of[static_cast<size_t>(pair.first)], &great = of[static_cast<size_t>(pair.second)];
        if (!strict) return small + std::string(signs[2]) + great;
        return reversed ? great + std::string(signs[1]) + small : small + std::string(signs[0]) + great;
      };
      Item item;
      item.depth = how.depth;
      std::vector<std::string> given;
      for (size_t i = 0; i < frame.graph.edges.size(); ++i) {
        given.push_back(written(frame.graph.edges[i], frame.strict[i], turned[i], names, {" < ", " > ", " ≤ "}));
        item.symbolic += given.back();
        item.symbolic += i + 1 < frame.graph.edges.size() ? " ; " : " ? ";
        item.english += written(frame.graph.edges[i], frame.strict[i], turned[i], persons,
                                {" is below ", " is above ", " is not above "}) + " . ";
      }
      item.symbolic += written(asked, frame.asks_strict, turned.back(), names, {" < ", " > ", " ≤ "});
      item.english += "Is " + written(asked, frame.asks_strict, turned.back(), persons, {" below ", " above ", " not above "}) + " ?";
      item.answer = frame.answer(asked.first, asked.second);
      item.steps = steps(frame, asked, frame.asks_strict && turned.back(), given, names);
      const std::string sign = frame.asks_strict ? "<" : "≤";
      item.canonical = skeleton + "|" + graph_form(frame.graph, labels, {{asked.first, sign}, {asked.second, "?"}});
      group.push_back(std::move(item));
    }
    return group;
  }

  // What is above the name asked about until the other is met, then what is below it; < where a strict comparison lies between. Before each, the comparison that shows it.
  static std::vector<std::string> steps(const Frame& frame, const Pair& asked, bool reversed, const std::vector<std::string>& given, const std::vector<std::string>& names) {
    const int subject = reversed ? asked.second : asked.first, other = reversed ? asked.first : asked.second;
    std::vector<std::string> steps;
    const auto name = [&](int node) { return names[static_cast<size_t>(node)]; };
    const auto spread = [&](bool upwards) {
      std::vector<int> queue = {subject};
      for (size_t i = 0; i < queue.size(); ++i) {
        for (size_t edge = 0; edge < given.size(); ++edge) {
          const auto& [from, to] = frame.graph.edges[edge];
          const int near = upwards ? from : to, far = upwards ? to : from;
          if (near != queue[i] || std::find(queue.begin(), queue.end(), far) != queue.end()) continue;
          queue.push_back(far);
          steps.push_back(given[edge]);
          const bool strict = upwards ? frame.reaches_strictly(subject, far) : frame.reaches_strictly(far, subject);
          const std::string shown = !upwards && strict ? name(subject) + " > " + name(far) : upwards ? name(subject) + (strict ? " < " : " ≤ ") + name(far) : name(far) + " ≤ " + name(subject);
          if (shown != given[edge]) steps.push_back(shown);
          if (far == other) return true;
        }
      }
      return false;
    };
    if (!spread(true) && !spread(false)) steps.push_back(name(subject) + " ◑ " + name(other));
    return steps;
  }
};

}  // namespace

std::unique_ptr<Family> make_order() { return std::make_unique<Order>(); }

}  // namespace entrain::reasoning
