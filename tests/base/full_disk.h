#pragma once
// A full disk, for as long as this lives: no file of the process grows beyond a limit.

#include <sys/resource.h>

#include <csignal>

namespace entrain {

class FullDisk {
 public:
  explicit FullDisk(rlim_t n_bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {  // else the signal ends the process
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = n_bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

}  // namespace entrain
