// entrain: the only place that prints errors and picks exit codes.
// 0 done, 2 usage or configuration, 3 data, 4 numeric stop, 5 input/output, 130 interrupted with the state saved.

#include <malloc.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "cli/verbs.h"
#include "entrain/base/error.h"

namespace {

int report(int code, const std::string& message, const std::string& hint = "") {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  if (!hint.empty()) std::fprintf(stderr, "hint: %s\n", hint.c_str());
  return code;
}

/// Training frees and allocates the same large blocks every step: keep them in the heap instead of returning them to the
/// system, which would fault every page in again.
void keep_freed_memory() {
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, INT_MAX);
}

/// Waiting threads of the OpenMP runtime spin by default, which on a busy machine costs whole time slices (measured up to
/// fifteenfold). The runtime reads its policy when it is loaded, before main, so the program starts itself again once.
void wait_without_spinning(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("OMP_WAIT_POLICY", "PASSIVE", 1);
  ::execv("/proc/self/exe", argv);  // returns only where there is no /proc: then go on as we are
}

}  // namespace

int main(int argc, char** argv) {
  wait_without_spinning(argv);
  keep_freed_memory();
  CLI::App app{"Trains and adapts language models for less, and proves at matched compute whether a method helped.", "entrain"};
  app.require_subcommand(1);
  app.set_version_flag("--version", ENTRAIN_VERSION);
  using namespace entrain::cli;
  for (const auto add : {add_data, add_tokenizer, add_train, add_compare, add_eval, add_generate, add_info, add_config}) add(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  } catch (const Exit& exit) {
    return exit.code;
  } catch (const entrain::Error& error) {
    return report(static_cast<int>(error.kind()), error.what(), error.hint());
  } catch (const std::bad_alloc&) {
    return report(5, "out of memory", "lower train.rows or raise train.micro_batches, or take a smaller model");
  } catch (const std::filesystem::filesystem_error& error) {
    return report(5, error.what());
  } catch (const std::exception& error) {
    return report(1, error.what(), "this is a bug in entrain: please report the command and this message");
  }
}
