// entrain inspect entanglement RUN --text FILE [--json] [--map FILE.svg] [--block N] [--tokens N]

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cstdio>
#include <memory>

#include "cli/verbs.h"
#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/entanglement/monitor.h"
#include "entrain/entanglement/relations.h"
#include "entrain/eval/states.h"
#include "entrain/interchange/pretrained.h"
#include "entrain/model/safetensors.h"
#include "entrain/train/checkpoint.h"

namespace entrain::cli {
namespace {

struct Options {
  std::string run, text, map;
  int64_t block = -1, tokens = 20'000;
  bool json = false;
};

/// The block to look at and its projection, (d, C); the identity where the run has no layer there.
struct View {
  int64_t block = 0;
  Tensor projection;
  bool is_layer = false;
  entanglement::Config config;
};

View choose_view(const Options& options, const fs::path& folder, const model::Config& shape) {
  View view;
  const fs::path run = fs::path(options.run);
  if (fs::exists(run / "config.toml")) view.config = train::Recipe::from(config::Document::load(run / "config.toml")).entanglement;
  const bool trained = fs::exists(folder / "methods.safetensors") && view.config.is_on();
  if (!trained) view.config = {};
  entanglement::Config defaults = view.config;
  defaults.mode = "side";
  defaults.width = std::min(defaults.width, shape.width);
  if (options.block >= 0) defaults.blocks = {static_cast<double>(options.block)};
  defaults.resolve(shape.layers, shape.width);  // names blocks the model lacks
  view.config = defaults;
  view.block = static_cast<int64_t>(defaults.blocks.front());
  view.projection = at::eye(shape.width);
  if (!trained) return view;
  const std::string name = "entanglement.blocks." + std::to_string(view.block) + ".projection.weight";
  for (const auto& [key, tensor] : model::read_safetensors(folder / "methods.safetensors")) {
    if (key != name) continue;
    view.projection = tensor.to(at::kFloat);
    view.is_layer = true;
  }
  return view;
}

/// Positives of a reading on any text: those of training where the text tells them. `ppmi` needs counts of the training text, `views` a second
/// pass with dropout; `next` stands for them, and "alignment" is then another figure than in training.
std::string readable_positives(const std::string& trained) { return trained == "ppmi" || trained == "views" ? "next" : trained; }

/// The monitor's reading on the windows of full length. `same_token` weighs tokens by their share of this text.
entanglement::Reading read_monitor(const eval::States& states, const View& view, int64_t context) {
  std::vector<int64_t> rows;
  for (size_t begin = 0; begin + static_cast<size_t>(context) <= states.ids.size() && rows.size() < 2048;) {
    const size_t last = begin + static_cast<size_t>(context) - 1;
    if (states.windows[begin] == states.windows[last]) {
      for (size_t i = begin; i <= last; ++i) rows.push_back(static_cast<int64_t>(i));
      begin = last + 1;
    } else {
      ++begin;
    }
  }
  if (rows.empty()) {
    throw Error(ErrorKind::kData, "the text has no passage of " + std::to_string(context) + " tokens in one document", "give a longer text");
  }
  const Tensor index = at::tensor(rows, at::kLong);
  const Tensor h = states.values.index_select(0, index).view({-1, context, states.values.size(1)});
  const std::vector<int64_t> ids(states.ids.begin(), states.ids.end());
  entanglement::Config config = view.config;
  config.positives = readable_positives(config.positives);
  return entanglement::read(h, view.projection, config, {.ids = at::tensor(ids, at::kLong).index_select(0, index).view({-1, context})});
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  }
  return text;
}

class Reader {
 public:
  Reader(const text::Tokenizer& tokenizer, const eval::States& states) : tokenizer_(tokenizer), states_(states) {}
  std::string name(const entanglement::Unit& unit) const { return one_line(tokenizer_.decode(unit.ids)); }
  /// A few words around an occurrence, the unit in brackets.
  std::string example(const entanglement::Unit& unit) const {
    const auto at = static_cast<size_t>(unit.occurrences[unit.occurrences.size() / 2]);
    const auto piece = [&](size_t from, size_t to) { return from < to ? tokenizer_.decode(std::span(states_.ids).subspan(from, to - from)) : std::string(); };
    size_t begin = at + 1 - unit.ids.size(), before = begin, after = at + 1;
    while (before > 0 && begin - before < 8 && states_.windows[before - 1] == states_.windows[at]) --before;
    while (after < states_.ids.size() && after - at < 8 && states_.windows[after] == states_.windows[at]) ++after;
    return one_line(piece(before, begin) + "[" + piece(begin, at + 1) + "]" + piece(at + 1, after));
  }

 private:
  const text::Tokenizer& tokenizer_;
  const eval::States& states_;
};

OrderedJson to_json(const View& view, const entanglement::Reading& reading, const std::vector<std::string>& alarms, const entanglement::Relations& relations, const Reader& reader) {
  OrderedJson json{{"block", view.block}, {"layer", view.is_layer}, {"positives", readable_positives(view.config.positives)}, {"trained_positives", view.is_layer ? OrderedJson(view.config.positives) : OrderedJson(nullptr)},
                   {"figures", OrderedJson::object()}, {"alarms", alarms}};
  for (const auto& [name, value] : entanglement::figures(reading)) json["figures"][name] = value;
  const auto unit = [&](size_t i) {
    return OrderedJson{{"text", reader.name(relations.units[i])}, {"ids", relations.units[i].ids}, {"occurrences", relations.units[i].occurrences.size()}, {"example", reader.example(relations.units[i])}};
  };
  json["pairs"] = OrderedJson::array();
  for (const auto& pair : relations.pairs) json["pairs"].push_back({{"cosine", pair.cosine}, {"first", unit(pair.first)}, {"second", unit(pair.second)}});
  json["clusters"] = OrderedJson::array();
  for (const auto& cluster : relations.clusters) {
    OrderedJson members = OrderedJson::array();
    for (size_t i = 0; i < cluster.members.size() && i < 15; ++i) members.push_back(unit(cluster.members[i]));
    json["clusters"].push_back({{"cohesion", cluster.cohesion}, {"size", cluster.members.size()}, {"members", members}});
  }
  return json;
}

void print(const View& view, const entanglement::Reading& reading, const std::vector<std::string>& alarms, const entanglement::Relations& relations, const Reader& reader) {
  std::printf("block %lld, %s\n", static_cast<long long>(view.block),
              view.is_layer ? "in the layer's projection" : "the model's own states: the run has no entanglement layer there");
  const std::string read = readable_positives(view.config.positives);
  std::printf("positives %s%s\n", read.c_str(), read == view.config.positives ? "" : (" instead of " + view.config.positives + ", which a text alone does not tell: alignment is not that of training").c_str());
  for (const auto& [name, value] : entanglement::figures(reading)) std::printf("  %-26s %10.4f\n", name.c_str(), value);
  for (const std::string& alarm : alarms) std::printf("alarm: %s\n", alarm.c_str());
  std::printf("\nstrongest pairs without a token in common (cosine of centred means)\n");
  for (const auto& pair : relations.pairs) {
    const auto &first = relations.units[pair.first], &second = relations.units[pair.second];
    std::printf("  %.3f  %-18s %-18s  %s | %s\n", pair.cosine, reader.name(first).c_str(), reader.name(second).c_str(), reader.example(first).c_str(), reader.example(second).c_str());
  }
  std::printf("\nclusters\n");
  for (size_t c = 0; c < relations.clusters.size(); ++c) {
    const auto& cluster = relations.clusters[c];
    std::printf("  %2zu  cohesion %.3f, %4zu members:", c + 1, cluster.cohesion, cluster.members.size());
    for (size_t i = 0; i < cluster.members.size() && i < 12; ++i) std::printf(" %s", ("‘" + reader.name(relations.units[cluster.members[i]]) + "’").c_str());
    std::printf("\n      %s\n", reader.example(relations.units[cluster.members.front()]).c_str());
  }
}

void inspect_entanglement(const Options& options) {
  const c10::NoGradGuard no_grad;
  const fs::path folder = train::resolve_model(options.run);
  const text::Tokenizer tokenizer = interchange::load_tokenizer(folder);
  const model::Transformer model = interchange::load_model(folder);
  const View view = choose_view(options, folder, model.config());
  const int64_t context = model.config().context;
  const eval::States states = eval::collect_states(model, tokenizer, options.text, "blocks." + std::to_string(view.block) + ".hook_resid_mid", {context, options.tokens});
  const entanglement::Reading reading = read_monitor(states, view, std::min<int64_t>(context, 128));
  std::vector<std::string> alarms;  // of the geometry alone: there are no steps to look at
  for (const entanglement::Alarm& alarm : entanglement::alarms(reading, {})) alarms.push_back(alarm.text);
  const entanglement::Relations relations = entanglement::find_relations(at::linear(states.values, view.projection), states.ids, states.windows, {});
  const Reader reader(tokenizer, states);
  if (!options.map.empty()) {
    std::vector<std::string> names;
    for (const auto& unit : relations.units) names.push_back(reader.name(unit));
    write_file(options.map, entanglement::map_svg(relations, names, "Block " + std::to_string(view.block) + ": tokens and phrases by their mean direction"));
    std::fprintf(stderr, "the map is in %s\n", options.map.c_str());
  }
  if (options.json) {
    std::printf("%s\n", to_json(view, reading, alarms, relations, reader).dump(-1, ' ', false, OrderedJson::error_handler_t::replace).c_str());
  } else {
    print(view, reading, alarms, relations, reader);
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("inspect", "look into a model");
  verb->require_subcommand(1);
  CLI::App* entanglement = verb->add_subcommand("entanglement", "which tokens and phrases became related, and the monitor's figures");
  entanglement->add_option("run", options->run, "run, checkpoint, Hugging Face folder or GGUF file")->required();
  entanglement->add_option("--text", options->text, "text file or folder to read")->required();
  entanglement->add_option("--block", options->block, "block to look at; default: the run's first tapped one")->check(at_least(0));
  entanglement->add_option("--tokens", options->tokens, "tokens read from the text's beginning")->check(at_least(2))->capture_default_str();
  entanglement->add_option("--map", options->map, "write a map of the clusters to this SVG file");
  entanglement->add_flag("--json", options->json, "one JSON object on standard output");
  entanglement->callback([options] { inspect_entanglement(*options); });
}

}  // namespace entrain::cli
