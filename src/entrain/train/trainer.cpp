#include "entrain/train/trainer.h"

#include <ATen/Parallel.h>

#include <array>
#include <chrono>
#include <cmath>
#include <iterator>
#include <map>
#include <thread>

#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/interchange/pretrained.h"
#include "entrain/model/generate.h"
#include "entrain/text/batch_source.h"
#include "entrain/text/tokenizer.h"
#include "entrain/train/backward.h"
#include "entrain/train/checkpoint.h"
#include "entrain/train/distillation.h"
#include "entrain/train/event_file.h"
#include "entrain/train/guard.h"
#include "entrain/train/lr_schedule.h"
#include "entrain/train/method.h"

namespace entrain::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

text::Tokenizer open_tokenizer(const Recipe& recipe) {
  const fs::path file = fs::path(recipe.data.path) / "tokenizer.json";
  if (!fs::exists(file)) {
    throw Error(ErrorKind::kData, recipe.data.path + " holds no prepared data", "prepare it: entrain data prepare --text PATH --tokenizer FILE --out " + recipe.data.path);
  }
  return text::Tokenizer::load(file);
}

text::TokenFile open_tokens(const Recipe& recipe, const char* name, const text::Tokenizer& tokenizer) {
  text::TokenFile file(fs::path(recipe.data.path) / name);
  if (file.info().fingerprint != tokenizer.fingerprint()) {
    throw Error(ErrorKind::kData, file.path().string() + " was made with another tokenizer than " + recipe.data.path + "/tokenizer.json",
                "prepare the data again with one tokenizer");
  }
  file.verify();
  return file;
}

/// Keys in which two recipes differ, each with both values; one written before a key was added holds that key's default.
std::string different_values(const std::string& a, const std::string& b) {
  std::map<std::string, std::array<std::string, 2>> values;
  for (const size_t side : {0, 1}) {
    config::Document document = config::Document::parse(Recipe().to_toml(), "defaults");
    document.merge(config::Document::parse(side == 0 ? a : b, "recipe"));
    for (const auto& [key, entry] : document.entries()) values.try_emplace(key, std::array<std::string, 2>{"none", "none"}).first->second[side] = config::to_text(entry.value);
  }
  std::string text;
  for (const auto& [key, value] : values) {
    if (value[0] != value[1]) text += (text.empty() ? "" : ", ") + key + " (" + value[0] + " there, " + value[1] + " here)";
  }
  return text;
}

void check_run_folder(const fs::path& run, Start start, const std::string& toml) {
  const bool exists = fs::exists(run / "config.toml");
  if (start == Start::kFresh && exists) {
    throw Error(ErrorKind::kUsage, run.string() + " holds a run already", "add --resume to go on with it, or name another folder");
  }
  if (start == Start::kResume && !exists) {
    throw Error(ErrorKind::kUsage, run.string() + " holds no run to resume", "check the path, or leave out --resume to start a run there");
  }
  if (start != Start::kResume) return;
  if (const std::string different = different_values(read_file(run / "config.toml"), toml); !different.empty()) {
    throw Error(ErrorKind::kUsage, "the recipe differs from that of the run in " + run.string() + ": " + different,
                "resume with the recipe in " + (run / "config.toml").string() + ", or name another folder");
  }
}

/// Notes which text the run reads. Throws Error{kUsage} where it began with other text.
void check_text(const fs::path& run, Start start, const std::string& data, const text::TokenFile& training, const text::TokenFile& validation) {
  const fs::path note = run / "text.json";
  const std::string here = Json{{"train.tokens", to_hex(training.content_checksum())}, {"val.tokens", to_hex(validation.content_checksum())}}.dump(1) + "\n";
  if (start == Start::kResume && fs::exists(note) && read_file(note) != here) {
    throw Error(ErrorKind::kUsage, data + " holds other text than the run in " + run.string() + " began with", "prepare the text of that run again, or name another folder for a new run");
  }
  write_file(note, here);
}

/// What the model that training starts from says of its tokenizer; of a new model, that texts end where the tokenizer says.
interchange::TokenizerSettings settings_of_origin(const Recipe& recipe, const text::Tokenizer& tokenizer) {
  if (!recipe.train.from.empty()) return interchange::load_settings(resolve_model(recipe.train.from), tokenizer);
  return {.eos = tokenizer.eos_id().value_or(-1), .add_bos = tokenizer.spelling().bos_id.has_value(), .chat_templates = {}};
}

/// The shape of the model that training starts from; checks that it reads the data's tokens.
model::Config shape_of_origin(const Recipe& recipe, const text::Tokenizer& tokenizer) {
  const fs::path origin = resolve_model(recipe.train.from);
  if (interchange::load_tokenizer(origin).fingerprint() != tokenizer.fingerprint()) {
    throw Error(ErrorKind::kData, recipe.data.path + " was made with another tokenizer than the model in " + origin.string(),
                "prepare the text with the model's own: entrain data prepare --tokenizer " + origin.string());
  }
  model::Config shape = interchange::read_config(origin);
  if (recipe.model.memory.is_on() && !(recipe.model.memory == shape.memory)) {
    throw Error(ErrorKind::kUsage, "[memory] differs from that of the model in " + origin.string(), "leave [memory] out: training goes on with the model as it is");
  }
  if (!shape.is_gpt2()) shape.context = recipe.model.context;
  shape.dropout = recipe.model.dropout;
  shape.lora = recipe.model.lora;
  if (shape.lora.is_on()) shape.lora.base = recipe.train.from;
  std::string problems;
  for (const std::string& problem : model::lora_problems(shape)) problems += "\n  - " + problem;
  if (!problems.empty()) throw Error(ErrorKind::kUsage, "[lora] does not fit the model in " + origin.string() + ":" + problems, "docs/fine-tuning.md says what its keys mean");
  return shape;
}

}  // namespace

std::vector<int64_t> loss_after_ids(const Recipe& recipe, const text::Tokenizer& tokenizer) {
  std::vector<int64_t> ids;
  std::string problems;
  for (const std::string& text : recipe.data.loss_after) {
    const std::vector<int32_t> encoded = tokenizer.encode(text);
    if (encoded.size() == 1) {
      ids.push_back(encoded.front());
    } else {
      problems += (problems.empty() ? "" : ", ") + config::to_text(text) + " (" + std::to_string(encoded.size()) + " tokens)";
    }
  }
  if (!problems.empty()) {
    throw Error(ErrorKind::kUsage, "data.loss_after must name single tokens of " + recipe.data.path + "/tokenizer.json, not " + problems,
                "a space before a word is part of its token, as in \" =\"; `entrain tokenizer encode` shows the tokens of a text");
  }
  return ids;
}

Recipe complete_from_data(Recipe recipe) {
  const text::Tokenizer tokenizer = open_tokenizer(recipe);
  loss_after_ids(recipe, tokenizer);
  if (!recipe.train.from.empty()) {
    recipe.model = shape_of_origin(recipe, tokenizer);
    recipe.entanglement.resolve(recipe.model.layers, recipe.model.width);
  }
  const int64_t vocab_size = tokenizer.vocab_size();
  if (recipe.model.vocab_size == 0) recipe.model.vocab_size = vocab_size;
  if (recipe.model.vocab_size < vocab_size) {
    throw Error(ErrorKind::kUsage, "model.vocab_size is " + std::to_string(recipe.model.vocab_size) + ", the tokenizer has " + std::to_string(vocab_size),
                "leave model.vocab_size at 0");
  }
  return recipe;
}

Plan make_plan(const Recipe& recipe, int64_t vocab_size) {
  model::Config shape = recipe.model;
  if (shape.vocab_size == 0) shape.vocab_size = vocab_size;
  const model::Transformer model(shape, 0);
  const auto optimizer = make_optimizer(recipe.optimizer, model.parameters());
  Plan plan;
  plan.n_parameters = model.parameters().count();
  plan.n_memory_parameters = model.parameters().table_count();
  plan.n_trained_parameters = model.parameters().trained_count();
  const double positions = static_cast<double>(recipe.train.rows * shape.context);
  const superposition::Schedule schedule(recipe.superposition);
  // Where a memory makes bags dearer than tokens, every step is charged as the dearest.
  const double model_flops = positions * (model::training_flops_per_position(shape, shape.context, schedule.widest().bag) + distillation_flops_per_position(recipe, shape.vocab_size));
  plan.flops_per_step = model_flops + optimizer->flops_per_step() + method_flops_per_step(recipe, model_flops);
  const double bag = static_cast<double>(schedule.widest().bag), r = bag > 1 ? recipe.superposition.ratio : 0.0;
  const double tokens_per_step = positions * (bag * r + 1.0 - r);
  const BudgetConfig& budget = recipe.budget;
  if (budget.steps > 0) plan.total_steps = budget.steps;
  if (budget.tokens > 0) plan.total_steps = std::llround(budget.tokens / tokens_per_step);
  if (budget.flops > 0) plan.total_steps = std::llround(budget.flops / plan.flops_per_step);
  if (budget.seconds <= 0 && plan.total_steps < 1) {
    throw Error(ErrorKind::kUsage, "the budget does not pay for a single step", "raise it, or lower train.rows or model.context");
  }
  plan.total_flops = plan.flops_per_step * static_cast<double>(plan.total_steps);
  plan.total_raw_tokens = tokens_per_step * static_cast<double>(plan.total_steps);
  return plan;
}

struct Trainer::Parts {
  Parts(const Recipe& given, const fs::path& folder, Observer& watcher)
      : recipe(given), run(folder), observer(watcher), tokenizer(open_tokenizer(given)), settings(settings_of_origin(given, tokenizer)), train_tokens(open_tokens(given, "train.tokens", tokenizer)),
        validation_tokens(open_tokens(given, "val.tokens", tokenizer)), token_bytes(tokenizer.token_byte_lengths()), loss_after(loss_after_ids(given, tokenizer)), schedule(given.superposition),
        plan(make_plan(given, tokenizer.vocab_size())), model(given.model, static_cast<uint64_t>(given.train.seed)),
        optimizer(make_optimizer(given.optimizer, model.parameters())),
        batches(train_tokens, {static_cast<uint64_t>(given.train.seed), given.train.rows,
                               given.data.run_tokens > 0 ? given.data.run_tokens : 16 * given.model.context, borders(), given.data.unique_tokens, loss_after}),
        methods(make_methods(recipe, tokenizer, batches, ranks)), teachers(open_teachers(given, tokenizer)), checkpoints(folder / "checkpoints", given.checkpoint.keep) {}

  text::Borders borders() const { return recipe.data.borders == "mask" ? text::Borders::kMask : text::Borders::kCross; }
  CheckpointParts checkpoint_parts() { return {model, *optimizer, state, methods}; }

  /// Share of the budget spent after `step` steps and `seconds` of training.
  double fraction(int64_t step, double seconds) const {
    const double done = recipe.budget.seconds > 0 ? seconds / recipe.budget.seconds : static_cast<double>(step) / static_cast<double>(plan.total_steps);
    return std::min(done, 1.0);
  }

  StepRecord step(const superposition::StepPlan& step_plan);
  void validate();
  void save();

  Recipe recipe;
  fs::path run;
  Observer& observer;
  text::Tokenizer tokenizer;
  interchange::TokenizerSettings settings;
  text::TokenFile train_tokens, validation_tokens;
  std::vector<int32_t> token_bytes;
  std::vector<int64_t> loss_after;
  superposition::Schedule schedule;
  Plan plan;
  model::Transformer model;
  std::unique_ptr<Optimizer> optimizer;
  text::BatchSource batches;
  Communicator ranks;
  Methods methods;
  std::unique_ptr<Teachers> teachers;
  CheckpointStore checkpoints;
  RunState state;
  RunResult result;
  std::unique_ptr<MetricsFile> metrics;
  std::unique_ptr<EventFile> events;  ///< null: not asked for
};

Trainer::Trainer(const Recipe& recipe, const fs::path& run, Start start, Observer& observer) {
  const int64_t threads = recipe.train.threads > 0 ? recipe.train.threads : static_cast<int64_t>(std::thread::hardware_concurrency());
  at::set_num_threads(static_cast<int>(threads));
  const Recipe completed = complete_from_data(recipe);
  const std::string toml = completed.to_toml();
  check_run_folder(run, start, toml);
  parts_ = std::make_unique<Parts>(completed, run, observer);
  Parts& p = *parts_;
  p.batches.next({recipe.train.rows, recipe.model.context, p.schedule.widest().bag, p.schedule.widest().target_bag});  // the text must hold one batch
  p.batches.seek(0);
  if (!p.loss_after.empty()) text::ValidationWindows(p.validation_tokens, completed.model.context, p.token_bytes, 0, p.loss_after);  // there must be something to predict
  interchange::settings_files(p.settings, p.tokenizer, completed.model.context);  // what no checkpoint could hold is refused now
  make_folder(run);
  check_text(run, start, completed.data.path, p.train_tokens, p.validation_tokens);
  write_file(run / "config.toml", toml);
  Observer::Start report{run, p.plan.n_parameters, p.plan.total_steps, static_cast<int64_t>(p.train_tokens.n_tokens()),
                         static_cast<int64_t>(p.validation_tokens.n_tokens()), 0, p.plan.flops_per_step, {}};
  report.n_memory_parameters = p.plan.n_memory_parameters;
  report.n_trained_parameters = p.plan.n_trained_parameters;
  p.checkpoints.remove_leftovers();
  for (const auto& method : p.methods) report.methods.push_back(method->describe());
  if (start == Start::kResume) {
    if (const auto newest = p.checkpoints.newest(&report.damaged_checkpoints)) {
      restore_checkpoint(*newest, p.checkpoint_parts());
      p.batches.seek(p.state.cursor);
      p.result.checkpoint = *newest;
      report.resumed_step = p.state.step;
    }
  }
  if (p.state.step == 0 && !p.recipe.train.from.empty()) interchange::load_weights(p.model, resolve_model(p.recipe.train.from));
  p.metrics = std::make_unique<MetricsFile>(run / "metrics.jsonl", p.state.step);
  if (p.recipe.train.tensorboard) p.events = std::make_unique<EventFile>(run, p.state.step, toml);
  observer.on_start(report);
}

Trainer::~Trainer() = default;

StepRecord Trainer::Parts::step(const superposition::StepPlan& step_plan) {
  const Clock::time_point start = Clock::now();
  const int64_t number = state.step + 1, cursor = batches.cursor();
  const double before = fraction(state.step, state.seconds);
  const text::Batch batch = batches.next({recipe.train.rows, recipe.model.context, step_plan.bag, step_plan.target_bag});
  const double loss = backward(model, batch, step_plan, {recipe.train.micro_batches, borders(), static_cast<uint64_t>(recipe.train.seed), number, before, &methods, teachers.get()});
  const double norm = guard_and_clip(model.parameters(), loss, recipe.train.clip, number, cursor, batch);
  // The rate of a run in seconds is set by the time this step has taken so far.
  const double multiplier = lr_multiplier(recipe.schedule, before, std::max(before, fraction(number, state.seconds + seconds_since(start))));
  optimizer->step(number, multiplier);
  for (const auto& method : methods) method->step(number, multiplier);

  const double step_tokens = static_cast<double>(batch.inputs.size());
  state.step = number;
  state.cursor = batches.cursor();
  state.raw_tokens += step_tokens;
  state.positions += static_cast<double>(batch.rows * batch.positions);
  state.flops += plan.flops_per_step;
  const double elapsed = seconds_since(start);
  state.seconds += elapsed;
  StepRecord record{number, fraction(number, state.seconds), loss, multiplier, multiplier * (recipe.optimizer.name == "muon" ? recipe.optimizer.muon_lr : recipe.optimizer.lr),
          norm, step_plan.bag, step_plan.target_bag, state.raw_tokens, state.flops, state.seconds, elapsed, static_cast<int64_t>(step_tokens), plan.flops_per_step};
  for (const auto& method : methods) {
    MethodReport report = method->report(record.fraction);
    std::move(report.figures.begin(), report.figures.end(), std::back_inserter(record.figures));
    std::move(report.alarms.begin(), report.alarms.end(), std::back_inserter(record.alarms));
    std::move(report.distributions.begin(), report.distributions.end(), std::back_inserter(record.distributions));
  }
  return record;
}

void Trainer::Parts::validate() {
  const eval::TextScore score = eval::score(model, validation_tokens, token_bytes, {recipe.model.context, recipe.train.rows, recipe.evaluation.tokens, loss_after});
  const ValidationRecord record{state.step, score.nats_per_token(), score.bits_per_byte(), state.raw_tokens, state.flops, state.seconds};
  if (state.best_step < 0 || record.nats_per_token < state.best_nats) {
    state.best_nats = record.nats_per_token;
    state.best_step = state.step;
  }
  metrics->add(record);
  if (events) events->add(record);
  observer.on_validation(record);
  if (recipe.evaluation.prompt.empty()) return;
  const std::vector<int32_t> prompt = tokenizer.encode(recipe.evaluation.prompt);
  const model::Sampling sampling{.n_tokens = recipe.evaluation.sample_tokens, .temperature = 0.8, .top_p = 0.95, .seed = static_cast<uint64_t>(recipe.train.seed)};
  const std::vector<int32_t> continuation = model::generate(model, prompt, sampling, settings.eos_ids());
  const fs::path samples = run / "samples.txt";
  const std::string title = "--- step " + std::to_string(state.step) + "\n";
  std::string text = fs::exists(samples) ? read_file(samples) : "";
  text.resize(std::min(text.find(title), text.size()));  // a killed run's samples from here on
  const std::string sample = recipe.evaluation.prompt + tokenizer.decode(continuation);
  write_file(samples, text + title + sample + "\n");
  if (events) events->add_text(state.step, "sample", sample);
}

void Trainer::Parts::save() {
  std::map<std::string, std::string> files = interchange::settings_files(settings, tokenizer, model.config().context);
  files["tokenizer.json"] = read_file(fs::path(recipe.data.path) / "tokenizer.json");
  result.checkpoint = checkpoints.save(checkpoint_parts(), interchange::special_ids(settings), files);
  observer.on_checkpoint(result.checkpoint);
}

RunResult Trainer::run() {
  Parts& p = *parts_;
  const auto due = [&](int64_t every) { return every > 0 && p.state.step % every == 0; };
  while (p.fraction(p.state.step, p.state.seconds) < 1.0) {
    const superposition::StepPlan plan = p.schedule.at(p.fraction(p.state.step, p.state.seconds));
    const StepRecord record = p.step(plan);
    p.metrics->add(record);
    if (p.events) p.events->add(record);
    p.observer.on_step(record);
    p.result.last_loss = record.loss;
    const bool last = record.fraction >= 1.0, stop = p.observer.stop_requested();
    if (last || due(p.recipe.evaluation.every)) p.validate();
    if (last || stop || due(p.recipe.checkpoint.every)) p.save();
    if (stop && !last) break;
  }
  p.result.finished = p.fraction(p.state.step, p.state.seconds) >= 1.0;
  p.result.state = p.state;
  p.result.n_parameters = p.plan.n_parameters;
  return p.result;
}

}  // namespace entrain::train
