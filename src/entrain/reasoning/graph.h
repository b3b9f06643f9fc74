#pragma once
// Acyclic graphs behind the rules of family chains, the facts of family order and the "All" statements of family quantifiers.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "entrain/base/random.h"
#include "entrain/reasoning/family.h"

namespace entrain::reasoning {

struct Graph {
  int n_nodes = 0;
  std::vector<std::pair<int, int>> edges = {};  ///< from, to; no edge twice, no cycle

  int add_node() { return n_nodes++; }
};

/// Fewest edges from one node to another, -1 where there is no path; 0 from a node to itself.
class Distances {
 public:
  explicit Distances(const Graph& graph);
  int operator()(int from, int to) const { return steps_[static_cast<size_t>(from * n_ + to)]; }
  bool reaches(int from, int to) const { return (*this)(from, to) >= 0; }

 private:
  int n_;
  std::vector<int> steps_;
};

/// Edges out of and into every node.
struct Degrees {
  std::vector<int> out, in;
  explicit Degrees(const Graph& graph);
  int total(int node) const { return out[static_cast<size_t>(node)] + in[static_cast<size_t>(node)]; }
  /// Equal for nodes that look alike to someone who reads only the edges at them.
  bool alike(int a, int b) const {
    return out[static_cast<size_t>(a)] == out[static_cast<size_t>(b)] && in[static_cast<size_t>(a)] == in[static_cast<size_t>(b)];
  }
};

/// An acyclic graph with `n_edges` edges in random order, in which node 0 reaches node `length` by exactly `length` edges along nodes
/// 1, 2, ... and by no shorter way. The path goes on at both its ends where n_edges >= length + 2, so that its ends look like its
/// middle. kRulesFirst grows branches from the path; kLabelsFirst ranks the nodes first and joins random pairs along the ranks.
Graph draw_graph(RandomStream& random, int length, int n_edges, Sampler sampler);

/// structure_form() of the edges, labelled as given (by no more than "" each where labels are empty), and of marks on nodes.
std::string graph_form(const Graph& graph, const std::vector<std::string>& edge_labels,
                       const std::vector<std::pair<int, std::string>>& marks);

/// Names for the nodes of another item of a group: node j gets a name that occurs as often in the first item as node j does here, so
/// that both texts have the same symbols. names[i] is at node i in the first item and occurs counts[i] times there; here node j occurs
/// new_counts[j] times; `pinned` are (i, j): names[i] has to be at node j. Names stay where they are if they can. Empty if impossible.
std::vector<std::string> rename_nodes(const std::vector<std::string>& names, const std::vector<int>& counts,
                                      const std::vector<int>& new_counts, const std::vector<std::pair<int, int>>& pinned);

}  // namespace entrain::reasoning
