#include "entrain/train/guard.h"

#include <cmath>

#include "../model/tiny_model.h"
#include "entrain/base/error.h"

namespace entrain::train {
namespace {

using model::Transformer;

struct Case {
  Transformer model{model::tiny_config("llama"), 1};
  text::Batch batch{.rows = 1, .positions = 2, .inputs = {1, 2}, .targets = {2, 3}, .segments = {0, 0}};

  explicit Case(double scale) {
    for (const Tensor& stored : model.parameters().stored()) const_cast<Tensor&>(stored).mutable_grad() = at::full(stored.sizes(), scale);
  }
  double norm() const {
    double squares = 0;
    for (const Tensor& stored : model.parameters().stored()) squares += stored.grad().square().sum(at::kDouble).item<double>();
    return std::sqrt(squares);
  }
};

TEST(Guard, ReturnsTheNormAndClips) {
  Case c(0.01);
  const double norm = c.norm();
  EXPECT_NEAR(guard_and_clip(c.model.parameters(), 1.0, 0, 1, 0, c.batch), norm, 1e-5 * norm);
  EXPECT_DOUBLE_EQ(c.norm(), norm) << "no limit, no change";
  guard_and_clip(c.model.parameters(), 1.0, norm * 1.001, 1, 0, c.batch);
  EXPECT_DOUBLE_EQ(c.norm(), norm) << "below the limit, no change";
  EXPECT_NEAR(guard_and_clip(c.model.parameters(), 1.0, norm / 4, 1, 0, c.batch), norm, 1e-5 * norm) << "the norm before clipping";
  EXPECT_NEAR(c.norm(), norm / 4, 1e-4 * norm);
}

TEST(Guard, NamesWhatIsNotFinite) {
  const auto error_of = [](Case& c, double loss) -> std::string {
    const std::vector<float> before = model::floats(c.model.head());
    try {
      guard_and_clip(c.model.parameters(), loss, 1.0, 42, 1234, c.batch);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNumeric);
      EXPECT_EQ(model::floats(c.model.head()), before);
      EXPECT_NE(std::string(error.what()).find("step 42"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("cursor 1234"), std::string::npos) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return "";
  };
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    Case in_loss(0.01);
    EXPECT_NE(error_of(in_loss, bad).find("the loss"), std::string::npos);
    for (const model::Weight& weight : in_loss.model.parameters().weights()) {
      Case in_gradient(0.01);
      in_gradient.model.parameters().gradient(weight).view(-1)[-1].fill_(bad);
      EXPECT_NE(error_of(in_gradient, 1.0).find("the gradient of " + weight.name + " "), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace entrain::train
