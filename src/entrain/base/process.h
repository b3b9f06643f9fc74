#pragma once
// Other programs as subprocesses: no shell, files rather than pipes, a limit on their time.

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace entrain {

struct ProcessResult {
  int exit_code = 0;  ///< -1: ended by a signal, or killed because it took too long
  std::string output, error;
};

/// Runs a program (a path, or a name looked up on the search path) with these arguments and this standard input, in an environment that holds
/// nothing but a UTF-8 locale, and waits for its end. What it writes may be of any size and hold any bytes. Safe on several threads at once.
/// Throws Error{kIo} where it cannot be started (`hint` then says how to get it) or temporary files cannot be written.
ProcessResult run_process(const std::string& program, const std::vector<std::string>& arguments, std::string_view input, std::chrono::seconds timeout, const std::string& hint);

}  // namespace entrain
