#include "entrain/reasoning/check.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "entrain/base/error.h"
#include "entrain/base/format.h"
#include "entrain/reasoning/sampling.h"
#include "entrain/reasoning/shortcuts.h"
#include "entrain/reasoning/symbols.h"

namespace entrain::reasoning {
namespace {

using Items = std::vector<const Item*>;

constexpr std::array<std::string_view, 2> kSurfaceNames = {"symbolic", "english"};
constexpr int64_t kMinCell = 50;  ///< items; smaller cells of "balance" are not judged

/// Right answers group by group, and what chance would give.
class Tally {
 public:
  void add(uint64_t group, bool right, double chance) {
    auto& [n_right, n] = groups_[group];
    n_right += right;
    ++n;
    ++n_;
    chance_ += chance;
  }
  void add(const Tally& other) {
    for (const auto& [group, counts] : other.groups_) groups_[group] = counts;
    n_ += other.n_;
    chance_ += other.chance_;
  }
  int64_t n() const { return n_; }
  GateResult result(std::string gate, std::string_view surface, std::string cell) const {
    GateResult result{std::move(gate), std::string(surface), std::move(cell)};
    const auto n = static_cast<double>(n_);
    int64_t n_right = 0;
    for (const auto& [group, counts] : groups_) n_right += counts.first;
    result.n = n_;
    result.accuracy = static_cast<double>(n_right) / n;
    result.chance = chance_ / n;
    double squares = 0;
    for (const auto& [group, counts] : groups_) {
      const double rest = static_cast<double>(counts.first) - result.accuracy * static_cast<double>(counts.second);
      squares += rest * rest;
    }
    result.standard_error = std::sqrt(squares) / n;
    return result;
  }

 private:
  std::map<uint64_t, std::pair<int64_t, int64_t>> groups_;
  int64_t n_ = 0;
  double chance_ = 0;
};

bool well_formed(const std::string& text) {
  return !text.empty() && join(split_symbols(text)) == text && text.find('\n') == std::string::npos &&
         text.find(" = ") == std::string::npos && text.find("⊢") == std::string::npos;
}

bool solved_alike(const Family& family, const Item& item) {
  try {
    return family.solve(item) == item.answer && family.solve_by_search(item) == item.answer;
  } catch (const Error&) {
    return false;
  }
}

// Items of one draw have the same symbols, the same question (where there are premises to tell them apart) and different answers.
bool keeps_contract(const Items& group) {
  std::set<std::string> answers;
  for (const Item* item : group) {
    const auto [premises, question] = split_question(item->symbolic);
    answers.insert(item->answer);
    if (sorted_symbols(item->symbolic) != sorted_symbols(group.front()->symbolic)) return false;
    if (!premises.empty() && question != split_question(group.front()->symbolic).second) return false;
  }
  return answers.size() == group.size();
}

std::map<uint64_t, Items> by_group(const std::vector<Item>& items) {
  std::map<uint64_t, Items> groups;
  for (const Item& item : items) groups[item.group].push_back(&item);
  return groups;
}

// By depth, in whole groups: the last group of each depth may have been cut off.
std::map<int64_t, Items> whole_groups(const std::vector<Item>& items) {
  std::map<int64_t, uint64_t> last;
  for (const Item& item : items) last[item.depth] = item.group;
  std::map<int64_t, Items> depths;
  for (const Item& item : items) {
    if (item.group != last[item.depth]) depths[item.depth].push_back(&item);
  }
  return depths;
}

std::string depths_text(int64_t low, int64_t high) {
  return low == high ? "depth " + std::to_string(low) : "depths " + std::to_string(low) + "-" + std::to_string(high);
}

void run_shortcut(const Family& family, Shortcut shortcut, Surface surface, std::map<int64_t, Items>& train,
                  const std::map<int64_t, Items>& test, std::vector<GateResult>& gates) {
  const std::string gate(kShortcutNames[static_cast<size_t>(shortcut)]);
  const std::string_view surface_name = kSurfaceNames[static_cast<size_t>(surface)];
  Tally together;
  std::vector<GateResult> single;
  bool precise = true;
  for (const auto& [depth, scored] : test) {
    if (train[depth].empty()) continue;
    const auto answers = shortcut_answers(shortcut, surface, train[depth], scored);
    Tally tally;
    for (size_t i = 0; i < scored.size(); ++i) {
      if (answers[i] >= 0) tally.add(scored[i]->group, answers[i] == answer_index(scored[i]->answer), family.chance(depth));
    }
    if (tally.n() == 0) continue;
    single.push_back(tally.result(gate, surface_name, depths_text(depth, depth)));
    precise = precise && single.back().standard_error <= kGatePrecision;
    together.add(tally);
  }
  if (single.empty()) return;
  if (precise) {
    gates.insert(gates.end(), single.begin(), single.end());
  } else {
    gates.push_back(together.result(gate, surface_name, depths_text(test.begin()->first, test.rbegin()->first)));
  }
}

// The worst cell of equal depth, length and number of truth symbols.
void run_balance(const Family& family, Surface surface, const std::map<int64_t, Items>& test, std::vector<GateResult>& gates) {
  std::map<std::tuple<int64_t, size_t, int64_t>, Items> cells;
  for (const auto& [depth, items] : test) {
    for (const Item* item : items) {
      const std::string& text = prompt(*item, surface);
      cells[{depth, split_views(text).size(), n_truth_symbols(text)}].push_back(item);
    }
  }
  std::vector<GateResult> results;
  for (const auto& [cell, items] : cells) {
    const auto& [depth, length, n_truth] = cell;
    if (static_cast<int64_t>(items.size()) < kMinCell) continue;
    for (const std::string_view answer : kAnswers) {
      Tally tally;
      for (const Item* item : items) tally.add(item->group, item->answer == answer, family.chance(depth));
      results.push_back(tally.result("balance", kSurfaceNames[static_cast<size_t>(surface)],
                                     depths_text(depth, depth) + ", " + std::to_string(length) + " symbols, " + std::to_string(n_truth) +
                                         " truth symbols, " + std::string(answer)));
    }
  }
  // A cell that fails, before one that merely has the greatest excess.
  const auto worse = [](const GateResult& a, const GateResult& b) {
    return std::pair{!a.passed(), a.excess()} < std::pair{!b.passed(), b.excess()};
  };
  if (const auto worst = std::max_element(results.begin(), results.end(), worse); worst != results.end()) gates.push_back(*worst);
}

std::string points(double share) {
  return format("%+.1f points", std::abs(share) < 5e-4 ? 0.0 : 100 * share);  // no "-0.0"
}

}  // namespace

CheckReport check_family(const Family& family, int64_t n, uint64_t seed) {
  CheckReport report;
  report.family = family.name();
  report.closed = family.closed();
  Request request{.family = family.name(), .min_depth = 1, .max_depth = family.max_depth(), .n = n, .seed = seed, .split = Split::kTrain};
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Item> train = sample(family, request);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  report.items_per_second = static_cast<double>(n) / std::max(elapsed.count(), 1e-9);
  // Another seed, or a family could give the same items in both and still seem apart.
  request.seed = seed + 1;
  request.split = Split::kTest;
  const std::vector<Item> test = sample(family, request);

  std::set<CanonicalHash> in_train, all;
  for (const Item& item : train) in_train.insert(item.hash);
  all = in_train;
  for (const Item& item : test) {
    report.overlap += in_train.contains(item.hash) ? 1 : 0;
    all.insert(item.hash);
  }
  report.n_items = static_cast<int64_t>(train.size() + test.size());
  report.n_distinct = static_cast<int64_t>(all.size());
  for (const auto* items : {&train, &test}) {
    for (const Item& item : *items) {
      report.mismatches += solved_alike(family, item) ? 0 : 1;
      report.malformed += well_formed(item.symbolic) && well_formed(item.english) && answer_index(item.answer) >= 0 ? 0 : 1;
    }
    for (const auto& [group, members] : by_group(*items)) report.malformed += keeps_contract(members) ? 0 : 1;
  }

  auto fitted = whole_groups(train);
  const auto scored = whole_groups(test);
  for (const Surface surface : {Surface::kSymbolic, Surface::kEnglish}) {
    for (size_t i = 0; i < kShortcutNames.size(); ++i) {
      run_shortcut(family, static_cast<Shortcut>(i), surface, fitted, scored, report.gates);
    }
    run_balance(family, surface, scored, report.gates);
  }
  std::vector<std::string> reasons;
  if (report.mismatches > 0) reasons.push_back(std::to_string(report.mismatches) + " answers on which the solvers differ");
  if (report.malformed > 0) reasons.push_back(std::to_string(report.malformed) + " malformed items or groups");
  if (report.overlap > 0 && !report.closed) reasons.push_back(std::to_string(report.overlap) + " items of test are in train");
  for (const GateResult& gate : report.gates) {
    report.worst_excess = std::max(report.worst_excess, gate.excess());
    if (!gate.passed() && !report.closed) {
      reasons.push_back(gate.gate + ", " + gate.surface + ", " + gate.cell + ": " + points(gate.excess()) + " above chance");
    }
  }
  report.passed = reasons.empty();
  report.reason = join(reasons, "; ");
  return report;
}

std::string worst_gate(const CheckReport& report) {
  if (report.closed) return "exempt";
  const auto worse = [](const GateResult& a, const GateResult& b) {
    return std::pair{!a.passed(), a.excess()} < std::pair{!b.passed(), b.excess()};
  };
  const auto worst = std::max_element(report.gates.begin(), report.gates.end(), worse);
  if (worst == report.gates.end()) return "none";
  return worst->gate + ", " + worst->surface + ", " + worst->cell + ": " + points(worst->excess());
}

}  // namespace entrain::reasoning
