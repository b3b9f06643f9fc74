#include "entrain/lab/job.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <sstream>

#include "entrain/base/clock.h"
#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/base/temporary_folder.h"
#include "entrain/eval/task.h"
#include "entrain/interchange/pretrained.h"
#include "entrain/model/generate.h"
#include "entrain/model/huggingface.h"
#include "entrain/text/tokenizer.h"
#include "entrain/train/checkpoint.h"
#include "entrain/train/distillation.h"

namespace entrain::lab {
namespace {

constexpr int kFormat = 1;

OrderedJson value_to_json(const config::Value& value) {
  return std::visit([](const auto& held) { return OrderedJson(held); }, value);
}

config::Value value_from_json(const OrderedJson& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  return json.get<std::string>();
}

OrderedJson trial_to_json(const Trial& trial) {
  OrderedJson json = OrderedJson::object();
  for (const auto& [key, value] : trial) json[key] = value_to_json(value);
  return json;
}

Trial trial_from_json(const OrderedJson& json) {
  Trial trial;
  for (const auto& [key, value] : json.items()) trial[key] = value_from_json(value);
  return trial;
}

Stage stage_from(const std::string& name) { return name == "tune" ? Stage::kTune : name == "ladder" ? Stage::kLadder : Stage::kMain; }

/// "AMD EPYC 9R14, 2 threads": what a reader must know to judge seconds.
std::string machine_text(int64_t threads) {
  std::string model = "unknown CPU";
  std::istringstream lines(fs::exists("/proc/cpuinfo") ? read_file("/proc/cpuinfo") : "");
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("model name")) continue;
    model = line.substr(std::min(line.find(':') + 2, line.size()));
    break;
  }
  return model + ", " + std::to_string(threads > 0 ? threads : static_cast<int64_t>(::sysconf(_SC_NPROCESSORS_ONLN))) + " threads";
}

fs::path split_file(const Job& job) { return fs::path(job.recipe.data.path) / (job.scoring.split + ".tokens"); }

/// Checksum of all text the run reads and is scored on.
std::string data_checksum(const Job& job) {
  const fs::path folder(job.recipe.data.path);
  std::string all;
  for (const fs::path& file : {folder / "train.tokens", folder / "val.tokens", split_file(job)}) all += to_hex(text::TokenFile(file).content_checksum());
  return to_hex(checksum(all));
}

std::vector<Block> to_blocks(const eval::TextScore& score, int64_t block_tokens) {
  std::vector<Block> blocks;
  for (const eval::WindowScore& window : score.windows) {
    if (blocks.empty() || blocks.back().document != window.document || blocks.back().tokens >= block_tokens) blocks.push_back({.document = window.document});
    Block& block = blocks.back();
    block.tokens += window.tokens;
    block.bytes += window.bytes;
    block.nats += window.nats;
  }
  return blocks;
}

std::vector<CurvePoint> read_curve(const fs::path& metrics) {
  std::vector<CurvePoint> curve;
  std::istringstream lines(read_file(metrics));
  for (std::string line; std::getline(lines, line);) {
    const OrderedJson json = OrderedJson::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("validation_nats_per_token")) continue;
    curve.push_back({json.at("step"), json.at("raw_tokens"), json.at("flops"), json.at("seconds"), json.at("validation_nats_per_token")});
  }
  return curve;
}

/// The methods' last figures and all their alarms.
void read_figures(const fs::path& metrics, Result& result) {
  std::istringstream lines(read_file(metrics));
  for (std::string line; std::getline(lines, line);) {
    const OrderedJson json = OrderedJson::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;
    const OrderedJson figures = json.value("figures", OrderedJson::object()), alarms = json.value("alarms", OrderedJson::array());
    for (const auto& [name, value] : figures.items()) {
      if (value.is_number()) result.figures[name] = value.get<double>();
    }
    for (const OrderedJson& alarm : alarms) result.alarms.push_back(alarm.get<std::string>());
  }
}

TaskOutcome to_outcome(eval::TaskResult result) {
  TaskOutcome outcome{.task = result.task, .metrics = {}, .columns = std::move(result.columns), .items = {}};
  for (const eval::Metric& metric : result.metrics) outcome.metrics[metric.name] = metric.value;
  for (eval::ItemScore& item : result.items) outcome.items.push_back({std::move(item.id), std::move(item.group), std::move(item.values)});
  return outcome;
}

double number(const OrderedJson& json) { return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>(); }

Result score(const Job& job, const train::RunResult& run, const fs::path& folder) {
  const fs::path data(job.recipe.data.path);
  const text::Tokenizer tokenizer = text::Tokenizer::load(data / "tokenizer.json");
  const text::TokenFile train_tokens(data / "train.tokens"), held_out(split_file(job));
  held_out.verify();
  const model::Transformer model = model::load_model(run.checkpoint);
  Result result{.key = job.key(), .arm = job.arm, .stage = job.stage, .seed = job.seed, .share = job.share, .round = job.round, .trial = job.trial, .values = job.values,
                .recipe = job.recipe.to_toml(), .split = job.scoring.split, .data = data_checksum(job), .state = run.state, .n_parameters = run.n_parameters};
  const auto available = static_cast<double>(job.recipe.data.unique_tokens > 0 ? job.recipe.data.unique_tokens : static_cast<int64_t>(train_tokens.n_tokens()));
  result.unique_tokens = std::min(run.state.raw_tokens, available);
  result.final_multiplier = final_multiplier(job.recipe);
  result.machine = machine_text(job.recipe.train.threads);
  result.version = ENTRAIN_VERSION;
  result.blocks = to_blocks(eval::score(model, held_out, tokenizer.token_byte_lengths(), {.context = job.recipe.model.context, .rows = job.recipe.train.rows, .loss_after = train::loss_after_ids(job.recipe, tokenizer)}), job.scoring.block_tokens);
  result.curve = read_curve(folder / "metrics.jsonl");
  read_figures(folder / "metrics.jsonl", result);
  for (const std::string& task : job.scoring.tasks) {
    result.tasks.push_back(to_outcome(eval::run_task(model, tokenizer, task, {.data = job.scoring.tasks_data, .limit = job.scoring.task_limit})));
  }
  if (!job.scoring.prompt.empty()) {
    std::vector<int32_t> eos;
    if (const auto id = tokenizer.eos_id()) eos.push_back(*id);
    const auto ids = model::generate(model, tokenizer.encode(job.scoring.prompt), {.n_tokens = job.scoring.sample_tokens, .temperature = 0.7, .top_p = 0.95, .seed = 1}, eos);
    result.sample = tokenizer.decode(ids);
  }
  result.finished_at = utc_now();
  return result;
}

}  // namespace

std::string to_string(Stage stage) { return stage == Stage::kTune ? "tune" : stage == Stage::kLadder ? "ladder" : "main"; }

std::string Job::key() const {
  train::Recipe neutral = recipe;
  neutral.data.path.clear();
  neutral.train.from.clear();
  neutral.train.threads = 0;
  neutral.checkpoint = {};
  neutral.distill.teacher.clear();
  neutral.distill.teachers.clear();
  std::string text = to_text(neutral) + train::teacher_checksum(recipe) + data_checksum(*this) + scoring.split + "\n" + std::to_string(scoring.block_tokens) + "\n" + std::to_string(scoring.task_limit) + "\n" +
                     scoring.prompt + "\n" + std::to_string(scoring.sample_tokens) + "\n";
  if (!recipe.train.from.empty()) {
    for (const fs::path& file : interchange::weight_files(train::resolve_model(recipe.train.from))) text += to_hex(file_checksum(file)) + "\n";
  }
  for (const std::string& task : scoring.tasks) text += task + "\n";
  return to_hex(checksum(text));
}

std::string Job::to_json() const {
  const OrderedJson scoring_json{{"split", scoring.split}, {"block_tokens", scoring.block_tokens}, {"tasks", scoring.tasks}, {"tasks_data", scoring.tasks_data},
                          {"task_limit", scoring.task_limit}, {"prompt", scoring.prompt}, {"sample_tokens", scoring.sample_tokens}};
  return OrderedJson{{"name", name}, {"stage", to_string(stage)}, {"arm", arm}, {"seed", seed}, {"share", share}, {"round", round}, {"trial", trial},
              {"values", trial_to_json(values)}, {"recipe", recipe.to_toml()}, {"scoring", scoring_json}}.dump(1) + "\n";
}

Job Job::from_json(const std::string& text, const std::string& name) {
  try {
    const OrderedJson json = OrderedJson::parse(text), s = json.at("scoring");
    Job job{.name = json.at("name"), .stage = stage_from(json.at("stage")), .arm = json.at("arm"), .seed = json.at("seed"), .share = json.at("share"), .round = json.at("round"),
            .trial = json.at("trial"), .values = trial_from_json(json.at("values")),
            .recipe = train::Recipe::from(config::Document::parse(json.at("recipe").get<std::string>(), name)), .scoring = {}};
    job.scoring = {.split = s.at("split"), .block_tokens = s.at("block_tokens"), .tasks = s.at("tasks"), .tasks_data = s.at("tasks_data"), .task_limit = s.at("task_limit"),
                   .prompt = s.at("prompt"), .sample_tokens = s.at("sample_tokens")};
    return job;
  } catch (const OrderedJson::exception& error) {
    throw Error(ErrorKind::kData, name + " is no order of a run: " + error.what(), "start the lab again; it writes the file anew");
  }
}

std::optional<double> Result::metric(const std::string& name) const {
  if (name == "loss" || name == "bits_per_byte") {
    double nats = 0, tokens = 0, bytes = 0;
    for (const Block& block : blocks) {
      nats += block.nats;
      tokens += static_cast<double>(block.tokens);
      bytes += static_cast<double>(block.bytes);
    }
    return name == "loss" ? nats / tokens : nats / std::numbers::ln2 / bytes;
  }
  const size_t dot = name.find('.');
  for (const TaskOutcome& task : tasks) {
    if (dot == std::string::npos || task.task != name.substr(0, dot)) continue;
    const auto found = task.metrics.find(name.substr(dot + 1));
    if (found != task.metrics.end()) return found->second;
  }
  return std::nullopt;
}

std::string Result::to_json() const {
  OrderedJson json{{"format", kFormat}, {"key", key}, {"arm", arm}, {"stage", to_string(stage)}, {"seed", seed}, {"share", share}, {"round", round}, {"trial", trial},
            {"values", trial_to_json(values)}, {"split", split}, {"data", data}, {"parameters", n_parameters}, {"unique_tokens", unique_tokens},
            {"final_lr_multiplier", final_multiplier}, {"state", OrderedJson::parse(state.to_json())}, {"machine", machine}, {"version", version}, {"finished_at", finished_at}};
  for (const char* name : {"loss", "bits_per_byte"}) json["metrics"][name] = *metric(name);
  for (const TaskOutcome& task : tasks) {
    for (const auto& [name, value] : task.metrics) json["metrics"][task.task + "." + name] = value;
  }
  if (!figures.empty()) json["figures"] = figures;
  if (!alarms.empty()) json["alarms"] = alarms;
  json["sample"] = sample;
  json["recipe"] = recipe;
  // One row a line, so that a version control system shows what changed.
  std::string text = json.dump(1, ' ', false, OrderedJson::error_handler_t::replace);
  text.resize(text.size() - 2);  // "\n}"
  const auto rows = [&](const char* name, const OrderedJson& columns, const std::vector<OrderedJson>& lines) {
    text += ",\n \"" + std::string(name) + "\": {\"columns\": " + columns.dump() + ", \"rows\": [";
    for (size_t i = 0; i < lines.size(); ++i) text += (i ? ",\n  " : "\n  ") + lines[i].dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
    text += "]}";
  };
  std::vector<OrderedJson> lines;
  for (const Block& b : blocks) lines.push_back({b.document, b.tokens, b.bytes, b.nats});
  rows("blocks", {"document", "tokens", "bytes", "nats"}, lines);
  lines.clear();
  for (const CurvePoint& p : curve) lines.push_back({p.step, p.raw_tokens, p.flops, p.seconds, p.nats_per_token});
  rows("curve", {"step", "raw_tokens", "flops", "seconds", "nats_per_token"}, lines);
  text += ",\n \"tasks\": [";
  for (size_t t = 0; t < tasks.size(); ++t) {
    const TaskOutcome& task = tasks[t];
    text += std::string(t ? ",\n" : "\n") + "  {\"task\": " + OrderedJson(task.task).dump() + ", \"metrics\": " + OrderedJson(task.metrics).dump() + ", \"columns\": " + OrderedJson(task.columns).dump() + ", \"items\": [";
    for (size_t i = 0; i < task.items.size(); ++i) {
      text += (i ? ",\n   " : "\n   ") + OrderedJson{task.items[i].id, task.items[i].group, task.items[i].values}.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
    }
    text += "]}";
  }
  return text + "]\n}\n";
}

Result Result::from_json(const std::string& text, const std::string& name) {
  try {
    const OrderedJson json = OrderedJson::parse(text);
    if (json.at("format") != kFormat) throw Error(ErrorKind::kData, name + " has format " + json.at("format").dump() + ", this program reads 1", "use the version of entrain that wrote it");
    Result r{.key = json.at("key"), .arm = json.at("arm"), .stage = stage_from(json.at("stage")), .seed = json.at("seed"), .share = json.at("share"), .round = json.at("round"),
             .trial = json.at("trial"), .values = trial_from_json(json.at("values")), .recipe = json.at("recipe"), .split = json.at("split"), .data = json.at("data"),
             .state = train::RunState::from_json(json.at("state").dump(), name), .n_parameters = json.at("parameters"), .unique_tokens = json.at("unique_tokens"),
             .final_multiplier = json.at("final_lr_multiplier"), .machine = json.at("machine"), .version = json.at("version"), .finished_at = json.at("finished_at")};
    for (const OrderedJson& row : json.at("blocks").at("rows")) r.blocks.push_back({row.at(0), row.at(1), row.at(2), number(row.at(3))});
    for (const OrderedJson& row : json.at("curve").at("rows")) r.curve.push_back({row.at(0), row.at(1), row.at(2), row.at(3), number(row.at(4))});
    for (const OrderedJson& task : json.at("tasks")) {
      TaskOutcome outcome{.task = task.at("task"), .metrics = {}, .columns = task.at("columns"), .items = {}};
      for (const auto& [metric_name, value] : task.at("metrics").items()) outcome.metrics[metric_name] = number(value);
      for (const OrderedJson& item : task.at("items")) {
        std::vector<double> values;
        for (const OrderedJson& value : item.at(2)) values.push_back(number(value));
        outcome.items.push_back({item.at(0), item.at(1), std::move(values)});
      }
      r.tasks.push_back(std::move(outcome));
    }
    if (r.blocks.empty()) throw Error(ErrorKind::kData, name + " holds no scored text", "delete it and run the lab again");
    r.sample = json.at("sample");
    const OrderedJson figures = json.value("figures", OrderedJson::object());
    for (const auto& [figure, value] : figures.items()) r.figures[figure] = number(value);
    r.alarms = json.value("alarms", std::vector<std::string>{});
    return r;
  } catch (const OrderedJson::exception& error) {
    throw Error(ErrorKind::kData, name + " is no result of a run: " + error.what(), "delete it and run the lab again, or fetch it anew");
  }
}

std::optional<Result> perform(const Job& job, const fs::path& folder, train::Observer& observer) {
  const auto start = fs::exists(folder / "config.toml") ? train::Start::kResume : train::Start::kFresh;
  train::RunResult run;
  {
    train::Trainer trainer(job.recipe, folder, start, observer);
    run = trainer.run();
  }
  if (!run.finished) return std::nullopt;
  return score(job, run, folder);
}

Cost measure_cost(const train::Recipe& recipe) {
  struct Timer : train::Observer {
    std::vector<double> seconds;
    void on_step(const train::StepRecord& record) override { seconds.push_back(record.step_seconds); }
  } timer;
  const TemporaryFolder folder;
  train::Recipe few = recipe;
  few.budget = {.steps = 4};
  few.evaluation.every = 0;
  few.evaluation.tokens = 1;
  few.evaluation.prompt.clear();
  few.checkpoint.every = 0;
  train::Trainer(few, folder.path() / "run", train::Start::kFresh, timer).run();
  std::sort(timer.seconds.begin() + 1, timer.seconds.end());  // the first step warms up
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return {timer.seconds.at(2), static_cast<double>(usage.ru_maxrss) * 1024};
}

}  // namespace entrain::lab
