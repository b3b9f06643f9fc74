#include "entrain/model/memory_config.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "entrain/model/blocks.h"

namespace entrain::model {
namespace {

bool is_whole(double value, double low, double high) { return value == std::floor(value) && value >= low && value <= high; }

}  // namespace

void MemoryConfig::bind(config::Binder& b) {
  b.section("memory", "Rows chosen by hashes of the last tokens, added inside the model (docs/methods/memory.md). Hardly any FLOPs, much RAM; no other program reads such a model.");
  b.bind("rows", &rows, "rows of each table, 4 x `width` bytes each and 4 more in training; 0: no memory").range(0, 1e11);
  b.bind("orders", &orders, "lengths of the n-grams, each 1 to 16; a table each");
  b.bind("heads", &heads, "hash functions an order; a table each").range(1, 64);
  b.bind("blocks", &blocks, "blocks, counted from 0, at whose input the sum of the rows is added, times a learned number each");
  b.bind("into", &into, "what they are added to: the residual stream, or the block's attention values").one_of({"residual", "values"});
  b.bind("width", &width, "width of a row; another one than that of what it is added to takes a projection; 0: the same").range(0, 65536);
  b.bind("sign", &sign, "each n-gram multiplies the row it shares by its own pattern of +1 and -1, so that collisions cancel");
  b.bind("gate", &gate, "a sigmoid of the agreement of state and row decides how much is added");
  b.bind("lr", &lr, "peak learning rate of the rows (row-wise Adagrad)").range(0, 100);
}

int64_t MemoryConfig::max_order() const {
  return orders.empty() ? 1 : static_cast<int64_t>(*std::max_element(orders.begin(), orders.end()));
}

std::vector<std::string> MemoryConfig::resolve(int64_t layers, int64_t target_width) {
  std::vector<std::string> problems;
  if (!is_on()) return problems;
  if (width == 0) width = target_width;
  const auto need = [&](bool good, const std::string& problem) {
    if (!good) problems.push_back(problem);
  };
  const auto distinct = [](const std::vector<double>& values) { return std::set<double>(values.begin(), values.end()).size() == values.size(); };
  need(!orders.empty() && orders.size() <= 16 && distinct(orders), "memory.orders must list at least one length, each once");
  need(std::all_of(orders.begin(), orders.end(), [](double order) { return is_whole(order, 1, 16); }), "memory.orders must be whole numbers from 1 to 16");
  need(!blocks.empty() && distinct(blocks), "memory.blocks must list at least one block, each once");
  for (const std::string& problem : block_problems("memory.blocks", blocks, layers)) problems.push_back(problem);
  const double bytes = 4.0 * static_cast<double>(rows) * static_cast<double>(width) * static_cast<double>(orders.size()) * static_cast<double>(heads);
  need(bytes < 0x1p46, "the memory's tables exceed what a process can address: lower memory.rows");
  return problems;
}

int64_t projection_parameters(const MemoryConfig& c, int64_t target_width) { return c.is_on() && c.width != target_width ? c.width * target_width : 0; }

double memory_flops_per_position(const MemoryConfig& c, int64_t target_width, int64_t bag) {
  if (!c.is_on()) return 0;
  const double tables = 8.0 * static_cast<double>(c.n_tables() * bag * c.width);
  const double blocks = (6.0 + (c.gate ? 33.0 : 0.0)) * static_cast<double>(c.blocks.size()) * static_cast<double>(target_width);
  return tables + blocks;
}

}  // namespace entrain::model
