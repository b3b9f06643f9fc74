#include "entrain/train/distillation.h"

#include <ATen/ATen.h>

#include <functional>

#include "entrain/base/error.h"
#include "entrain/ops/ops.h"
#include "tiny_run.h"

namespace entrain::train {
namespace {

/// A data folder and a teacher trained on it.
struct School {
  text::TemporaryFolder folder;
  School() {
    make_data(folder / "data", 8);
    train("teacher", {"budget.steps=80", "memory.rows=500", "evaluation.every=0"});
  }
  RunResult train(const std::string& name, const std::vector<std::string>& settings, Start start = Start::kFresh, int64_t stop_after = -1, Recorder* recorder = nullptr) const {
    Recorder own;
    Recorder& watcher = recorder == nullptr ? own : *recorder;
    watcher.stop_after = stop_after;
    return Trainer(tiny_recipe(folder / "data", settings), folder / name, start, watcher).run();
  }
  std::vector<std::string> with_teacher(std::vector<std::string> settings = {}) const {
    settings.push_back("distill.teacher=" + (folder / "teacher").string());
    return settings;
  }
};

Error error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorKind::kUsage, "");
}

TEST(Distillation, MixesByItsWeight) {
  const School school;
  const text::Tokenizer tokenizer = text::Tokenizer::load(school.folder / "data" / "tokenizer.json");
  for (const double weight : {0.0, 0.25, 1.0}) {
    Recipe recipe = complete_from_data(tiny_recipe(school.folder / "data", school.with_teacher({"distill.weight=" + std::to_string(weight), "distill.temperature=2"})));
    const Teacher teacher(recipe, tokenizer);
    const model::Transformer student(recipe.model, 1), other = model::load_model(resolve_model_folder(school.folder / "teacher"));
    const Tensor inputs = at::arange(16).view({2, 8}), targets = at::arange(1, 17).view({2, 8, 1});
    const Tensor hidden = student.hidden(inputs), loss = ops::head_cross_entropy(hidden, student.head(), targets);
    const Tensor log_q = (student.logits(hidden) / 2).log_softmax(-1), log_p = (other.logits(other.hidden(inputs)) / 2).log_softmax(-1);
    const double divergence = 4 * (log_p.exp() * (log_p - log_q)).sum().item<double>() / 16, expected = (1 - weight) * loss.item<double>() + weight * divergence;
    const Tensor mixed = teacher.mix(loss, hidden, student.head(), inputs, {}, targets, 16);
    EXPECT_NEAR(mixed.item<double>(), expected, 1e-5 * expected) << "float32 sums of 16 x 280 terms";
    EXPECT_GT(divergence, 0.1);
    // A position without a target teaches nothing.
    const Tensor none = teacher.mix(at::zeros({}), hidden, student.head(), inputs, {}, at::full({2, 8, 1}, kIgnore, at::kLong), 16);
    EXPECT_EQ(none.item<double>(), 0);
  }
}

TEST(Distillation, TheStudentComesToAgreeAndAResumeLeavesNoTrace) {
  const School school;
  Recorder whole, pure;
  const std::vector<std::string> settings = school.with_teacher({"budget.steps=80", "train.micro_batches=2", "data.borders=mask", "evaluation.every=0"});
  school.train("whole", settings, Start::kFresh, -1, &whole);
  EXPECT_LT(whole.steps.back().loss, 0.7 * whole.steps.front().loss);
  school.train("stopped", settings, Start::kFresh, 33);
  EXPECT_TRUE(school.train("stopped", settings, Start::kResume).finished);
  expect_equal(RunContents(school.folder / "stopped"), RunContents(school.folder / "whole"), "resumed");
  school.train("pure", school.with_teacher({"budget.steps=80", "distill.weight=1", "evaluation.every=0"}), Start::kFresh, -1, &pure);
  EXPECT_LT(pure.steps.back().loss, 0.5 * pure.steps.front().loss) << "the divergence itself falls";
}

TEST(Distillation, ChargesTheTeachersForwardPass) {
  const School school;
  const Recipe plain = complete_from_data(tiny_recipe(school.folder / "data")), recipe = complete_from_data(tiny_recipe(school.folder / "data", school.with_teacher()));
  const model::Config teacher = model::load_model(resolve_model_folder(school.folder / "teacher")).config();
  const double extra = model::training_flops_per_position(teacher, 8) / 3 + 6.0 * static_cast<double>(recipe.model.vocab_size) * 16;
  EXPECT_DOUBLE_EQ(make_plan(recipe, 0).flops_per_step, make_plan(plain, 0).flops_per_step + 4 * 8 * extra);
  EXPECT_EQ(distillation_flops_per_position(plain, 280), 0);
}

TEST(Distillation, RefusesATeacherThatDoesNotFit) {
  const School school;
  EXPECT_NE(std::string(error_of([&] { tiny_recipe(school.folder / "data", school.with_teacher({"superposition.mode=full"})); }).what()).find("superposition"), std::string::npos);
  EXPECT_EQ(error_of([&] { school.train("x", {"distill.teacher=" + (school.folder / "nowhere").string()}); }).kind(), ErrorKind::kUsage);
  // The same vocabulary size, another tokenizer.
  const fs::path checkpoint = resolve_model_folder(school.folder / "teacher"), other = school.folder / "other";
  make_folder(other);
  for (const char* file : {"config.json", "model.safetensors", "memory.safetensors"}) fs::copy_file(checkpoint / file, other / file);
  text::BpeTrainer trainer({.vocab_size = 280, .n_threads = 1});
  const std::string_view text = "another text another text makes other merges makes other merges";
  trainer.add({&text, 1});
  write_file(other / "tokenizer.json", trainer.train().to_json());
  const Error error = error_of([&] { school.train("x", {"distill.teacher=" + other.string()}); });
  EXPECT_EQ(error.kind(), ErrorKind::kData);
  EXPECT_NE(std::string(error.what()).find("another tokenizer"), std::string::npos) << error.what();
  EXPECT_FALSE(fs::exists(school.folder / "x"));
  EXPECT_NE(teacher_checksum(tiny_recipe(school.folder / "data", school.with_teacher())), "");
  EXPECT_EQ(teacher_checksum(tiny_recipe(school.folder / "data")), "");
}

}  // namespace
}  // namespace entrain::train
