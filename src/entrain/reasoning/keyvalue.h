#pragma once
// Family keyvalue: sums of values that stand in a fixed dictionary and never in the prompt, "k a 3 + k c d ?" (the key-value
// arithmetic of CALM, arXiv 2401.02412). It needs two skills that can be learned apart: the dictionary (key_question) and addition
// (sum_question).

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "entrain/reasoning/item.h"

namespace entrain::reasoning {

/// Keys are two symbols, each a letter a-r or a digit: "a 3", "3 7". Every key is in one of two sets, decided by its hash.
enum class KeySet {
  kJoint,    ///< 3/4: in training on sums of values (the family's Names::kTrained)
  kHeldOut,  ///< 1/4: in the dictionary alone; sums of them show whether the skills were joined (Names::kUnseen)
};

/// In a fixed order without meaning; both sets together are all 784 keys.
std::span<const std::string> keys(KeySet set);

/// The digit of a key, from its hash: within a set every digit has as many keys as any other, up to one. -1 for anything else.
int key_value(std::string_view key);

/// "k a 3 ?", answered by the key's digit. Throws Error{kData} for what is no key.
Item key_question(std::string_view key);

/// "3 + 5 ?", answered by the last digit of the sum; a and b are digits.
Item sum_question(int a, int b);

}  // namespace entrain::reasoning
