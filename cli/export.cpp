// entrain export RUN --format hf --out DIR [--drop-memory]

#include <cstdio>
#include <memory>

#include "cli/verbs.h"
#include "entrain/base/error.h"
#include "entrain/model/export.h"
#include "entrain/train/checkpoint.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string run, format = "hf", out;
  bool drop_memory = false;
};

void run_export(const Options& options) {
  if (options.format != "hf") throw Error(ErrorKind::kUsage, "there is no export to the format " + options.format, "the one there is: --format hf, a Hugging Face folder");
  const fs::path folder = train::resolve_model_folder(options.run);
  model::export_huggingface(folder, options.out, options.drop_memory ? model::MemoryPolicy::kDrop : model::MemoryPolicy::kRefuse);
  std::fprintf(stderr, "wrote the model of %s to %s\n", folder.c_str(), options.out.c_str());
}

}  // namespace

void add_export(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("export", "a model as a folder for other programs");
  verb->add_option("run", options->run, "run, checkpoint or Hugging Face folder")->required();
  verb->add_option("--format", options->format, "hf: a Hugging Face folder")->capture_default_str();
  verb->add_option("--out", options->out, "folder to write; must not exist")->required();
  verb->add_flag("--drop-memory", options->drop_memory, "leave a memory out, which makes the model worse");
  verb->callback([options] { run_export(*options); });
}

}  // namespace entrain::cli
