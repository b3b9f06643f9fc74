#pragma once
// One instruction set at a time, where tests usually see the best only.

#include <hwy/targets.h>

namespace entrain::ops::testing {

/// Hides all other instruction sets from the kernels' run-time choice; 0 shows them again.
inline void use_only(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().DeInit();
}

}  // namespace entrain::ops::testing
