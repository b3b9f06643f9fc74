// `entrain`: sets what the OpenMP runtime reads when it is loaded, which is before any code of a program linked to it, and becomes the program.
//
// Waiting threads of that runtime spin by default, which on a busy machine costs whole time slices (measured up to fifteenfold).

#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

int main(int, char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") == nullptr) ::setenv("OMP_WAIT_POLICY", "PASSIVE", /*overwrite=*/0);
  constexpr char kSuffix[] = "-program";
  char program[PATH_MAX + sizeof kSuffix];
  const ssize_t length = ::readlink("/proc/self/exe", program, PATH_MAX);
  if (length > 0) {
    std::memcpy(program + length, kSuffix, sizeof kSuffix);
    ::execv(program, argv);
  }
  std::fprintf(stderr, "error: cannot start %s: %s\nhint: it stands beside this file; build or install both again\n", length > 0 ? program : "entrain-program", std::strerror(errno));
  return 5;
}
