#pragma once
// Which instruction sets the kernels are compiled for; include before any Highway header.
// Left out: SSSE3 (no machine that runs LibTorch stops there), and the scalable ones, whose vectors cannot be kept in arrays.

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
