#include "entrain/entanglement/config.h"

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/model/blocks.h"

namespace entrain::entanglement {

void Config::bind(config::Binder& b) {
  b.section("entanglement", "A layer between attention and feed-forward that relates token representations across contexts (docs/methods/entanglement.md).");
  b.bind("mode", &mode, "`side`: a loss beside the language model's, nothing is added to the forward pass").one_of({"none", "side"});
  b.bind("blocks", &blocks, "blocks whose `hook_resid_mid` is tapped, counted from 0; empty: the one at two thirds of the depth");
  b.bind("width", &width, "d, width of the projection").range(2, 65536);
  b.bind("loss", &loss,
         "`infonce`: smoothed contrastive; `align_uniform`: two forces; `ecf`, `sigreg`: match a Gaussian; `entropy_floor`, `simctg`, `contraclm`, `hsic`, `cosreg`, `decov`, `barlow`, `vicreg`, "
         "`total_correlation`, `attribute_hsic`; `literal` is the announced loss, which collapses")
      .one_of({"infonce", "align_uniform", "ecf", "sigreg", "entropy_floor", "simctg", "contraclm", "hsic", "cosreg", "decov", "barlow", "vicreg", "total_correlation", "attribute_hsic", "literal"});
  b.bind("positives", &positives,
         "what belongs together: `next` (the next k states), `same_token`, `views` (two dropout views; doubles the forward pass), `window` (by distance), `ppmi` (words that co-occur), "
         "`random` (a placebo of equal cost)")
      .one_of({"next", "same_token", "views", "window", "ppmi", "random"});
  b.bind("scope", &scope, "pairs within the whole micro-batch, or within each row").one_of({"batch", "sequence"});
  b.bind("smoothing", &smoothing, "a, share of the target spread over all pairs; 1 is the literal loss").range(0, 1);
  b.bind("temperature", &temperature, "tau; random features, and so `hsic` and `attribute_hsic`, need at least 0.25").range(0.01, 100);
  b.bind("pairs", &pairs, "how sums over all pairs are made: `exact` O(n^2), `random_features` O(n), `positive_features` O(n), `fft` O(n log n) with weights that fall with the distance; `auto`: by length")
      .one_of({"auto", "exact", "random_features", "positive_features", "fft"});
  b.bind("frequencies", &frequencies, "m, random frequencies").range(1, 1 << 20);
  b.bind("orthogonal", &orthogonal, "draw the frequencies in orthogonal blocks");
  b.bind("resample", &resample, "draw new frequencies every step; fixed ones are gamed");
  b.bind("next_k", &next_k, "`next`: how many following states").range(1, 1024);
  b.bind("window", &window, "`window`: most positions apart").range(1, 65536);
  b.bind("window_decay", &window_decay, "`window` and `fft`: weight of a pair falls by this factor a position").range(0, 1);
  b.bind("frequency_threshold", &frequency_threshold, "`same_token`: tokens more frequent than this share are weighted down by sqrt(threshold / share); 0: none are").range(0, 1);
  b.bind("ppmi_rank", &ppmi_rank, "`ppmi`: rank of the approximation").range(1, 4096);
  b.bind("ppmi_window", &ppmi_window, "`ppmi`: tokens counted as co-occurring").range(1, 1024);
  b.bind("statistics_tokens", &statistics_tokens, "training tokens counted for `same_token` and `ppmi`").range(1, 1e12);
  b.bind("uniformity_weight", &uniformity_weight, "`align_uniform`, `entropy_floor`, `ecf`, `sigreg`: weight of the spreading term").range(0, 1e6);
  b.bind("entropy_share", &entropy_share, "`entropy_floor`: eta, share of the largest entropy a row must keep").range(0, 1);
  b.bind("margin", &margin, "`simctg`: rho; cosines above 1 - rho are penalised").range(0, 2);
  b.bind("off_diagonal_weight", &off_diagonal_weight, "`barlow`: weight of the off-diagonal terms").range(0, 1e6);
  b.bind("vicreg_invariance", &vicreg_invariance, "`vicreg`: weight of the distance between positives").range(0, 1e6);
  b.bind("vicreg_variance", &vicreg_variance, "`vicreg`: weight of each coordinate's spread").range(0, 1e6);
  b.bind("vicreg_covariance", &vicreg_covariance, "`vicreg`: weight of the correlations between coordinates").range(0, 1e6);
  b.bind("hsic_weight", &hsic_weight, "`hsic`: weight of the states' dependence on themselves, which keeps them spread").range(0, 1e6);
  b.bind("slices", &slices, "`sigreg`: random directions along which the states are compared with a Gaussian").range(1, 1 << 16);
  b.bind("attribute", &attribute, "file of `word<TAB>value` lines: the attribute that `attribute_hsic` makes the projection independent of");
  b.bind("attribute_weight", &attribute_weight, "`attribute_hsic`: weight of the dependence against the decorrelation").range(0, 1e6);
  b.bind("weight", &weight, "lambda, weight of the loss's gradient at the tap; 0 changes no bit of training").range(0, 1e6);
  b.bind("warmup", &warmup, "share of the budget over which the weight rises").range(0, 1);
  b.bind("decay", &decay, "last share of the budget over which the weight falls to 0").range(0, 1);
  b.bind("gate", &gate, "against conflict with the language model: `token`, `matrix`: remove the component against its gradient; `cosine`: use only what agrees; `pcgrad`, `gradnorm`: for comparison")
      .one_of({"none", "token", "matrix", "cosine", "pcgrad", "gradnorm"});
  b.bind("norm_cap", &norm_cap, "rho, most the added gradient may weigh against the language model's; 0: no cap; `gradnorm`: the share aimed at").range(0, 1e6);
  b.bind("head_lr", &head_lr, "AdamW's peak learning rate of the projection").range(0, 100);
  b.bind("monitor_every", &monitor_every, "steps between the monitor's readings; 0: only at the end").range(0, 1e12);
}

void Config::resolve(int64_t layers, int64_t model_width) {
  if (!is_on()) return;
  if (blocks.empty()) blocks = {static_cast<double>(std::min(layers - 1, 2 * layers / 3))};
  std::string problems;
  const auto need = [&](bool good, const std::string& problem) {
    if (!good) problems += "\n  - " + problem;
  };
  for (const std::string& problem : model::block_problems("entanglement.blocks", blocks, layers)) need(false, problem);
  need(width <= model_width, "entanglement.width (" + std::to_string(width) + ") is larger than model.width (" + std::to_string(model_width) + "): lower it, 64 is usual");
  const bool features = pairs == "random_features" || pairs == "fft" || pairs == "positive_features";
  need(!features || temperature >= 0.25, "random features cannot carry a temperature below 0.25 (row sums are then wrong by several times and turn negative): raise entanglement.temperature or set entanglement.pairs = \"exact\"");
  // By features whatever `pairs` says: HSIC is a covariance of them.
  need((loss != "hsic" && loss != "attribute_hsic") || temperature >= 0.25,
       "the loss " + loss + " is made of random features, which cannot carry a temperature below 0.25: raise entanglement.temperature to 0.25 or more");
  // Both views of a row stand in one group, one behind the other: distances between them would be those of positions that are not neighbours.
  need(pairs != "fft" || positives != "views",
       "entanglement.pairs = \"fft\" weighs pairs by their distance in a row, which positions of two views do not have: set entanglement.pairs = \"exact\" or choose other entanglement.positives than \"views\"");
  need(pairs != "fft" || scope == "sequence", "entanglement.pairs = \"fft\" weighs pairs by their distance in a row: set entanglement.scope = \"sequence\"");
  need(loss != "contraclm" || positives == "views", "the loss contraclm compares two dropout views: set entanglement.positives = \"views\"");
  need(loss != "attribute_hsic" || !attribute.empty(), "the loss attribute_hsic needs entanglement.attribute, a file of word<TAB>value lines");
  need(warmup + decay <= 1, "entanglement.warmup + entanglement.decay exceed 1");
  if (!problems.empty()) throw Error(ErrorKind::kUsage, "the entanglement layer cannot work:" + problems, "docs/methods/entanglement.md says what each value means");
}

}  // namespace entrain::entanglement
