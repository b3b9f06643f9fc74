#include "entrain/experts/observation_config.h"

namespace entrain::experts {

void ObservationConfig::bind(config::Binder& b) {
  b.section("observation", "How experts observe each other.");
  b.bind("mode", &mode,
         "`full`: attention over the others' states, keys and values projected once a source; `pair`: projected for each pair; `summary`: over running summaries of each source; `workspace`: over slots that all "
         "write to; `neighbours`: as `full`, over the next ones in a ring at distances 1, 2, 4, ...")
      .one_of({"full", "pair", "summary", "workspace", "neighbours"});
  b.bind("positions", &positions, "`all` positions observe, or only the `answer` position (then nothing composes on the way and every hop takes a round)").one_of({"all", "answer"});
  b.bind("experts", &experts, "`frozen`: only the observation is trained; `tuned`: the experts with it").one_of({"frozen", "tuned"});
  b.bind("judged_rounds", &judged_rounds,
         "what training judges: the `last` round's answer, or `every` round's; where a question takes more rounds than there were so far (relay), the name that the hops so far lead to")
      .one_of({"last", "every"});
  b.bind("asker", &asker, "the only expert whose answers are trained and judged; empty: all of them, in relay the first");
  b.bind("rounds", &rounds, "R, exchanges before an answer; training draws 1 to R of them").range(0, 64);
  b.bind("depth", &depth, "share of each expert's blocks that run before the exchange, the others after it").range(0, 1);
  b.bind("width", &width, "width of keys and values that experts share").range(1, 65536);
  b.bind("heads", &heads, "attention heads").range(1, 1024);
  b.bind("shift", &shift, "positions that a key is made of, its own and those right before it (a short causal convolution, so that what stands behind a name can be found by the name); 1: its own alone").range(1, 64);
  b.bind("mlp_width", &mlp_width, "of the feed-forward layer after each exchange; 0: none").range(0, 1 << 20);
  b.bind("slots", &slots, "workspace: M, slots at each position").range(1, 4096);
  b.bind("summaries", &summaries, "summary: running summaries of each source").range(1, 4096);
  b.bind("neighbours", &neighbours, "neighbours: experts that each one reads").range(1, 4096);
  b.bind("runs", &runs, "how many of the pool's runs observe, the first ones, where others only add to the figures that need many runs (shares); 0: all of them").range(0, 1000);
  b.bind("steps", &steps, "of training").range(0, 1e9);
  b.bind("rows", &rows, "items in a step").range(1, 65536);
  b.bind("lr", &lr, "peak learning rate (AdamW, linear decay to zero)").range(0, 10);
  b.bind("control", &control, "train the same block on every expert's own states alone as well: what extra computing without partners gains");
}

std::vector<std::string> ObservationConfig::problems(int64_t n_experts) const {
  std::vector<std::string> found;
  if (n_experts < 2) found.push_back("observation needs at least two experts");
  if (width % heads != 0) found.push_back("observation.width is no multiple of observation.heads");
  if (heads > 1 && width % heads == 0 && width / heads % 2 != 0) found.push_back("observation.width / observation.heads is odd: heads with rotary positions need an even width");
  if (mode == "neighbours" && neighbours >= n_experts) found.push_back("observation.neighbours must be smaller than the number of experts, " + std::to_string(n_experts));
  return found;
}

}  // namespace entrain::experts
