#include "entrain/model/taps.h"

#include <algorithm>

#include "entrain/base/error.h"

namespace entrain::model {

std::vector<std::string> Taps::points(int64_t n_layers) {
  std::vector<std::string> names{"hook_embed"};
  for (int64_t layer = 0; layer < n_layers; ++layer) {
    for (const char* point : {"hook_resid_pre", "ln1.hook_normalized", "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_z",
                              "hook_attn_out", "hook_resid_mid", "ln2.hook_normalized", "hook_mlp_out", "hook_resid_post"}) {
      names.push_back("blocks." + std::to_string(layer) + "." + point);
    }
  }
  names.push_back("ln_final.hook_normalized");
  return names;
}

void Taps::add(const std::string& point, Tap tap) {
  if (std::find(names_.begin(), names_.end(), point) == names_.end()) {
    const std::string near = nearest_name(point, names_);
    throw Error(ErrorKind::kUsage, "the model has no hook point " + point, near.empty() ? "" : "did you mean " + near + "?");
  }
  taps_[point].push_back(std::move(tap));
}

Tensor Taps::apply(const std::string& point, const Tensor& x) const {
  const auto found = taps_.find(point);
  if (found == taps_.end()) return x;
  Tensor y = x;
  for (const Tap& tap : found->second) y = tap(y);
  return y;
}

}  // namespace entrain::model
