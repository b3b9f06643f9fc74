// config.json up to the first zero byte, and after it model.safetensors, which serves as memory.safetensors too.

#include <algorithm>

#include "entrain/model/checked_config.h"
#include "entrain/model/config_json.h"
#include "entrain/model/safetensors_header.h"
#include "model_bytes.h"
#include "reading.h"

// As of safetensors, whose tree is gone before the shapes are compared; the configuration has its own.
constexpr entrain::fuzz::Bound kBound{.per_byte = 48, .fixed = 16384};

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace entrain;
  return fuzz::reading(kBound, size, [&] {
    const uint8_t* end = std::find(data, data + size, 0);
    const model::Config config = model::from_config_json(std::string(data, end), "config.json");
    model::to_config_json(config, {});
    const size_t rest = end == data + size ? 0 : static_cast<size_t>(data + size - end) - 1;
    model::Stored stored{.weights = {}, .memory = {}, .n_bytes = static_cast<double>(rest), .weights_name = "model.safetensors", .memory_name = "memory.safetensors"};
    for (const auto& entry : model::read_safetensors_header(fuzz::bytes_of(data + size - rest, rest), "model.safetensors").entries) stored.weights[entry.name] = entry.shape;
    stored.memory = stored.weights;
    model::check_config(config, stored, "config.json");
    // A number of two bytes or more becomes one of four, and mixing may draw one for each byte.
    if (fuzz::model_bytes(config) > 6.0 * static_cast<double>(rest)) __builtin_trap();
  });
}
