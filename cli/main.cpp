// entrain: the only place that prints errors and picks exit codes.
// 0 done, 2 usage or configuration, 3 data, 4 numeric stop, 5 input/output, 130 interrupted with the state saved.

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
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

/// Names a mistyped command, where CLI11 would say that one is missing.
void check_commands(const CLI::App& app, int argc, char** argv) {
  const CLI::App* level = &app;
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    const auto commands = level->get_subcommands([](const CLI::App*) { return true; });
    if (commands.empty()) return;
    const auto found = std::find_if(commands.begin(), commands.end(), [&](const CLI::App* command) { return command->get_name() == argv[i]; });
    if (found == commands.end()) {
      std::vector<std::string> names;
      for (const CLI::App* command : commands) names.push_back(command->get_name());
      const std::string near = entrain::nearest_name(argv[i], names);
      throw entrain::Error(entrain::ErrorKind::kUsage, std::string("there is no command ") + argv[i] + (near.empty() ? "" : "; did you mean " + near + "?"),
                           "--help lists the commands");
    }
    level = *found;
  }
}

int run(int argc, char** argv) {
  CLI::App app{"Trains and adapts language models for less, and proves at matched compute whether a method helped.", "entrain"};
  app.require_subcommand(1);
  app.set_version_flag("--version", ENTRAIN_VERSION);
  using namespace entrain::cli;
  for (const auto add : {add_data, add_tokenizer, add_train, add_distill, add_compare, add_lab, add_modalities, add_experts, add_eval, add_generate, add_inspect, add_export, add_import, add_info, add_config}) add(app);
  try {
    check_commands(app, argc, argv);
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    return report(2, error.what(), "the same command with --help shows how it is used");
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

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  int code = run(argc, argv);
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (code == 0 && !written) code = report(5, "cannot write the standard output", "see whether its disk is full or its reader has gone");
  ::_exit(code);  // taking down torch's tables is a third of the time that a short command takes
}
