#include "entrain/base/process.h"

#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "entrain/base/error.h"

namespace entrain {
namespace {

constexpr const char* kRoom = "free some room in the folder for temporary files";

using File = std::unique_ptr<std::FILE, decltype(&std::fclose)>;

/// Files rather than pipes: a child that ends early can then neither block nor signal us.
File temporary_file() {
  File file(std::tmpfile(), &std::fclose);
  if (!file) throw Error(ErrorKind::kIo, std::string("cannot make a temporary file: ") + std::strerror(errno), kRoom);
  return file;
}

std::string content(std::FILE* file) {
  std::string text;
  std::array<char, 1 << 14> buffer;
  std::rewind(file);
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), file)) text.append(buffer.data(), n);
  return text;
}

/// Waits for a child; kills one that takes too long. Returns its exit code, -1 after a signal.
int wait_for(pid_t child, const std::string& program, std::chrono::seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  int status = 0;
  while (true) {
    const pid_t done = ::waitpid(child, &status, WNOHANG);
    if (done == child) return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (done < 0 && errno != EINTR) throw Error(ErrorKind::kIo, "cannot wait for " + program + ": " + std::strerror(errno));
    if (std::chrono::steady_clock::now() > deadline) ::kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace

ProcessResult run_process(const std::string& program, const std::vector<std::string>& arguments, std::string_view input, std::chrono::seconds timeout, const std::string& hint) {
  const File in = temporary_file(), out = temporary_file(), err = temporary_file();
  if (std::fwrite(input.data(), 1, input.size(), in.get()) != input.size() || std::fflush(in.get()) != 0) {
    throw Error(ErrorKind::kIo, "cannot write what " + program + " is to read: the disk is full", kRoom);
  }
  std::rewind(in.get());
  std::vector<std::string> words{program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string locale = "LC_ALL=C.UTF-8";
  char* environment[] = {locale.data(), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ::fileno(in.get()), 0);
  ::posix_spawn_file_actions_adddup2(&actions, ::fileno(out.get()), 1);
  ::posix_spawn_file_actions_adddup2(&actions, ::fileno(err.get()), 2);
  pid_t child = 0;
  const int problem = ::posix_spawnp(&child, program.c_str(), &actions, nullptr, argv.data(), environment);
  ::posix_spawn_file_actions_destroy(&actions);
  if (problem != 0) throw Error(ErrorKind::kIo, program + " cannot be started: " + std::strerror(problem), hint);
  ProcessResult result;
  result.exit_code = wait_for(child, program, timeout);
  result.output = content(out.get());
  result.error = content(err.get());
  return result;
}

}  // namespace entrain
