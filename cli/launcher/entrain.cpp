// `entrain`: sets what the OpenMP runtime reads when it is loaded, which is before any code of a program linked to it, and becomes the program.
//
// Waiting threads of that runtime spin by default, which on a busy machine costs whole time slices (measured up to fifteenfold).

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

int main(int, char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") == nullptr) ::setenv("OMP_WAIT_POLICY", "PASSIVE", /*overwrite=*/0);
  std::error_code failed;
  const std::string here = std::filesystem::read_symlink("/proc/self/exe", failed).string();
  const std::string program = (failed ? std::string(argv[0]) : here) + "-program";
  ::execv(program.c_str(), argv);
  std::fprintf(stderr, "error: cannot start %s: %s\nhint: it stands beside this file; build or install both again\n", program.c_str(), std::strerror(errno));
  return 5;
}
