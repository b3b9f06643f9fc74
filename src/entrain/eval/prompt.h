#pragma once
// The string and sampling rules of Python that prompts of lm-evaluation-harness depend on.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace entrain::eval {

/// Without white space at the end (Unicode's, as str.rstrip).
std::string_view stripped_right(std::string_view text);
/// Without white space at both ends, as str.strip.
std::string_view stripped(std::string_view text);
/// Code points, as len(str); bytes that are not UTF-8 count one each.
int64_t n_characters(std::string_view text);
/// First letter upper case, the others lower case, as str.capitalize; ASCII letters only.
std::string capitalized(std::string text);
/// Every `from` becomes `to`, from left to right.
std::string replaced(std::string_view text, std::string_view from, std::string_view to);

/// random.Random(seed) of Python 3: the Mersenne Twister of Matsumoto and Nishimura (1998), seeded by an array of one word.
class PythonRandom {
 public:
  explicit PythonRandom(uint32_t seed);
  uint32_t next();
  /// random.sample(range(n), k): k different indices in [0, n). Needs k <= n.
  std::vector<int64_t> sample(int64_t n, int64_t k);

 private:
  int64_t below(int64_t n);
  uint32_t state_[624];
  size_t at_ = 624;
};

}  // namespace entrain::eval
