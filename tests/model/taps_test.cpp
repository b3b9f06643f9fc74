#include "entrain/model/taps.h"

#include <torch/csrc/autograd/autograd.h>

#include "entrain/base/error.h"
#include "tiny_model.h"

namespace entrain::model {
namespace {

/// Hidden states, then the gradients of the logits' sum of squares.
std::vector<Tensor> forward_and_gradients(const Transformer& model, const Tensor& ids, const Taps* taps) {
  std::vector<Tensor> results{model.hidden(ids, {.bag = 2, .segments = {}, .taps = taps})};
  const auto gradients = torch::autograd::grad({model.logits(results[0]).square().sum()}, model.parameters().stored());
  results.insert(results.end(), gradients.begin(), gradients.end());
  return results;
}

// Every name is a point of the forward pass, met once, in the order of the list, with the shape the header promises.
TEST(Taps, PointsAreTheForwardPass) {
  for (const std::string& shape : kShapes) {
    const Transformer model(tiny_config(shape), 1);
    Taps taps(2);
    std::vector<std::string> met;
    const std::vector<std::string> points = Taps::points(2);
    EXPECT_EQ(points.size(), 2u + 2 * 11);
    for (const std::string& point : points) {
      taps.add(point, [&met, point, &model](const Tensor& x) {
        met.push_back(point);
        const Config& c = model.config();
        const bool query = point.ends_with("hook_q") || point.ends_with("hook_z"), key = point.ends_with("hook_k") || point.ends_with("hook_v");
        const std::vector<int64_t> by_head{2, 4, query ? c.heads : c.kv_heads, c.head_width}, flat{2, 4, 32};
        EXPECT_EQ(x.sizes(), query || key ? by_head : flat) << point;
        return x;
      });
    }
    EXPECT_FALSE(taps.empty());
    model.hidden(random_ids({2, 8}), {.bag = 2, .segments = {}, .taps = &taps});
    EXPECT_EQ(met, points) << shape;
  }
}

TEST(Taps, AnIdentityLeavesTheBits) {
  for (const std::string& shape : kShapes) {
    const Transformer model(tiny_config(shape), 1);
    const Tensor ids = random_ids({2, 8});
    const Taps none(2);
    Taps all(2);
    for (const std::string& point : Taps::points(2)) all.add(point, [](const Tensor& x) { return x; });
    const auto plain = forward_and_gradients(model, ids, nullptr);
    for (const Taps* taps : std::vector<const Taps*>{&none, &all}) {
      const auto tapped = forward_and_gradients(model, ids, taps);
      for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(at::equal(plain[i], tapped[i])) << shape << " " << i;
    }
  }
}

TEST(Taps, AReplacementAtAnyPointChangesTheOutput) {
  for (const std::string& shape : kShapes) {
    const Transformer model(tiny_config(shape), 1);
    const Tensor ids = random_ids({2, 8}), plain = model.hidden(ids);
    for (const std::string& point : Taps::points(2)) {
      Taps taps(2);
      taps.add(point, [](const Tensor& x) { return x + x.flip(-1) * 0.5; });
      EXPECT_GT((model.hidden(ids, {.segments = {}, .taps = &taps}) - plain).abs().max().item<double>(), 1e-4) << shape << " " << point;
    }
    Taps last(2);
    last.add("ln_final.hook_normalized", [](const Tensor& x) { return at::zeros_like(x); });
    EXPECT_EQ(model.hidden(ids, {.segments = {}, .taps = &last}).abs().max().item<double>(), 0.0);
  }
}

TEST(Taps, RunInTheOrderTheyWereAdded) {
  Taps taps(1);
  taps.add("hook_embed", [](const Tensor& x) { return x + 1; });
  taps.add("hook_embed", [](const Tensor& x) { return x * 10; });
  EXPECT_EQ(taps.apply("hook_embed", at::zeros({1})).item<double>(), 10.0);
  EXPECT_EQ(taps.apply("blocks.0.hook_resid_mid", at::zeros({1})).item<double>(), 0.0);
}

TEST(Taps, AnUnknownPointNamesTheNearest) {
  Taps taps(2);
  const auto hint = [&](const std::string& point) -> std::string {
    try {
      taps.add(point, [](const Tensor& x) { return x; });
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      EXPECT_NE(std::string(error.what()).find(point), std::string::npos);
      return error.hint();
    }
    ADD_FAILURE() << point << " was taken";
    return "";
  };
  EXPECT_NE(hint("blocks.1.resid_mid").find("blocks.1.hook_resid_mid"), std::string::npos);
  EXPECT_NE(hint("blocks.2.hook_resid_mid").find("hook_resid_mid"), std::string::npos) << "only blocks 0 and 1 exist";
  EXPECT_TRUE(taps.empty());
}

}  // namespace
}  // namespace entrain::model
