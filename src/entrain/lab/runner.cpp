#include "entrain/lab/runner.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <thread>

#include "entrain/base/clock.h"
#include "entrain/base/error.h"
#include "entrain/base/json.h"

namespace entrain::lab {
namespace {

/// Holds lab.lock for as long as it lives. Children inherit it, so that a killed lab's last run ends before the next lab begins.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& lab) {
    fd_ = ::open((lab / "lab.lock").c_str(), O_RDWR | O_CREAT, 0644);
    if (fd_ < 0) throw Error(ErrorKind::kIo, "cannot open " + (lab / "lab.lock").string() + ": " + std::strerror(errno));
    for (int tries = 0; ::flock(fd_, LOCK_EX | LOCK_NB) != 0; ++tries) {
      if (tries == 50) {
        ::close(fd_);
        throw Error(ErrorKind::kUsage, "another process works on " + lab.string(), "wait for it, or stop it; `entrain lab status` shows how far it is");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  ~FolderLock() { ::close(fd_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_ = -1;
};

Scoring scoring_of(const Plan& plan, Stage stage) {
  Scoring scoring{.block_tokens = plan.metrics.block_tokens, .tasks_data = plan.metrics.tasks_data, .task_limit = static_cast<int64_t>(plan.metrics.task_limit)};
  if (stage == Stage::kTune) return scoring;
  if (fs::exists(fs::path(plan.reference().recipe.data.path) / "test.tokens")) scoring.split = "test";
  scoring.prompt = stage == Stage::kMain ? plan.metrics.prompt : "";
  scoring.sample_tokens = plan.metrics.sample_tokens;
  if (stage == Stage::kLadder) return scoring;  // the ladder tells of the loss alone
  for (const std::string& metric : plan.declared()) {
    const size_t dot = metric.find('.');
    const std::string task = metric.substr(0, dot);
    if (dot != std::string::npos && std::find(scoring.tasks.begin(), scoring.tasks.end(), task) == scoring.tasks.end()) scoring.tasks.push_back(task);
  }
  return scoring;
}

std::string share_text(double share) { return OrderedJson(share).dump(); }

/// Reads a result that belongs to the job, where there is one.
std::optional<Result> finished_result(const fs::path& lab, const Job& job) {
  const fs::path file = result_file(lab, job.name);
  if (!fs::exists(file)) return std::nullopt;
  Result result = Result::from_json(read_file(file), file.string());
  if (result.key != job.key()) {
    throw Error(ErrorKind::kUsage, file.string() + " is the result of another recipe or of other text than " + job.name + " has now",
                "name another --out folder, or delete that file and runs/" + job.name + " to run it anew");
  }
  return result;
}

/// The job, with the threads of its run where one was begun: --jobs may differ since, and a run repeats bit for bit at one number of threads only.
Job as_begun(const fs::path& lab, Job job) {
  const fs::path file = lab / "runs" / job.name / "job.json";
  if (!fs::exists(file)) return job;
  try {
    const Job begun = Job::from_json(read_file(file), file.string());
    if (begun.key() == job.key()) job.recipe.train.threads = begun.recipe.train.threads;
  } catch (const Error&) {  // written anew with the job
  }
  return job;
}

bool diverged_before(const fs::path& lab, const Job& job) {
  const fs::path file = failure_file(lab, job.name);
  if (!fs::exists(file)) return false;
  const OrderedJson json = OrderedJson::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  return json.is_object() && json.value("key", "") == job.key();
}

/// The state shared by the threads that carry jobs out.
class Queue {
 public:
  Queue(const fs::path& lab, Store& store, const RunOptions& options, const Performer& perform) : lab_(lab), store_(store), options_(options), perform_(perform) {}

  /// Runs the jobs that have no result yet; false when it was stopped before all were tried.
  bool work(std::vector<Job> jobs) {
    std::vector<const Job*> missing;
    store_.add_jobs(jobs);
    for (const Job& job : jobs) {
      if (const auto result = finished_result(lab_, job)) {
        store_.add_result(job.name, *result);
        results_.push_back(*result);
        ++n_done_;
      } else if (!options_.retry_failed && diverged_before(lab_, job)) {
        store_.set_state(job.name, "failed", OrderedJson::parse(read_file(failure_file(lab_, job.name))).value("error", ""));
        ++n_failed_;
        if (first_failure_ == 0) first_failure_ = static_cast<int>(ErrorKind::kNumeric);
      } else {
        missing.push_back(&job);
      }
    }
    n_all_ += jobs.size();
    size_t next = 0;
    std::exception_ptr broken;
    const auto worker = [&] {
      std::unique_lock<std::mutex> guard(mutex_);
      while (next < missing.size() && !stopped_ && !broken) {
        if (options_.stop()) {
          stopped_ = true;
          break;
        }
        const Job& job = *missing[next++];
        try {
          one(job, guard);
        } catch (...) {
          if (!guard.owns_lock()) guard.lock();
          broken = std::current_exception();  // the lab itself cannot go on: no disk, no database
        }
      }
    };
    std::vector<std::thread> threads;
    for (int64_t i = 1; i < std::min<int64_t>(options_.n_jobs, static_cast<int64_t>(missing.size())); ++i) threads.emplace_back(worker);
    worker();
    for (std::thread& thread : threads) thread.join();
    if (broken) std::rethrow_exception(broken);
    return !stopped_;
  }

  const std::vector<Result>& results() const { return results_; }
  size_t n_done() const { return n_done_; }
  size_t n_failed() const { return n_failed_; }
  int first_failure() const { return first_failure_; }

 private:
  void one(const Job& job, std::unique_lock<std::mutex>& guard) {
    set_state(job, "running", "");
    guard.unlock();
    JobEnd end = JobEnd::kStopped;
    std::optional<Error> failure;
    std::optional<Result> result;
    try {
      end = perform_(as_begun(lab_, job), lab_);
      if (end == JobEnd::kFinished) result = finished_result(lab_, job);
    } catch (const Error& error) {
      failure = error;
    }
    guard.lock();
    if (failure) {
      const std::string text = failure->what() + (failure->hint().empty() ? "" : " (" + failure->hint() + ")");
      if (failure->kind() == ErrorKind::kNumeric) {
        const fs::path file = failure_file(lab_, job.name);
        make_folder(file.parent_path());
        write_file(file, OrderedJson{{"key", job.key()}, {"error", text}}.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
      }
      ++n_failed_;
      if (first_failure_ == 0) first_failure_ = static_cast<int>(failure->kind());
      return set_state(job, "failed", text);
    }
    if (!result) {
      stopped_ = true;
      return set_state(job, "stopped", "");
    }
    store_.add_result(job.name, *result);
    results_.push_back(std::move(*result));
    ++n_done_;
    if (options_.on_state) options_.on_state(job, "done", "", n_done_, n_all_);
  }

  void set_state(const Job& job, const std::string& state, const std::string& error) {
    store_.set_state(job.name, state, error);
    if (options_.on_state) options_.on_state(job, state, error, n_done_, n_all_);
  }

  const fs::path& lab_;
  Store& store_;
  const RunOptions& options_;
  const Performer& perform_;
  std::mutex mutex_;
  std::vector<Result> results_;
  size_t n_done_ = 0, n_failed_ = 0, n_all_ = 0;
  int first_failure_ = 0;
  bool stopped_ = false;
};

void share_out_cores(Plan& plan, int64_t n_jobs) {
  if (n_jobs <= 1) return;
  const int64_t threads = std::max<int64_t>(1, static_cast<int64_t>(std::thread::hardware_concurrency()) / n_jobs);
  for (Arm& arm : plan.arms) {
    if (arm.recipe.train.threads == 0) arm.recipe.train.threads = threads;
  }
}

/// Tuning, round by round. Nothing: it was stopped.
std::optional<std::map<std::string, Choice>> tune(const Plan& plan, Queue& queue, Store& store) {
  std::map<std::string, Choice> choices;
  if (plan.tune.method == "none") return choices;
  std::map<std::string, std::vector<int64_t>> survivors;
  for (const Arm& arm : plan.arms) {
    for (size_t trial = 0; trial < plan.trials(arm.name).size(); ++trial) survivors[arm.name].push_back(static_cast<int64_t>(trial));
  }
  const int64_t rounds = plan.tune.method == "halving" ? plan.tune.rounds : 1;
  for (int64_t round = 1; round <= rounds; ++round) {
    if (!queue.work(tuning_jobs(plan, round, survivors))) return std::nullopt;
    survivors = surviving(plan, round, survivors, queue.results());
  }
  for (const Arm& arm : plan.arms) {
    choices[arm.name] = choice_of(plan, arm.name, survivors.at(arm.name).front());
    store.set_choice(arm.name, choices[arm.name].values, choices[arm.name].at_edge);
  }
  return choices;
}

}  // namespace

std::optional<Lock> read_lock(const fs::path& path) {
  if (!fs::exists(path)) return std::nullopt;
  const OrderedJson json = OrderedJson::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("hash") || !json.contains("frozen_at")) throw Error(ErrorKind::kData, path.string() + " is no lock of a plan", "delete it and run `entrain lab plan` again");
  return Lock{json.at("hash"), json.at("frozen_at")};
}

Lock freeze(const Plan& plan, const fs::path& path, bool amend) {
  const auto held = read_lock(path);
  const std::string hash = plan.hash();
  if (held && held->hash == hash) return *held;
  if (held && !amend) {
    throw Error(ErrorKind::kUsage, path.string() + " froze another plan or another recipe: " + held->hash + " on " + held->frozen_at + ", it is " + hash + " now",
                "undo the change, or add --amend: the plan is then frozen anew, and the report says that it came after the first results");
  }
  const Lock lock{hash, utc_now()};
  write_file(path, OrderedJson{{"hash", lock.hash}, {"frozen_at", lock.frozen_at}}.dump(1) + "\n");
  return lock;
}

fs::path result_file(const fs::path& lab, const std::string& name) { return lab / "results" / (name + ".json"); }
fs::path failure_file(const fs::path& lab, const std::string& name) { return lab / "results" / (name + ".failed.json"); }

std::vector<Job> tuning_jobs(const Plan& plan, int64_t round, const std::map<std::string, std::vector<int64_t>>& survivors) {
  const int64_t rounds = plan.tune.method == "halving" ? plan.tune.rounds : 1;
  const double share = plan.tune.share * std::pow(plan.tune.keep, static_cast<double>(rounds - round));
  std::vector<Job> jobs;
  for (const Arm& arm : plan.arms) {
    const std::vector<Trial> trials = plan.trials(arm.name);
    for (const int64_t number : survivors.at(arm.name)) {
      const Trial& values = trials.at(static_cast<size_t>(number));
      Trial all = values;
      for (const auto& [key, entry] : plan.proxy.entries()) all[key] = entry.value;
      Plan proxy = plan;  // the reference's budget is that of its proxy
      if (!plan.proxy.entries().empty()) {
        Trial only;
        for (const auto& [key, entry] : plan.proxy.entries()) only[key] = entry.value;
        for (Arm& a : proxy.arms) a.recipe = with(a.recipe, only);
      }
      const train::Recipe recipe = matched(proxy, with(arm.recipe, all), share);
      for (const double seed : plan.tune.seeds) {
        Job job{.name = "tune/" + arm.name + "/round-" + std::to_string(round) + "-trial-" + std::to_string(number) + "-seed-" + std::to_string(static_cast<int64_t>(seed)),
                .stage = Stage::kTune, .arm = arm.name, .seed = static_cast<int64_t>(seed), .share = share, .round = round, .trial = number, .values = values, .recipe = recipe,
                .scoring = scoring_of(plan, Stage::kTune)};
        job.recipe.train.seed = job.seed;
        jobs.push_back(std::move(job));
      }
    }
  }
  return jobs;
}

std::vector<Job> main_jobs(const Plan& plan, const std::map<std::string, Choice>& choices) {
  const auto tuned = [&](const Arm& arm) {
    const auto choice = choices.find(arm.name);
    return choice == choices.end() ? arm.recipe : with(arm.recipe, choice->second.values);
  };
  const auto add = [&](std::vector<Job>& jobs, const Arm& arm, Stage stage, double share, const train::Recipe& recipe, int64_t seed) {
    const auto choice = choices.find(arm.name);
    jobs.push_back({.name = arm.name + (stage == Stage::kLadder ? "-x" + share_text(share) : "") + "/seed-" + std::to_string(seed), .stage = stage, .arm = arm.name, .seed = seed,
                    .share = share, .values = choice == choices.end() ? Trial{} : choice->second.values, .recipe = recipe, .scoring = scoring_of(plan, stage)});
    jobs.back().recipe.train.seed = seed;
  };
  std::vector<Job> jobs;
  std::map<std::string, train::Recipe> whole;
  for (const Arm& arm : plan.arms) whole[arm.name] = matched(plan, tuned(arm), 1.0);
  for (const int64_t seed : plan.seeds()) {
    for (const Arm& arm : plan.arms) add(jobs, arm, Stage::kMain, 1.0, whole[arm.name], seed);
  }
  const std::vector<std::string> on_ladder = plan.lab.ladder_arms.empty() ? std::vector<std::string>{plan.lab.reference} : plan.lab.ladder_arms;
  for (const double share : plan.lab.ladder) {
    for (const std::string& name : on_ladder) {
      const train::Recipe recipe = matched(plan, tuned(plan.arm(name)), share);
      for (const int64_t seed : plan.seeds()) add(jobs, plan.arm(name), Stage::kLadder, share, recipe, seed);
    }
  }
  return jobs;
}

std::map<std::string, std::vector<int64_t>> surviving(const Plan& plan, int64_t round, const std::map<std::string, std::vector<int64_t>>& survivors, const std::vector<Result>& results) {
  const int64_t rounds = plan.tune.method == "halving" ? plan.tune.rounds : 1;
  std::map<std::string, std::vector<int64_t>> next;
  for (const auto& [arm, trials] : survivors) {
    std::vector<std::pair<double, int64_t>> ranked;
    for (const int64_t trial : trials) {
      double sum = 0;
      size_t n = 0;
      for (const Result& r : results) {
        if (r.stage != Stage::kTune || r.arm != arm || r.round != round || r.trial != trial) continue;
        sum += *r.metric("loss");
        ++n;
      }
      ranked.emplace_back(n == plan.tune.seeds.size() ? sum / static_cast<double>(n) : std::numeric_limits<double>::infinity(), trial);
    }
    std::sort(ranked.begin(), ranked.end());
    if (!std::isfinite(ranked.front().first)) throw Error(ErrorKind::kNumeric, "every tuning trial of arm " + arm + " failed", "`entrain lab status` names the reasons; give it other values");
    const size_t kept = round == rounds ? 1 : std::max<size_t>(1, static_cast<size_t>(std::ceil(plan.tune.keep * static_cast<double>(trials.size()))));
    for (size_t i = 0; i < kept && std::isfinite(ranked[i].first); ++i) next[arm].push_back(ranked[i].second);
  }
  return next;
}

Choice choice_of(const Plan& plan, const std::string& arm, int64_t trial) {
  Choice choice{plan.trials(arm).at(static_cast<size_t>(trial)), false};
  for (const auto& [key, values] : plan.grids.at(arm)) choice.at_edge |= at_edge(values, choice.values.at(key));
  return choice;
}

JobEnd perform_here(const Job& job, const fs::path& lab, train::Observer& observer) {
  const fs::path folder = lab / "runs" / job.name;
  const auto result = perform(job, folder, observer);
  if (!result) return JobEnd::kStopped;
  const fs::path file = result_file(lab, job.name);
  make_folder(file.parent_path());
  write_file(file, result->to_json());
  return JobEnd::kFinished;
}

RunSummary run(const Plan& given, const fs::path& lab, const Lock& lock, const RunOptions& options, const Performer& perform) {
  Plan plan = given;
  share_out_cores(plan, options.n_jobs);
  if (plan.lab.match == "seconds" && options.n_jobs > 1) {
    throw Error(ErrorKind::kUsage, "budgets in seconds cannot be matched while runs share the machine", "leave out --jobs");
  }
  main_jobs(plan, {});  // fails before anything is made where data, budgets or recipes do not fit
  make_folder(lab);
  const FolderLock folder_lock(lab);
  if (const auto held = read_lock(lab / "plan.lock"); held && held->hash != lock.hash && !options.amend) {
    throw Error(ErrorKind::kUsage, lab.string() + " holds results of another plan or another recipe (" + held->hash + ", now " + lock.hash + ")",
                "name another --out folder, or add --amend: the report then says that the plan came after the first results");
  }
  write_file(lab / "plan.toml", given.to_toml());
  write_file(lab / "plan.lock", OrderedJson{{"hash", lock.hash}, {"frozen_at", lock.frozen_at}}.dump(1) + "\n");
  Store store(lab / "lab.sqlite", Store::Mode::kWrite);
  store.set_plan(lock.hash, given.to_toml(), lock.frozen_at);
  Queue queue(lab, store, options, perform);
  const auto choices = tune(plan, queue, store);
  const bool finished = choices && queue.work(main_jobs(plan, *choices));
  return {finished, queue.n_done(), queue.n_failed(), queue.first_failure()};
}

Plan frozen_plan(const fs::path& lab) {
  if (!fs::exists(lab / "plan.toml")) throw Error(ErrorKind::kUsage, lab.string() + " holds no experiment", "name the --out folder of an `entrain lab run`");
  return Plan::load(lab / "plan.toml");
}

std::vector<Result> read_results(const fs::path& lab) {
  std::vector<fs::path> files;
  if (fs::exists(lab / "results")) {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(lab / "results")) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(".json") && !name.ends_with(".failed.json") && name.front() != '.') files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<Result> results;
  for (const fs::path& file : files) results.push_back(Result::from_json(read_file(file), file.string()));
  return results;
}

}  // namespace entrain::lab
