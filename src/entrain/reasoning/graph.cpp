#include "entrain/reasoning/graph.h"

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

bool has_edge(const Graph& graph, int from, int to) {
  return std::find(graph.edges.begin(), graph.edges.end(), std::pair{from, to}) != graph.edges.end();
}

int random_node(RandomStream& random, const Graph& graph) {
  return static_cast<int>(random.next_below(static_cast<uint64_t>(graph.n_nodes)));
}

// True where from -> to may be added: no loop, nothing double, no cycle, no shorter way from 0 to `length`.
bool may_join(const Graph& graph, int from, int to, int length) {
  if (from == to || has_edge(graph, from, to)) return false;
  const Distances distance(graph);
  if (distance.reaches(to, from)) return false;
  return !distance.reaches(0, from) || !distance.reaches(to, length) ||
         distance(0, from) + 1 + distance(to, length) >= distance(0, length);
}

void add_leaf(Graph& graph, int at, RandomStream& random) {
  const int leaf = graph.add_node();
  graph.edges.push_back(draw_chance(random, 0.5) ? std::pair{at, leaf} : std::pair{leaf, at});
}

Graph grown(RandomStream& random, int length, int n_edges) {
  Graph graph;
  graph.n_nodes = length + 1;
  for (int i = 0; i < length; ++i) graph.edges.emplace_back(i, i + 1);
  if (n_edges >= length + 2) {
    graph.edges.emplace_back(graph.add_node(), 0);
    graph.edges.emplace_back(length, graph.add_node());
  }
  while (static_cast<int>(graph.edges.size()) < n_edges) {
    const double kind = random.next_uniform();
    if (kind < 0.55) {
      add_leaf(graph, random_node(random, graph), random);
    } else if (kind < 0.75) {
      add_leaf(graph, graph.n_nodes - 1, random);  // the branch begun last grows on
    } else if (kind < 0.85) {
      add_leaf(graph, graph.add_node(), random);
    } else {
      const int from = random_node(random, graph), to = random_node(random, graph);
      if (may_join(graph, from, to, length)) graph.edges.emplace_back(from, to);
    }
  }
  return graph;
}

Graph ranked(RandomStream& random, int length, int n_edges) {
  // Nodes in the order of their ranks; the path is some of them.
  const int n_ranks = std::max(length + 3, n_edges - static_cast<int>(random.next_below(2)));
  std::vector<int> ranks(static_cast<size_t>(n_ranks));
  for (int i = 0; i < n_ranks; ++i) ranks[static_cast<size_t>(i)] = i;
  std::vector<int> path(ranks.begin() + 1, ranks.end() - 1);
  shuffle(path, random);
  path.resize(static_cast<size_t>(length + 1));
  std::sort(path.begin(), path.end());
  std::vector<int> node_of_rank(ranks.size(), -1);
  Graph graph;
  for (const int rank : path) node_of_rank[static_cast<size_t>(rank)] = graph.add_node();
  for (int i = 0; i < length; ++i) graph.edges.emplace_back(i, i + 1);
  const auto node_at = [&](int rank) -> int {
    int& node = node_of_rank[static_cast<size_t>(rank)];
    if (node < 0) node = graph.add_node();
    return node;
  };
  const auto join_ranks = [&](int low, int high) {
    const int from = node_at(low), to = node_at(high);
    if (may_join(graph, from, to, length)) graph.edges.emplace_back(from, to);
  };
  if (n_edges >= length + 2) {
    join_ranks(static_cast<int>(random.next_below(static_cast<uint64_t>(path.front()))), path.front());
    join_ranks(path.back(), static_cast<int>(draw_between(random, path.back() + 1, n_ranks - 1)));
  }
  while (static_cast<int>(graph.edges.size()) < n_edges) {
    const int low = static_cast<int>(random.next_below(static_cast<uint64_t>(n_ranks - 1)));
    join_ranks(low, static_cast<int>(draw_between(random, low + 1, std::min(n_ranks - 1, low + 4))));
  }
  return graph;
}

}  // namespace

Distances::Distances(const Graph& graph) : n_(graph.n_nodes), steps_(static_cast<size_t>(n_ * n_), -1) {
  std::vector<int> next(static_cast<size_t>(n_)), queue(static_cast<size_t>(n_));
  for (int start = 0; start < n_; ++start) {
    int* row = steps_.data() + static_cast<size_t>(start * n_);
    size_t n_queued = 0;
    queue[n_queued++] = start;
    row[start] = 0;
    for (size_t i = 0; i < n_queued; ++i) {
      for (const auto& [from, to] : graph.edges) {
        if (from != queue[i] || row[to] >= 0) continue;
        row[to] = row[from] + 1;
        queue[n_queued++] = to;
      }
    }
  }
}

Degrees::Degrees(const Graph& graph) : out(static_cast<size_t>(graph.n_nodes)), in(static_cast<size_t>(graph.n_nodes)) {
  for (const auto& [from, to] : graph.edges) {
    ++out[static_cast<size_t>(from)];
    ++in[static_cast<size_t>(to)];
  }
}

Graph draw_graph(RandomStream& random, int length, int n_edges, Sampler sampler) {
  ENTRAIN_CHECK(length >= 1 && n_edges >= length, std::to_string(length) + " of " + std::to_string(n_edges));
  Graph graph = sampler == Sampler::kRulesFirst ? grown(random, length, n_edges) : ranked(random, length, n_edges);
  shuffle(graph.edges, random);
  return graph;
}

std::string graph_form(const Graph& graph, const std::vector<std::string>& edge_labels,
                       const std::vector<std::pair<int, std::string>>& marks) {
  std::vector<std::string> labels(static_cast<size_t>(graph.n_nodes));
  for (const auto& [node, mark] : marks) labels[static_cast<size_t>(node)] += mark;
  std::vector<Relation> relations;
  for (size_t i = 0; i < graph.edges.size(); ++i) {
    relations.push_back({edge_labels.empty() ? "" : edge_labels[i], {graph.edges[i].first, graph.edges[i].second}});
  }
  return structure_form(labels, relations);
}

std::vector<std::string> rename_nodes(const std::vector<std::string>& names, const std::vector<int>& counts,
                                      const std::vector<int>& new_counts, const std::vector<std::pair<int, int>>& pinned) {
  const size_t n = names.size();
  std::vector<int> name_at(n, -1);
  std::vector<bool> used(n, false);
  const auto put = [&](size_t name, size_t node) {
    if (used[name] || name_at[node] >= 0 || counts[name] != new_counts[node]) return false;
    used[name] = true;
    name_at[node] = static_cast<int>(name);
    return true;
  };
  for (const auto& [name, node] : pinned) {
    if (!put(static_cast<size_t>(name), static_cast<size_t>(node))) return {};
  }
  for (size_t i = 0; i < n; ++i) put(i, i);
  std::vector<std::string> placed(n);
  for (size_t node = 0; node < n; ++node) {
    for (size_t name = 0; name < n && name_at[node] < 0; ++name) put(name, node);
    if (name_at[node] < 0) return {};
    placed[node] = names[static_cast<size_t>(name_at[node])];
  }
  return placed;
}

}  // namespace entrain::reasoning
