#pragma once
// The time of day, for records that people read.

#include <string>

namespace entrain {

/// "2031-05-04T13:02:01Z"
std::string utc_now();

}  // namespace entrain
