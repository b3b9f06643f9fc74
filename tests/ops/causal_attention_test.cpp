#include "entrain/ops/ops.h"
#include "entrain/ops/reference.h"
#include "gradients.h"

namespace entrain::ops {
namespace {

using namespace testing;

Function attention(Tensor segments = {}) {
  return [segments](const auto& in) { return causal_attention(in[0], in[1], in[2], segments); };
}

struct Shape {
  int64_t n_queries, n_keys, heads, kv_heads, width;
};

std::vector<Tensor> random_inputs(const Shape& s) {
  return {normal({2, s.n_queries, s.heads, s.width}, 2), normal({2, s.n_keys, s.kv_heads, s.width}, 1, 2),
          normal({2, s.n_keys, s.kv_heads, s.width}, 1, 3)};
}

Tensor packed_documents(int64_t n) { return at::arange(n).div(5, "floor").repeat({2, 1}).to(at::kInt); }
Tensor interleaved_documents(int64_t n) { return integers(3, {2, n}).to(at::kInt); }

TEST(CausalAttention, FloatMatchesDoubleOverOddShapes) {
  for (const int64_t positions : {1, 2, 17, 65, 129}) {
    for (const int64_t cached : {0, 5}) {
      for (const auto& [heads, kv_heads, width] : {std::array<int64_t, 3>{4, 4, 32}, {6, 2, 7}, {4, 1, 64}, {1, 1, 1}, {2, 2, 100}}) {
        const int64_t n_keys = positions + cached;
        for (const Tensor& segments : {Tensor(), packed_documents(n_keys), interleaved_documents(n_keys)}) {
          SCOPED_TRACE(::testing::Message() << "T " << positions << " + " << cached << " H " << heads << "/" << kv_heads << " D " << width);
          // Scores of size 2 sqrt(D) round to 1e-6 and go through an exponential.
          expect_float_matches_double(attention(segments), random_inputs({positions, n_keys, heads, kv_heads, width}), 5e-6);
        }
      }
    }
  }
}

// 2,048 keys: several blocks of queries of fewer rows each.
TEST(CausalAttention, LongRowsMatchTheDefinition) {
  const Shape shape{300, 2048, 1, 1, 16};
  for (const Tensor& segments : {Tensor(), packed_documents(2048)}) {
    expect_float_matches_double(attention(segments), random_inputs(shape), 5e-6);
  }
}

TEST(CausalAttention, GradientsMatchDifferences) {
  expect_gradients_match_differences(attention(), random_inputs({3, 4, 2, 1, 2}));
  const Tensor segments = at::tensor({0, 0, 1, 0, 7, 7, 7, 3}, at::kInt).view({2, 4});
  expect_gradients_match_differences(attention(segments), random_inputs({4, 4, 2, 2, 3}));
}

TEST(CausalAttention, MatchesAten) {
  const auto in = random_inputs({33, 33, 4, 4, 16});
  const Tensor expected =
      at::scaled_dot_product_attention(in[0].transpose(1, 2), in[1].transpose(1, 2), in[2].transpose(1, 2), {}, 0, /*is_causal=*/true);
  EXPECT_TRUE(at::allclose(attention()(in), expected.transpose(1, 2), 1e-5, 1e-6));
}

TEST(CausalAttention, ReadsAPackedProjectionInPlace) {
  const Tensor packed = normal({2, 37, 3, 4, 16});
  const std::vector<Tensor> views = packed.unbind(2);
  EXPECT_TRUE(at::equal(attention()(views), attention()({views[0].contiguous(), views[1].contiguous(), views[2].contiguous()})));
  const Function from_packed = [](const auto& in) {
    const auto parts = in[0].unbind(2);
    return causal_attention(parts[0], parts[1], parts[2]);
  };
  expect_float_matches_double(from_packed, {packed}, 5e-6);
}

TEST(CausalAttention, CachedKeysContinueASequence) {
  const auto in = random_inputs({40, 40, 4, 2, 16});
  const Tensor whole = attention()(in), tail = attention()({in[0].slice(1, 39), in[1], in[2]});
  EXPECT_TRUE(at::allclose(whole.slice(1, 39), tail, 1e-6, 1e-6));
}

TEST(CausalAttention, SeesNeitherTheFutureNorOtherSegments) {
  const auto in = random_inputs({64, 64, 2, 2, 16});
  auto changed = in;
  for (size_t i = 1; i < 3; ++i) {
    changed[i] = in[i].clone();
    changed[i].slice(1, 40).add_(100);
  }
  EXPECT_TRUE(at::equal(attention()(in).slice(1, 0, 40), attention()(changed).slice(1, 0, 40)));
  const Tensor segments = at::cat({at::zeros({2, 40}), at::ones({2, 24})}, 1).to(at::kInt);
  const Tensor alone = attention()({in[0].slice(1, 40), in[1].slice(1, 40), in[2].slice(1, 40)});
  EXPECT_TRUE(at::allclose(attention(segments)(in).slice(1, 40), alone, 1e-6, 1e-6));
}

TEST(CausalAttention, RepeatsWithSharedKeys) {
  expect_repeats(attention(), random_inputs({129, 129, 6, 2, 32}));
  expect_repeats(attention(interleaved_documents(129)), random_inputs({129, 129, 6, 2, 32}));
}

TEST(CausalAttention, ExtremeScoresAndNonFiniteInputs) {
  auto in = random_inputs({20, 20, 2, 2, 16});
  in[0] = in[0] * 1e4;
  for (const Tensor& result : run_both_ways(attention(), in)) EXPECT_TRUE(result.isfinite().all().item<bool>());
  in = random_inputs({20, 20, 2, 2, 16});
  in[1][0][7][1][3] = NAN;
  const Tensor out = attention()(in);
  EXPECT_TRUE(out[0].slice(0, 0, 7).isfinite().all().item<bool>());
  EXPECT_TRUE(out[0].slice(0, 7).select(1, 1).isnan().all().item<bool>());
  EXPECT_TRUE(out[1].isfinite().all().item<bool>());
}

TEST(CausalAttention, RejectsWrongArguments) {
  const auto in = random_inputs({4, 6, 4, 2, 8});
  EXPECT_THROW(causal_attention(in[1], in[0], in[0]), c10::Error);
  EXPECT_THROW(causal_attention(normal({2, 4, 3, 8}), in[1], in[2]), c10::Error);
  EXPECT_THROW(causal_attention(in[0], in[1], in[2], at::zeros({2, 4}, at::kInt)), c10::Error);
}

}  // namespace
}  // namespace entrain::ops
