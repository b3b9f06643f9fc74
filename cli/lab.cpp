// entrain lab plan PLAN.toml | run PLAN.toml --out DIR | status DIR | report DIR | export DIR --csv

#include "cli/lab.h"

#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "cli/progress.h"
#include "cli/verbs.h"
#include "entrain/base/clock.h"
#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/base/temporary_folder.h"
#include "entrain/lab/report.h"
#include "entrain/statistics/power.h"
#include "entrain/text/token_file.h"

extern char** environ;

namespace entrain::cli {
namespace {

/// This program again with other arguments. log: where its standard error goes; empty: where ours goes.
pid_t start_child(std::vector<std::string> arguments, const fs::path& log) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  if (!log.empty()) ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  pid_t child = -1;
  const int code = ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (code != 0) throw Error(ErrorKind::kIo, std::string("cannot start a run: ") + std::strerror(code));
  return child;
}

/// Waits; asks the child to save and stop as soon as `stop` says so.
int wait_for(pid_t child, const std::function<bool()>& stop) {
  bool asked = false;
  for (int status = 0;;) {
    const pid_t done = ::waitpid(child, &status, WNOHANG);
    if (done == child) return status;
    if (done < 0 && errno != EINTR) throw Error(ErrorKind::kIo, std::string("lost a run: ") + std::strerror(errno));
    if (!asked && stop()) {
      ::kill(child, SIGTERM);
      asked = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

/// Throws what the child said went wrong.
[[noreturn]] void throw_failure(int status, const fs::path& failure) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    throw Error(ErrorKind::kIo, std::string("the run was ended by signal ") + std::to_string(signal) + " (" + ::strsignal(signal) + ")",
                signal == SIGKILL ? "if the machine ran out of memory, lower train.rows or --jobs; run the lab again to go on" : "run the lab again to go on");
  }
  const OrderedJson json = fs::exists(failure) ? OrderedJson::parse(read_file(failure), nullptr, /*allow_exceptions=*/false) : OrderedJson();
  if (!json.is_object()) throw Error(ErrorKind::kIo, "the run ended with code " + std::to_string(WEXITSTATUS(status)) + " and left no reason", "run the lab again to go on");
  throw Error(static_cast<ErrorKind>(json.value("kind", 5)), json.value("message", ""), json.value("hint", ""));
}

struct WorkArguments {
  std::string lab, name;
  int64_t parent = 0;
};

/// The child's side: one run. Ends with the process that started it.
void work(const WorkArguments& arguments) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != arguments.parent) throw Exit{5};
  const fs::path folder = fs::path(arguments.lab) / "runs" / arguments.name;
  try {
    Progress progress(arguments.name + ": ");
    const lab::Job job = lab::Job::from_json(read_file(folder / "job.json"), (folder / "job.json").string());
    if (lab::perform_here(job, arguments.lab, progress) == lab::JobEnd::kStopped) throw Exit{130};
  } catch (const Error& error) {
    write_file(folder / "failure.json", OrderedJson{{"kind", static_cast<int>(error.kind())}, {"message", error.what()}, {"hint", error.hint()}}.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
    throw Exit{static_cast<int>(error.kind())};
  } catch (const std::bad_alloc&) {
    write_file(folder / "failure.json", OrderedJson{{"kind", 5}, {"message", "out of memory"}, {"hint", "lower train.rows or raise train.micro_batches"}}.dump(1) + "\n");
    throw Exit{5};
  }
}

lab::JobEnd perform_in_child(const lab::Job& job, const fs::path& lab, bool quiet, const std::function<bool()>& stop) {
  const fs::path folder = lab / "runs" / job.name;
  make_folder(folder);
  fs::remove(folder / "failure.json");
  write_file(folder / "job.json", job.to_json());
  const pid_t child = start_child({"entrain", "lab", "work", lab.string(), job.name, "--parent", std::to_string(::getpid())}, quiet ? folder / "log.txt" : fs::path());
  const int status = wait_for(child, stop);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return lab::JobEnd::kFinished;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 130) return lab::JobEnd::kStopped;
  // Asked to stop before it could listen: it had not begun.
  if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT) && stop()) return lab::JobEnd::kStopped;
  throw_failure(status, folder / "failure.json");
}

lab::Plan load_plan(const std::string& path, const std::vector<std::string>& settings) {
  config::Document document = config::Document::load(path);
  for (const std::string& setting : settings) document.set(setting);
  return lab::Plan::from(std::move(document), fs::path(path).parent_path());
}

fs::path lock_of(const std::string& plan) { return fs::path(plan).replace_extension(".lock"); }

struct CostArguments {
  std::string recipe, out;
};

void cost(const CostArguments& arguments) {
  const lab::Cost cost = lab::measure_cost(train::Recipe::from(config::Document::load(arguments.recipe)));
  write_file(arguments.out, OrderedJson{{"seconds_per_step", cost.seconds_per_step}, {"peak_bytes", cost.peak_bytes}}.dump() + "\n");
}

/// In a child, so that each recipe's peak of memory is its own.
lab::Cost cost_in_child(const train::Recipe& recipe) {
  const TemporaryFolder temporary;
  const fs::path& folder = temporary.path();
  write_file(folder / "recipe.toml", recipe.to_toml());
  const pid_t child = start_child({"entrain", "lab", "cost", (folder / "recipe.toml").string(), (folder / "cost.json").string()}, {});
  const int status = wait_for(child, [] { return false; });
  lab::Cost cost;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    const OrderedJson json = OrderedJson::parse(read_file(folder / "cost.json"));
    cost = {json.at("seconds_per_step"), json.at("peak_bytes")};
  }
  if (cost.seconds_per_step == 0) throw Error(ErrorKind::kData, "a trial of a few steps failed; its message is above", "mend the recipe, or leave the trial out with --no-trial");
  return cost;
}

struct PlanArguments {
  std::string plan;
  std::vector<std::string> settings;
  bool amend = false, no_trial = false, json = false;
};

void plan(const PlanArguments& arguments) {
  const lab::Plan plan = load_plan(arguments.plan, arguments.settings);
  std::vector<lab::Job> jobs;
  if (plan.tune.method != "none") {
    std::map<std::string, std::vector<int64_t>> survivors;
    for (const lab::Arm& arm : plan.arms) {
      for (size_t i = 0; i < plan.trials(arm.name).size(); ++i) survivors[arm.name].push_back(static_cast<int64_t>(i));
    }
    for (int64_t round = 1; round <= (plan.tune.method == "halving" ? plan.tune.rounds : 1); ++round) {
      const std::vector<lab::Job> of_round = lab::tuning_jobs(plan, round, survivors);
      jobs.insert(jobs.end(), of_round.begin(), of_round.end());
      for (auto& [arm, trials] : survivors) trials.resize(std::max<size_t>(1, static_cast<size_t>(std::ceil(plan.tune.keep * static_cast<double>(trials.size())))));
    }
  }
  const std::vector<lab::Job> comparison = lab::main_jobs(plan, {});
  jobs.insert(jobs.end(), comparison.begin(), comparison.end());

  std::map<std::string, lab::Cost> costs;  // by all of the recipe that decides it
  OrderedJson rows = OrderedJson::array();
  double total_flops = 0, total_seconds = 0, peak = 0;
  for (const lab::Job& job : jobs) {
    train::Recipe shape = job.recipe;
    shape.budget = {};
    shape.train.seed = 0;
    shape.schedule = {};
    for (double* rate : {&shape.optimizer.lr, &shape.optimizer.muon_lr, &shape.optimizer.weight_decay, &shape.optimizer.muon_weight_decay, &shape.optimizer.embedding_lr, &shape.optimizer.head_lr}) *rate = 0;
    const std::string key = shape.to_toml();
    if (!arguments.no_trial && !costs.contains(key)) costs[key] = cost_in_child(job.recipe);
    const lab::Cost cost = arguments.no_trial ? lab::Cost{} : costs[key];
    const train::Plan budget = train::make_plan(train::complete_from_data(job.recipe), 0);
    const double seconds = job.recipe.budget.seconds > 0 ? job.recipe.budget.seconds : cost.seconds_per_step * static_cast<double>(budget.total_steps);
    const text::TokenFile tokens(fs::path(job.recipe.data.path) / "train.tokens");
    const double available = static_cast<double>(job.recipe.data.unique_tokens > 0 ? job.recipe.data.unique_tokens : static_cast<int64_t>(tokens.n_tokens()));
    total_flops += budget.total_flops;
    total_seconds += seconds;
    peak = std::max(peak, cost.peak_bytes);
    rows.push_back({{"run", job.name}, {"stage", lab::to_string(job.stage)}, {"arm", job.arm}, {"seed", job.seed}, {"share", job.share}, {"values", lab::to_text(job.values)},
                    {"parameters", budget.n_parameters}, {"steps", budget.total_steps}, {"flops", budget.total_flops}, {"raw_tokens", budget.total_raw_tokens},
                    {"unique_tokens", std::min(budget.total_raw_tokens, available)}, {"bytes", cost.peak_bytes}, {"seconds", seconds}});
  }
  const lab::Lock lock = lab::freeze(plan, lock_of(arguments.plan), arguments.amend);
  const lab::DecisionConfig& d = plan.decision;
  int64_t seeds_needed = 0;
  if (d.effect > 0 && d.seed_sd > 0) seeds_needed = statistics::paired_t_pairs(d.effect, d.seed_sd, {d.alpha, d.power});
  if (arguments.json) {
    std::printf("%s\n", OrderedJson{{"hash", lock.hash}, {"frozen_at", lock.frozen_at}, {"flops", total_flops}, {"seconds", total_seconds}, {"bytes", peak}, {"seeds_needed", seeds_needed}, {"runs", rows}}.dump().c_str());
    return;
  }
  std::printf("%s\n\n%-44s %9s %9s %11s %11s %9s %9s\n", plan.lab.question.c_str(), "run", "steps", "FLOPs", "raw tokens", "unique", "memory", "time");
  for (const OrderedJson& row : rows) {
    const bool tried = row["bytes"].get<double>() > 0;
    std::printf("%-44s %9lld %9.2e %11s %11s %9s %9s  %s\n", row["run"].get<std::string>().c_str(), static_cast<long long>(row["steps"].get<int64_t>()), row["flops"].get<double>(),
                short_number(row["raw_tokens"]).c_str(), short_number(row["unique_tokens"]).c_str(), tried ? (short_number(row["bytes"]) + "B").c_str() : "-",
                tried ? short_time(row["seconds"]).c_str() : "-", row["values"].get<std::string>().c_str());
  }
  std::printf("\n%zu runs, %.3g FLOPs%s; time is that of training, from a trial of a few steps on this machine.\n", rows.size(), total_flops,
              arguments.no_trial ? "" : (", about " + short_time(total_seconds) + " one after the other, " + short_number(peak) + "B at most").c_str());
  std::printf("arms:");
  for (const lab::Arm& arm : plan.arms) std::printf(" %s%s", arm.name.c_str(), arm.name == plan.lab.reference ? " (reference)" : "");
  std::printf("; seeds:");
  for (const int64_t seed : plan.seeds()) std::printf(" %lld", static_cast<long long>(seed));
  std::printf("; equal %s.\ndecision: %s in %s, alpha %g", plan.lab.match.c_str(), d.rule.c_str(), d.metric.c_str(), d.alpha);
  if (seeds_needed > 0) std::printf("; %lld seeds find an effect of %g with power %.0f %% if the difference varies by %g between seeds", static_cast<long long>(seeds_needed), d.effect, 100 * d.power, d.seed_sd);
  std::printf(".\nfrozen as %s on %s (%s)\n", lock.hash.c_str(), lock.frozen_at.c_str(), lock_of(arguments.plan).c_str());
}

/// Rows of the database, or of the results where only those are there.
std::vector<lab::RunRow> rows_of(const fs::path& folder, const std::vector<lab::Result>& results) {
  if (fs::exists(folder / "lab.sqlite")) return lab::Store(folder / "lab.sqlite", lab::Store::Mode::kRead).runs();
  std::vector<lab::RunRow> rows;
  for (const lab::Result& r : results) {
    rows.push_back({.name = r.arm + (r.share == 1.0 ? "" : " at " + short_number(r.share) + " of the budget"), .arm = r.arm, .stage = lab::to_string(r.stage), .state = "done", .seed = r.seed, .attempts = 1,
                    .share = r.share, .error = "", .started_at = "", .finished_at = r.finished_at, .loss = *r.metric("loss")});
  }
  return rows;
}

/// "step 120, 40 %" of a run that has begun.
std::string progress_of(const fs::path& run) {
  if (!fs::exists(run / "metrics.jsonl")) return "";
  const std::string text = read_file(run / "metrics.jsonl");
  const size_t end = text.find_last_of('\n');
  if (end == std::string::npos || end == 0) return "";
  const size_t begin = text.find_last_of('\n', end - 1);
  const OrderedJson json = OrderedJson::parse(text.substr(begin == std::string::npos ? 0 : begin + 1), nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? "step " + std::to_string(json.value("step", int64_t{0})) + ", " + short_time(json.value("seconds", 0.0)) + " of training" : "";
}

void status(const std::string& folder, bool as_json) {
  const std::vector<lab::RunRow> rows = rows_of(folder, fs::exists(fs::path(folder) / "lab.sqlite") ? std::vector<lab::Result>{} : lab::read_results(folder));
  if (rows.empty()) lab::frozen_plan(folder);  // says that there is no experiment
  std::map<std::string, size_t> counts;
  OrderedJson list = OrderedJson::array();
  for (const lab::RunRow& row : rows) {
    ++counts[row.state];
    const std::string doing = row.state == "running" || row.state == "stopped" ? progress_of(fs::path(folder) / "runs" / row.name) : row.error;
    if (as_json) {
      list.push_back({{"run", row.name}, {"stage", row.stage}, {"arm", row.arm}, {"seed", row.seed}, {"share", row.share}, {"state", row.state}, {"attempts", row.attempts}, {"error", row.error},
                      {"started_at", row.started_at}, {"finished_at", row.finished_at}, {"loss", row.state == "done" ? OrderedJson(row.loss) : OrderedJson(nullptr)}});
    } else {
      std::printf("%-8s %-44s %s%s\n", row.state.c_str(), row.name.c_str(), row.state == "done" ? (std::to_string(row.loss) + " nats/token").c_str() : "", doing.c_str());
    }
  }
  if (as_json) {
    std::printf("%s\n", OrderedJson{{"counts", counts}, {"runs", list}}.dump(-1, ' ', false, OrderedJson::error_handler_t::replace).c_str());
    return;
  }
  for (const auto& [state, count] : counts) std::printf("%s%zu %s", state == counts.begin()->first ? "" : ", ", count, state.c_str());
  std::printf("\n");
}

void export_tables(const std::string& folder, const std::string& out) {
  const lab::Store store(fs::path(folder) / "lab.sqlite", lab::Store::Mode::kRead);
  if (out.empty()) {
    std::fputs(store.csv("runs").c_str(), stdout);
    return;
  }
  make_folder(out);
  for (const std::string& table : lab::Store::tables()) write_file(fs::path(out) / (table + ".csv"), store.csv(table));
  std::fprintf(stderr, "%s: %zu tables\n", out.c_str(), lab::Store::tables().size());
}

}  // namespace

lab::RunSummary run_lab(const lab::Plan& plan, const fs::path& lab, const fs::path& plan_lock, const LabArguments& arguments) {
  if (!plan_lock.empty() && fs::exists(plan_lock)) lab::freeze(plan, plan_lock, arguments.amend);
  const auto held = plan_lock.empty() ? std::nullopt : lab::read_lock(plan_lock);
  const auto before = lab::read_lock(lab / "plan.lock");
  lab::Lock lock = held ? *held : before && before->hash == plan.hash() ? *before : lab::Lock{plan.hash(), utc_now()};

  Progress signals;  // turns signals into requests to stop
  const auto start = std::chrono::steady_clock::now();
  const auto stop = [&] {
    const double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return signals.stop_requested() || (arguments.minutes > 0 && spent > 60 * arguments.minutes);
  };
  lab::RunOptions options{.n_jobs = arguments.n_jobs, .amend = arguments.amend, .retry_failed = arguments.retry_failed, .stop = stop};
  options.on_state = [](const lab::Job& job, const std::string& state, const std::string& error, size_t n_done, size_t n_all) {
    if (state == "running") std::fprintf(stderr, "%s: begins (%zu of %zu done)\n", job.name.c_str(), n_done, n_all);
    if (state == "done") std::fprintf(stderr, "%s: done (%zu of %zu)\n", job.name.c_str(), n_done, n_all);
    if (state == "failed") std::fprintf(stderr, "%s: FAILED: %s\n", job.name.c_str(), error.c_str());
  };
  const bool quiet = arguments.n_jobs > 1;
  const lab::RunSummary summary = lab::run(plan, lab, lock, options, [&](const lab::Job& job, const fs::path& folder) { return perform_in_child(job, folder, quiet, stop); });
  if (!summary.finished) {
    std::fprintf(stderr, "\nstopped with %zu runs done; the same command goes on from here\n", summary.n_done);
    throw Exit{130};
  }
  return summary;
}

lab::Judgement report_lab(const fs::path& lab, const std::vector<std::string>& commands) {
  const lab::Plan plan = lab::frozen_plan(lab);
  const auto lock = lab::read_lock(lab / "plan.lock");
  const std::vector<lab::Result> results = lab::read_results(lab);
  const lab::Judgement judgement = lab::judge(plan, results, lock ? lock->frozen_at : "");
  lab::write_report({.judgement = judgement, .runs = rows_of(lab, results), .plan_toml = plan.to_toml(), .commands = commands, .machine = results.empty() ? "" : results.front().machine, .confidence = 1 - plan.decision.alpha}, lab / "report");
  write_file(lab / "report.md", judgement.to_markdown());
  write_file(lab / "report.json", judgement.to_json() + "\n");
  return judgement;
}

void add_lab(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("lab", "experiments at matched compute: plan, run, judge");
  verb->require_subcommand(1);

  auto planned = std::make_shared<PlanArguments>();
  CLI::App* plan_verb = verb->add_subcommand("plan", "check a plan, say what it costs and freeze it");
  plan_verb->add_option("plan", planned->plan, "plan, TOML (docs/lab.md)")->required();
  plan_verb->add_option("--set", planned->settings, "override a key: section.key=value")->take_all()->allow_extra_args(false);
  plan_verb->add_flag("--amend", planned->amend, "freeze a changed plan anew");
  plan_verb->add_flag("--no-trial", planned->no_trial, "do not train a few steps of every arm to tell time and memory");
  plan_verb->add_flag("--json", planned->json, "one JSON object on standard output");
  plan_verb->callback([planned] { plan(*planned); });

  struct RunOptions {
    std::string plan, out;
    std::vector<std::string> settings;
    LabArguments arguments;
  };
  auto running = std::make_shared<RunOptions>();
  CLI::App* run_verb = verb->add_subcommand("run", "run what is missing; can be stopped or killed at any moment and called again");
  run_verb->add_option("plan", running->plan, "plan, TOML")->required();
  run_verb->add_option("--out", running->out, "folder of the experiment")->required();
  run_verb->add_option("--jobs", running->arguments.n_jobs, "runs at once; they share the cores")->check(at_least(1))->capture_default_str();
  run_verb->add_option("--minutes", running->arguments.minutes, "stop after so many, with everything saved")->check(at_least(0));
  run_verb->add_option("--set", running->settings, "override a key: section.key=value")->take_all()->allow_extra_args(false);
  run_verb->add_flag("--amend", running->arguments.amend, "accept a changed plan; finished runs that still fit are kept");
  run_verb->add_flag("--retry-failed", running->arguments.retry_failed, "run those again that diverged");
  run_verb->callback([running] {
    const lab::RunSummary summary = run_lab(load_plan(running->plan, running->settings), running->out, lock_of(running->plan), running->arguments);
    std::fprintf(stderr, "%zu runs done, %zu failed; `entrain lab report %s` judges them\n", summary.n_done, summary.n_failed, running->out.c_str());
    if (summary.n_failed > 0) throw Exit{summary.first_failure};
  });

  struct FolderOptions {
    std::string folder, out;
    bool json = false, csv = false;
  };
  auto shown = std::make_shared<FolderOptions>();
  CLI::App* status_verb = verb->add_subcommand("status", "every run and its state");
  status_verb->add_option("folder", shown->folder, "folder of the experiment")->required();
  status_verb->add_flag("--json", shown->json, "one JSON object on standard output");
  status_verb->callback([shown] { status(shown->folder, shown->json); });

  auto reported = std::make_shared<FolderOptions>();
  CLI::App* report_verb = verb->add_subcommand("report", "print the verdict and write report/index.html");
  report_verb->add_option("folder", reported->folder, "folder of the experiment")->required();
  report_verb->add_flag("--json", reported->json, "one JSON object on standard output");
  report_verb->callback([reported] {
    const std::string& folder = reported->folder;
    const lab::Judgement judgement = report_lab(folder, {"entrain lab run " + folder + "/plan.toml --out " + folder, "entrain lab report " + folder});
    std::printf("%s\n", reported->json ? judgement.to_json().c_str() : judgement.to_markdown().c_str());
    std::fprintf(stderr, "page: %s/report/index.html\n", folder.c_str());
  });

  auto exported = std::make_shared<FolderOptions>();
  CLI::App* export_verb = verb->add_subcommand("export", "the tables of an experiment");
  export_verb->add_option("folder", exported->folder, "folder of the experiment")->required();
  export_verb->add_flag("--csv", exported->csv, "as CSV")->required();
  export_verb->add_option("--out", exported->out, "folder for all tables; without it the table of runs goes to standard output");
  export_verb->callback([exported] { export_tables(exported->folder, exported->out); });

  auto working = std::make_shared<WorkArguments>();
  CLI::App* work_verb = verb->add_subcommand("work", "one run, for `lab run`")->group("");
  work_verb->add_option("lab", working->lab)->required();
  work_verb->add_option("name", working->name)->required();
  work_verb->add_option("--parent", working->parent)->required();
  work_verb->callback([working] { work(*working); });

  auto costing = std::make_shared<CostArguments>();
  CLI::App* cost_verb = verb->add_subcommand("cost", "a few steps, for `lab plan`")->group("");
  cost_verb->add_option("recipe", costing->recipe)->required();
  cost_verb->add_option("out", costing->out)->required();
  cost_verb->callback([costing] { cost(*costing); });
}

}  // namespace entrain::cli
