#pragma once
// Errors: one exception type for everything a user can cause or mend, one macro for programming errors.
// The library throws; only cli/ prints and exits.

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace entrain {

/// What went wrong, in the classes a script can tell apart; the value is the program's exit code.
enum class ErrorKind : int {
  kUsage = 2,    ///< command line or configuration
  kData = 3,     ///< text, token files, checkpoints, tokenizers whose content is wrong
  kNumeric = 4,  ///< a non-finite loss or gradient stopped the run
  kIo = 5,       ///< the operating system refused: missing file, full disk, permission
};

/// A user-facing error: `what()` is one sentence that names the fact, `hint` names the fix (may be empty).
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, std::string hint = "");
  ErrorKind kind() const { return kind_; }
  const std::string& hint() const { return hint_; }

 private:
  ErrorKind kind_;
  std::string hint_;
};

/// Candidate nearest to `word` by edit distance, or "" when none is near enough to be a likely typing error.
std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

namespace detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& detail);
}  // namespace detail

}  // namespace entrain

/// Checks a programming contract; throws std::logic_error naming the condition, place and the given detail string.
#define ENTRAIN_CHECK(condition, detail_string)                                                          \
  do {                                                                                                   \
    if (!(condition)) ::entrain::detail::check_failed(#condition, __FILE__, __LINE__, (detail_string)); \
  } while (false)
