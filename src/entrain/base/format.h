#pragma once
// Numbers into text.

#include <string>

namespace entrain {

/// std::printf's pattern and arguments as a string of whatever length they take.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

}  // namespace entrain
