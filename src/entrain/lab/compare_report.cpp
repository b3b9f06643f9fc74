// The words and tables of a comparison.

#include <cstdarg>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "entrain/lab/compare.h"

namespace entrain::lab {
namespace {

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(buffer, sizeof buffer, pattern, arguments);
  va_end(arguments);
  return buffer;
}

std::string equivalent_text(const ComputeEquivalent& e) {
  switch (e.kind) {
    case ComputeEquivalent::Kind::kInterpolated: return format("%.2fx", e.ratio);
    case ComputeEquivalent::Kind::kExtrapolated: return e.ratio < 100 ? format("about %.2fx (extrapolated)", e.ratio) : "over 100x (extrapolated)";
    case ComputeEquivalent::Kind::kBelowLadder: return format("under %.2fx", e.ratio);
    case ComputeEquivalent::Kind::kUnknown: return "not measured";
  }
  return "";
}

std::string verdict(const PairSummary& p, const std::string& match) {
  const Difference& d = p.difference;
  const std::string size = format("%.4f nats per token, 95 %% interval %+.4f to %+.4f", std::abs(d.mean), d.low, d.high);
  if (!d.significant()) return format("%s against %s: no significant difference (%+.4f nats per token, 95 %% interval %+.4f to %+.4f).", p.arm.c_str(), p.reference.c_str(), d.mean, d.low, d.high);
  if (d.mean < 0) return format("%s beats %s by %s.", p.arm.c_str(), p.reference.c_str(), size.c_str());
  return format("%s does not pay against %s at this budget (equal %s): it is worse by %s.", p.arm.c_str(), p.reference.c_str(), match.c_str(), size.c_str());
}

}  // namespace

std::string Report::to_markdown() const {
  const std::string& base = arms.front().name;
  std::string text = "| arm | parameters | nats/token | bits/byte | against " + base + ", nats/token (95 %) | raw tokens read | FLOPs | seconds | compute " + base +
                     " would need |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
  for (const ArmSummary& arm : arms) {
    std::string difference = "baseline";
    for (const PairSummary& pair : pairs) {
      if (pair.arm == arm.name && pair.reference == base) {
        difference = format("%+.4f (%+.4f to %+.4f)%s", pair.difference.mean, pair.difference.low, pair.difference.high, pair.difference.significant() ? "" : ", not significant");
      }
    }
    const std::string spread = arm.n_seeds > 1 ? format(" ± %.4f", arm.seed_spread) : "";
    text += format("| %s | %.2fM | %.4f%s | %.4f | %s | %.1fM | %.3g | %.0f | %s |\n", arm.name.c_str(), static_cast<double>(arm.n_parameters) * 1e-6, arm.nats_per_token, spread.c_str(),
                   arm.bits_per_byte, difference.c_str(), arm.raw_tokens * 1e-6, arm.flops, arm.seconds, arm.name == base ? "1" : equivalent_text(arm.equivalent).c_str());
  }
  text += "\n";
  for (const PairSummary& pair : pairs) text += "- " + verdict(pair, match == "raw_tokens" ? "raw tokens" : match == "flops" ? "FLOPs" : match) + "\n";
  if (ladder.size() > 1) {
    text += "- Compute " + base + " would need: from its own fully decayed runs at";
    for (size_t i = 0; i < ladder.size(); ++i) text += format("%s %.3gx (%.4f)", i ? "," : "", ladder[i].first, ladder[i].second);
    text += " of the budget. Extrapolated figures extend the last slope in log compute beyond the largest budget: where the curve flattens, the true figure is higher.\n";
  }
  text += format("- Intervals: paired bootstrap over %lld blocks of %lld held-out tokens in %lld documents. They speak of this text, not of other text.\n", static_cast<long long>(n_blocks),
                 static_cast<long long>(n_tokens), static_cast<long long>(n_documents));
  text += n_seeds == 1 ? "- One seed a side: another seed would move every figure, and these intervals do not show by how much. Use --seeds to learn it.\n"
                       : format("- ± is the standard deviation over %lld seeds; the intervals treat the seeds as given.\n", static_cast<long long>(n_seeds));
  for (const ArmSummary& arm : arms) {
    if (!arm.sample.empty()) text += "\nSample of " + arm.name + ":\n\n> " + arm.sample + "\n";
  }
  return text;
}

std::string Report::to_json() const {
  nlohmann::ordered_json json{{"match", match}, {"seeds", n_seeds}, {"held_out_tokens", n_tokens}, {"held_out_documents", n_documents}, {"blocks", n_blocks}};
  for (const ArmSummary& arm : arms) {
    json["arms"].push_back({{"arm", arm.name}, {"parameters", arm.n_parameters}, {"nats_per_token", arm.nats_per_token}, {"bits_per_byte", arm.bits_per_byte},
                            {"seed_standard_deviation", arm.seed_spread}, {"raw_tokens", arm.raw_tokens}, {"flops", arm.flops}, {"seconds", arm.seconds}, {"steps", arm.steps},
                            {"baseline_compute", equivalent_text(arm.equivalent)}, {"sample", arm.sample}});
  }
  for (const PairSummary& pair : pairs) {
    json["pairs"].push_back({{"arm", pair.arm}, {"reference", pair.reference}, {"difference", pair.difference.mean}, {"low", pair.difference.low}, {"high", pair.difference.high},
                             {"significant", pair.difference.significant()}});
  }
  for (const auto& [share, loss] : ladder) json["ladder"].push_back({{"share", share}, {"nats_per_token", loss}});
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace entrain::lab
