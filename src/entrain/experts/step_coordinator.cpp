#include "entrain/experts/step_coordinator.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/experts/writer.h"
#include "entrain/reasoning/tools.h"

namespace entrain::experts {
namespace {

/// A place where the next action is known.
struct Place {
  Turn turn;
  reasoning::Action action;
};

/// Places of one right transcript in turn: each before the Thought that leads to an action.
std::vector<Place> places_of(const std::string& transcript, int64_t item) {
  std::vector<Place> places;
  size_t thought = std::string::npos;
  for (size_t at = transcript.find('\n'); at != std::string::npos; at = transcript.find('\n', at + 1)) {
    const std::string_view line = std::string_view(transcript).substr(at + 1, transcript.find('\n', at + 1) - at - 1);
    if (line.starts_with("Thought:")) thought = at;
    if (const auto action = reasoning::parse_action(line)) {
      places.push_back({{item, transcript.substr(0, std::min(thought, at))}, *action});
      thought = std::string::npos;
    }
  }
  return places;
}

}  // namespace

StepTable make_step_table(const Pool& pool, std::span<const reasoning::Item> items, const IterateOptions& options) {
  std::vector<std::vector<Place>> by_step;  // in the order in which a loop would come to them, so that writers can remember
  for (size_t i = 0; i < items.size(); ++i) {
    const bool english = asked_in_english(items[i], options.english);
    const std::vector<Place> places = places_of(reasoning::tool_transcript(items[i], english ? items[i].english : items[i].symbolic), static_cast<int64_t>(i));
    by_step.resize(std::max(by_step.size(), places.size()));
    for (size_t k = 0; k < places.size(); ++k) by_step[k].push_back(places[k]);
  }
  Writers writers = make_writers(pool, options);
  const auto n_experts = static_cast<int64_t>(writers.size());
  std::vector<std::string> texts;
  std::vector<double> right, flops(writers.size(), 0.0);
  for (const std::vector<Place>& places : by_step) {
    std::vector<Turn> turns;
    for (const Place& place : places) {
      turns.push_back(place.turn);
      texts.push_back(place.turn.transcript);
    }
    const size_t begin = right.size();
    right.resize(begin + places.size() * writers.size(), 0.0);
    for (size_t j = 0; j < writers.size(); ++j) {
      const std::vector<Written> written = writers[j]->write(turns);
      for (size_t t = 0; t < places.size(); ++t) {
        flops[j] += written[t].flops;
        const bool good = written[t].failure.empty() && reasoning::parse_action(written[t].text) == places[t].action;
        right[begin + t * writers.size() + j] = good ? 1 : 0;
      }
    }
  }
  if (texts.empty()) throw Error(ErrorKind::kData, "no steps to learn the choice of experts from", "give items of family tools");
  StepTable table;
  for (size_t j = 1; j < writers.size(); ++j) {
    if (forward_flops(pool.experts[j].model, 64) < forward_flops(pool.experts[static_cast<size_t>(table.cheapest)].model, 64)) table.cheapest = static_cast<int64_t>(j);
  }
  table.features = end_states(pool.experts[static_cast<size_t>(table.cheapest)], pool.tokenizer, texts, options.rows);
  table.right = at::tensor(right, at::kDouble).view({-1, n_experts});
  table.cost = at::tensor(flops, at::kDouble) / std::max(*std::max_element(flops.begin(), flops.end()), 1.0);
  return table;
}

StepCoordinator StepCoordinator::fit(const StepTable& table) {
  StepCoordinator coordinator;
  coordinator.probes_ = fit_logistic(table.features, table.right);
  coordinator.cost_ = table.cost;
  coordinator.mean_right_ = table.right.mean(0);
  coordinator.cheapest_ = table.cheapest;
  return coordinator;
}

Chooser StepCoordinator::chooser(const Pool& pool, double lambda) const {
  ENTRAIN_CHECK(cost_.numel() == std::ssize(pool.experts), "fitted to " + std::to_string(cost_.numel()) + " experts");
  return [this_ = *this, &pool, lambda](const std::string& transcript, int64_t) {
    const Expert& reader = pool.experts[static_cast<size_t>(this_.cheapest_)];
    Tensor p;
    try {
      p = this_.predict(end_states(reader, pool.tokenizer, std::span(&transcript, 1)))[0].contiguous();
    } catch (const Error&) {
      p = this_.mean_right_.contiguous();
    }
    Choice choice = (p - lambda * this_.cost_).argmax().item<int64_t>();
    choice.scores.assign(p.const_data_ptr<double>(), p.const_data_ptr<double>() + p.numel());
    choice.flops = forward_flops(reader.model, std::ssize(pool.tokenizer.encode(transcript, text::Specials::kAsText)));
    return choice;
  };
}

model::NamedTensors StepCoordinator::state() const {
  return {{"step_coordinator.weight", probes_.weight}, {"step_coordinator.bias", probes_.bias}, {"step_coordinator.cost", cost_}, {"step_coordinator.mean_right", mean_right_},
          {"step_coordinator.cheapest", at::full({1}, cheapest_, at::kLong)}};
}

StepCoordinator StepCoordinator::from(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  const auto named = [&](const std::string& name) {
    for (const auto& [key, tensor] : tensors) {
      if (key == "step_coordinator." + name) return tensor;
    }
    throw Error(ErrorKind::kData, "there is no tensor step_coordinator." + name, "fit the pool's coordinators anew");
  };
  StepCoordinator coordinator;
  coordinator.probes_ = {named("weight"), named("bias")};
  coordinator.cost_ = named("cost");
  coordinator.mean_right_ = named("mean_right");
  coordinator.cheapest_ = named("cheapest").item<int64_t>();
  return coordinator;
}

}  // namespace entrain::experts
