// at::mm is MKL in float32 on a CPU, which is at its best on Intel's; on AMD's with AVX-512, oneDNN, which LibTorch carries too, is
// 10-25 % faster at the shapes of a training step (bench/matmul_speed.py), except for a^T b, which is therefore left to at::mm.
// The choice depends on the machine and the shape only, never on a timing, so that results repeat.

#include "entrain/ops/matmul.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace entrain::ops {
namespace {

using LinearSignature = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::string_view,
                               c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

constexpr int64_t kSmall = 1 << 25;  // multiply-adds; below, setting up oneDNN's primitive costs more than it saves

bool is_amd_with_avx512() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

}  // namespace

Tensor matmul_nt(const Tensor& a, const Tensor& b) {
  static const auto schema = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  static const bool onednn_is_faster = is_amd_with_avx512() && schema.has_value();
  if (!onednn_is_faster || !a.is_cpu() || a.scalar_type() != at::kFloat || b.scalar_type() != at::kFloat ||
      a.numel() * b.size(0) < kSmall) {
    return at::mm(a, b.t());
  }
  static const auto linear = schema->typed<LinearSignature>();
  return linear.call(a, b, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), "");
}

Tensor matmul_nn(const Tensor& a, const Tensor& b) { return matmul_nt(a, b.t()); }

}  // namespace entrain::ops
