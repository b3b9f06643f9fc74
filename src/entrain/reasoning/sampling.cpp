#include "entrain/reasoning/sampling.h"

#include <algorithm>

#include "entrain/base/error.h"

namespace entrain::reasoning {
namespace {

constexpr int64_t kMaxFruitlessDraws = 1'000'000;

/// The items of one depth, group by group.
class DepthSource {
 public:
  DepthSource(const Family& family, const Request& request, int64_t depth)
      : family_(family), request_(request), name_(family.name()), depth_(depth) {}

  /// The next group of the split, hashed and numbered.
  std::vector<Item> next() {
    for (int64_t fruitless = 0; fruitless < kMaxFruitlessDraws; ++fruitless) {
      const uint64_t draw = n_draws_++;
      RandomStream random = stream(request_.seed, "items." + name_, static_cast<uint64_t>(depth_), draw);
      std::vector<Item> group = family_.draw(random, {depth_, request_.sampler, request_.names});
      const uint64_t number = stream(request_.seed, "group." + name_, static_cast<uint64_t>(depth_), draw).next_u64();
      for (Item& item : group) {
        item.family = name_;
        item.hash = canonical_hash(name_, item.canonical);
        item.group = number;
      }
      const auto belongs = [&](const Item& item) { return split_of(item.hash) == request_.split; };
      if (family_.closed() || std::all_of(group.begin(), group.end(), belongs)) return group;
    }
    throw Error(ErrorKind::kData,
                "family " + name_ + ", depth " + std::to_string(depth_) + ": a million draws and none in split " +
                    std::string(kSplitNames[static_cast<size_t>(request_.split)]),
                "take another depth; this one has too few structures");
  }

 private:
  const Family& family_;
  const Request& request_;
  std::string name_;
  int64_t depth_;
  uint64_t n_draws_ = 0;
};

}  // namespace

std::vector<Item> sample(const Family& family, const Request& request) {
  if (request.min_depth < 1 || request.max_depth > family.max_depth() || request.min_depth > request.max_depth) {
    throw Error(ErrorKind::kUsage,
                "family " + family.name() + " has no depths " + std::to_string(request.min_depth) + "-" +
                    std::to_string(request.max_depth),
                "its depths are 1-" + std::to_string(family.max_depth()));
  }
  if (request.n < 0) throw Error(ErrorKind::kUsage, "a negative number of items", "ask for n >= 0");
  const int64_t n_depths = request.max_depth - request.min_depth + 1;
  std::vector<DepthSource> sources;
  std::vector<int64_t> missing;
  for (int64_t i = 0; i < n_depths; ++i) {
    sources.emplace_back(family, request, request.min_depth + i);
    missing.push_back(request.n / n_depths + (i < request.n % n_depths ? 1 : 0));
  }
  std::vector<Item> items;
  items.reserve(static_cast<size_t>(request.n));
  while (static_cast<int64_t>(items.size()) < request.n) {
    for (size_t i = 0; i < sources.size(); ++i) {
      if (missing[i] == 0) continue;
      std::vector<Item> group = sources[i].next();
      const int64_t n_taken = std::min<int64_t>(missing[i], static_cast<int64_t>(group.size()));
      std::move(group.begin(), group.begin() + n_taken, std::back_inserter(items));
      missing[i] -= n_taken;
    }
  }
  return items;
}

std::vector<Item> sample(const Request& request) { return sample(family(request.family), request); }

}  // namespace entrain::reasoning
