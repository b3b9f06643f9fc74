#pragma once
// One function a verb: it adds its subcommand, whose callback does the work and throws entrain::Error.

#include <CLI/CLI.hpp>

namespace entrain::cli {

void add_compare(CLI::App& app);
void add_config(CLI::App& app);
void add_data(CLI::App& app);
void add_eval(CLI::App& app);
void add_generate(CLI::App& app);
void add_info(CLI::App& app);
void add_tokenizer(CLI::App& app);
void add_train(CLI::App& app);

/// Thrown to leave with a code after everything has been said (130: interrupted, state saved).
struct Exit {
  int code;
};

}  // namespace entrain::cli
