#pragma once
// Checkpoints: a folder that Transformers opens as it is, plus what an exact resume needs. Layout in docs/formats.md.
// A checkpoint exists whole or not at all: it is written aside, synced, and renamed, its manifest last.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "entrain/base/files.h"
#include "entrain/model/huggingface.h"
#include "entrain/train/method.h"
#include "entrain/train/optimizer.h"
#include "entrain/train/run_state.h"

namespace entrain::train {

/// What a checkpoint is made from, or restored into.
struct CheckpointParts {
  model::Transformer& model;
  Optimizer& optimizer;
  RunState& state;
  const Methods& methods;
};

class CheckpointStore {
 public:
  /// The folder `checkpoints` of a run; made by the first save.
  CheckpointStore(fs::path folder, int64_t keep);
  /// Removes what killed saves left behind. For the one process that writes the run.
  void remove_leftovers();

  /// Writes step-NNNNNNNN, verifies it, then prunes to the newest `keep` and the best. Replaces nothing: a step saved already is
  /// left as it is. tokenizer_files: the text of tokenizer.json and of what belongs to it, by their paths in the checkpoint.
  /// Throws Error{kIo}; older checkpoints are then untouched.
  fs::path save(const CheckpointParts& parts, const model::SpecialIds& ids, const std::map<std::string, std::string>& tokenizer_files);
  /// The newest checkpoint that verifies, by step; damaged ones are passed over. `damaged` receives their names.
  std::optional<fs::path> newest(std::vector<std::string>* damaged = nullptr) const;
  /// Steps on disk, ascending, verified or not.
  std::vector<int64_t> steps() const;

 private:
  fs::path folder_;
  int64_t keep_;
};

/// Throws Error{kData} naming the first file that is missing, of another size or of another checksum than manifest.json says.
void verify_checkpoint(const fs::path& checkpoint);
/// Restores weights, optimizer and state. Verifies first.
void restore_checkpoint(const fs::path& checkpoint, const CheckpointParts& parts);

/// Where a RUN argument's model lies, for interchange::open_pretrained: a run folder (its newest sound checkpoint), a checkpoint, a Hugging
/// Face folder or a GGUF file. Throws Error{kUsage} when it is none of these.
fs::path resolve_model(const fs::path& run);

}  // namespace entrain::train
