// Names the vector instructions chosen at run time.

#include <string>

#include "entrain/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "entrain/ops/cpu/target_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace entrain::ops::HWY_NAMESPACE {

const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace entrain::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace entrain::ops {

HWY_EXPORT(target_name);

std::string cpu_kernel_target() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

}  // namespace entrain::ops
#endif
