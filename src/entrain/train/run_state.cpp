#include "entrain/train/run_state.h"

#include <nlohmann/json.hpp>

#include "entrain/base/error.h"

namespace entrain::train {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RunState, step, cursor, raw_tokens, positions, flops, seconds, best_nats, best_step)

std::string RunState::to_json() const { return nlohmann::json(*this).dump(2) + "\n"; }

RunState RunState::from_json(const std::string& text, const std::string& name) {
  try {
    return nlohmann::json::parse(text).get<RunState>();
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::kData, name + " is not a run's state: " + error.what(), "resume from another checkpoint");
  }
}

}  // namespace entrain::train
