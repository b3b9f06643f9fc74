#include "entrain/modalities/experiment.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <map>
#include <thread>

#include "entrain/base/clock.h"
#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/text/tokenizer.h"

namespace entrain::modalities {
namespace {

OrderedJson to_json(const Retrieval& r) { return {{"recall", r.recall}, {"reciprocal_rank", r.reciprocal_rank}}; }

Retrieval retrieval_from(const OrderedJson& json) { return {json.at("recall").get<std::array<double, 3>>(), json.at("reciprocal_rank").get<double>()}; }

/// Settings, sentences and tokenizer of an experiment in one number.
std::string fingerprint_of(const Config& config, const Items& items) {
  std::string text = to_hex(config.fingerprint()) + to_hex(items.fingerprint());
  if (config.uses("bpe")) text += to_hex(text::Tokenizer::load(config.tokenizer).fingerprint());
  return to_hex(checksum(text));
}

/// The modalities met so far; each is made once.
class Gallery {
 public:
  Gallery(const Items& items, const Config& config, fs::path cache, const Observer& observer) : items_(items), config_(config), cache_(std::move(cache)), observer_(observer) {}
  const Modality& get(const std::string& name) {
    const auto found = modalities_.find(name);
    if (found != modalities_.end()) return found->second;
    if (observer_.on_modality) observer_.on_modality(name);
    return modalities_.emplace(name, make_modality(name, items_, config_, cache_)).first->second;
  }

 private:
  const Items& items_;
  const Config& config_;
  fs::path cache_;
  const Observer& observer_;
  std::map<std::string, Modality> modalities_;
};

}  // namespace

std::string Result::to_json() const {
  OrderedJson scores = OrderedJson::array(), curve = OrderedJson::array();
  for (const PairScore& s : outcome.scores) {
    scores.push_back({{"a", s.a}, {"b", s.b}, {"a_to_b", modalities::to_json(s.a_to_b)}, {"b_to_a", modalities::to_json(s.b_to_a)}, {"gap", s.gap}});
  }
  for (const LossPoint& p : outcome.curve) curve.push_back({p.step, p.within, p.across, p.uniformity});
  const OrderedJson json{{"modalities", run.names}, {"arm", run.arm}, {"share", run.share}, {"seed", run.seed}, {"n_paired", outcome.n_paired}, {"items", items}, {"held_out", held_out},
                  {"steps", outcome.n_steps}, {"batch", batch}, {"flops", outcome.flops}, {"seconds", outcome.seconds}, {"logit_scale", outcome.logit_scale}, {"recall_at", kRecallAt},
                  {"scores", scores}, {"curve", {{"columns", {"step", "within", "across", "uniformity"}}, {"rows", curve}}}, {"fingerprint", fingerprint}, {"finished_at", finished_at}};
  return json.dump(1) + "\n";
}

Result Result::from_json(const std::string& text, const std::string& name) {
  try {
    const OrderedJson json = OrderedJson::parse(text);
    Result r;
    r.run = {json.at("modalities").get<std::vector<std::string>>(), json.at("arm").get<std::string>(), json.at("share").get<double>(), json.at("seed").get<int64_t>()};
    r.outcome.n_paired = json.at("n_paired").get<int64_t>();
    r.outcome.n_steps = json.at("steps").get<int64_t>();
    r.outcome.flops = json.at("flops").get<double>();
    r.outcome.seconds = json.at("seconds").get<double>();
    r.outcome.logit_scale = json.at("logit_scale").get<double>();
    for (const OrderedJson& s : json.at("scores")) {
      r.outcome.scores.push_back({s.at("a").get<std::string>(), s.at("b").get<std::string>(), retrieval_from(s.at("a_to_b")), retrieval_from(s.at("b_to_a")), s.at("gap").get<double>()});
    }
    for (const OrderedJson& row : json.at("curve").at("rows")) r.outcome.curve.push_back({row.at(0).get<int64_t>(), row.at(1).get<double>(), row.at(2).get<double>(), row.at(3).get<double>()});
    r.items = json.at("items").get<int64_t>();
    r.held_out = json.at("held_out").get<int64_t>();
    r.batch = json.at("batch").get<int64_t>();
    r.fingerprint = json.at("fingerprint").get<std::string>();
    r.finished_at = json.at("finished_at").get<std::string>();
    return r;
  } catch (const OrderedJson::exception&) {
    throw Error(ErrorKind::kData, name + " is no result of `entrain modalities`", "remove it; the run is then made again");
  }
}

std::vector<Run> runs_of(const Config& config) {
  std::vector<Run> runs;
  for (const double seed : config.seeds) {
    for (const auto& names : config.groups()) {
      for (const double share : config.shares) {
        for (const std::string& arm : config.arms) runs.push_back({names, arm, share, static_cast<int64_t>(seed)});
      }
    }
  }
  return runs;
}

std::vector<Result> run_experiment(const Config& config, const fs::path& out, const Observer& observer) {
  at::set_num_threads(config.threads > 0 ? static_cast<int>(config.threads) : static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  const Items items = draw_items(config);
  const std::string fingerprint = fingerprint_of(config, items);
  Gallery gallery(items, config, out / "frames", observer);
  const std::vector<Run> runs = runs_of(config);
  std::map<std::string, Result> done;  // all that is there is read before the first long computation
  for (const Run& run : runs) {
    const fs::path path = out / "results" / (run.name() + ".json");
    if (!fs::exists(path)) continue;
    const Result result = done[run.name()] = Result::from_json(read_file(path), path.string());
    if (result.fingerprint != fingerprint) {
      throw Error(ErrorKind::kUsage, path.string() + " came from other settings, another text or another tokenizer", "choose another folder for --out, or remove that one");
    }
  }
  std::vector<Result> results;
  for (const Run& run : runs) {
    if (const auto found = done.find(run.name()); found != done.end()) {
      results.push_back(found->second);
      continue;
    }
    std::vector<const Modality*> modalities;
    for (const std::string& name : run.names) modalities.push_back(&gallery.get(name));
    if (observer.on_run) observer.on_run(run, results.size(), runs.size());
    Result result{run, perform(config, modalities, items.n_train, run), items.n_train, items.n_held_out(), config.batch, fingerprint, utc_now()};
    make_folder(out / "results");
    write_file(out / "results" / (run.name() + ".json"), result.to_json());
    if (observer.on_result) observer.on_result(result);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace entrain::modalities
