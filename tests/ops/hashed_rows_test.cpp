#include "entrain/ops/hashed_rows.h"

#include <map>
#include <set>

#include "gradients.h"

namespace entrain::ops {
namespace {

using namespace testing;

std::vector<int64_t> values_of(const Tensor& tensor) {
  const Tensor dense = tensor.contiguous();
  return {dense.data_ptr<int64_t>(), dense.data_ptr<int64_t>() + dense.numel()};
}

/// Output and the table's gradient made dense, for a fixed upstream gradient.
std::pair<Tensor, Tensor> both_ways(const Tensor& table, const Tensor& keys, int64_t bag, Signs signs) {
  const Tensor leaf = table.detach().clone().requires_grad_();
  const Tensor out = hashed_rows(leaf, keys, bag, signs);
  out.backward(normal(out.sizes(), 1, 99).to(out.scalar_type()));
  EXPECT_TRUE(leaf.grad().is_sparse());
  return {out.detach(), leaf.grad().to_dense()};
}

TEST(NgramKeys, TheFastFormIsThePlainOne) {
  for (const int64_t n : {1, 2, 3, 40}) {
    const Tensor ids = integers(int64_t{1} << 24, {3, n}), segments = at::arange(n).div(7, "floor").repeat({3, 1}).to(at::kInt);
    for (const int64_t order : {1, 2, 3, 5}) {
      for (const int64_t head : {0, 1, 7}) {
        EXPECT_TRUE(at::equal(ngram_keys(ids, order, head), reference::ngram_keys(ids, order, head, std::nullopt))) << n << " " << order;
        EXPECT_TRUE(at::equal(ngram_keys(ids, order, head, segments), reference::ngram_keys(ids, order, head, segments))) << n << " " << order;
        EXPECT_TRUE(at::equal(ngram_keys(ids.t().contiguous().t(), order, head), ngram_keys(ids, order, head))) << "strides";
      }
    }
  }
}

TEST(NgramKeys, DependOnTheGramOrderAndHeadAlone) {
  const Tensor keys = ngram_keys(ids_of({5, 6, 7, 9, 5, 6, 7}).unsqueeze(0), 2, 0);
  const std::vector<int64_t> k = values_of(keys);
  EXPECT_EQ(k[0], 0) << "nothing lies before the first token";
  EXPECT_EQ(k[1], k[5]);
  EXPECT_EQ(k[2], k[6]);
  std::set<int64_t> distinct(k.begin() + 1, k.begin() + 5);
  for (const auto& [order, head] : std::vector<std::pair<int64_t, int64_t>>{{2, 1}, {1, 0}, {1, 1}}) distinct.insert(ngram_keys(ids_of({5, 6}).unsqueeze(0), order, head)[0][1].item<int64_t>());
  EXPECT_EQ(distinct.size(), 7u);
  EXPECT_NE(ngram_keys(ids_of({6, 5}).unsqueeze(0), 2, 0)[0][1].item<int64_t>(), k[1]) << "6 5 is another gram than 5 6";
  EXPECT_EQ(values_of(ngram_keys(ids_of({5, 6, 7}).unsqueeze(0), 3, 0)).at(1), 0) << "too few tokens for a trigram";
}

TEST(NgramKeys, StayInsideASegment) {
  const Tensor ids = ids_of({1, 2, 3, 4, 5, 6}).unsqueeze(0), segments = at::tensor(std::vector<int32_t>{0, 0, 0, 1, 1, 1}).unsqueeze(0);
  const auto free = values_of(ngram_keys(ids, 3, 0)), kept = values_of(ngram_keys(ids, 3, 0, segments));
  for (const size_t t : {0, 1, 3, 4}) EXPECT_EQ(kept[t], 0) << t;
  for (const size_t t : {2, 5}) EXPECT_EQ(kept[t], free[t]) << t;
  EXPECT_NE(free[3], 0);
}

// 40,000 distinct grams over 64 rows: 625 a row, standard deviation 25; and as many +1 as -1 in each channel, deviation 100 of 20,000.
TEST(NgramKeys, SpreadEvenly) {
  const Tensor ids = at::stack({at::arange(40000), at::full({40000}, 3, at::kLong)}, 1);
  const Tensor keys = ngram_keys(ids, 2, 0).narrow(1, 1, 1);
  std::map<int64_t, int> counts;
  for (const int64_t row : values_of(keys.remainder(64))) ++counts[row];
  EXPECT_EQ(counts.size(), 64u);
  for (const auto& [row, count] : counts) EXPECT_NEAR(count, 625, 5 * 25) << row;
  const Tensor signs = hashed_rows(at::ones({1, 130}), keys, 1, Signs::kPerKey).view({40000, 130});
  EXPECT_TRUE(at::equal(signs.abs(), at::ones({40000, 130})));
  EXPECT_LT(signs.mean(0).abs().max().item<double>(), 5.0 / 200) << "five deviations of a mean of 40,000 signs";
  EXPECT_LT((signs.select(1, 0) * signs.select(1, 64)).mean().abs().item<double>(), 5.0 / 200) << "channels are independent";
}

// Sums of at most 6 rows, or of 120 uses of one row in the gradient, each addition rounded once to 6e-8 of sums of that many terms.
TEST(HashedRows, TheFastFormIsThePlainOneOverOddShapes) {
  for (const int64_t width : {1, 7, 31, 32, 64, 100, 129}) {
    for (const int64_t bag : {1, 2, 6}) {
      for (const Signs signs : {Signs::kNone, Signs::kPerKey}) {
        const Tensor keys = ngram_keys(integers(5, {4, 5 * bag}), 2, 1), table = normal({13, width});
        const auto [out, grad] = both_ways(table, keys, bag, signs);
        const auto [wide_out, wide_grad] = both_ways(table.to(at::kDouble), keys, bag, signs);
        ASSERT_EQ(out.scalar_type(), at::kFloat);
        EXPECT_LT((out - wide_out).abs().max().item<double>(), 1e-6) << width << " bag " << bag;
        EXPECT_LT((grad - wide_grad).abs().max().item<double>(), 1e-5) << width << " bag " << bag;
        const Tensor plain = reference::hashed_rows_forward(table, keys, bag, signs == Signs::kPerKey);
        EXPECT_LT((out - plain).abs().max().item<double>(), 1e-6);
      }
    }
  }
}

// The definition spelled out for one gram: the row of its key, under its signs, shared by the bag.
TEST(HashedRows, IsTheMeanOfTheBagsRows) {
  const Tensor table = normal({11, 3}), keys = ids_of({4, 0, 15, 4}).unsqueeze(0);
  const Tensor out = hashed_rows(table, keys, 2, Signs::kNone);
  EXPECT_TRUE(at::allclose(out[0][0], table[4] / 2)) << "the key 0 adds nothing";
  EXPECT_TRUE(at::allclose(out[0][1], table[4])) << "keys 15 and 4 share row 4 of 11";
  const Tensor leaf = table.clone().requires_grad_();
  hashed_rows(leaf, keys, 2, Signs::kNone).backward(at::ones({1, 2, 3}));
  EXPECT_TRUE(leaf.grad().is_coalesced() || leaf.grad()._indices().size(1) == 1);
  EXPECT_EQ(values_of(leaf.grad()._indices()), std::vector<int64_t>{4});
  EXPECT_TRUE(at::allclose(leaf.grad()._values(), at::full({1, 3}, 1.5)));
}

// Step 1e-6 in float64 on a function that is linear in the table: rounding alone, 1e-10.
TEST(HashedRows, GradientsMatchDifferences) {
  const Tensor keys = ngram_keys(integers(3, {2, 6}), 2, 0);
  for (const int64_t bag : {1, 3}) {
    for (const Signs signs : {Signs::kNone, Signs::kPerKey}) {
      Tensor table = normal({5, 4}).to(at::kDouble);
      const Tensor grad = both_ways(table, keys, bag, signs).second, upstream = normal({2, 6 / bag, 4}, 1, 99).to(at::kDouble);
      const auto value = [&] { return (hashed_rows(table, keys, bag, signs) * upstream).sum().item<double>(); };
      for (int64_t i = 0; i < 5; ++i) {
        for (int64_t j = 0; j < 4; ++j) {
          const Tensor cell = table[i][j];
          cell.add_(1e-6);
          const double above = value();
          cell.sub_(2e-6);
          const double below = value();
          cell.add_(1e-6);
          EXPECT_NEAR(grad[i][j].item<double>(), (above - below) / 2e-6, 1e-7);
        }
      }
    }
  }
}

TEST(HashedRows, TheGradientIsCompactAndAscending) {
  const Tensor keys = ngram_keys(integers(50, {4, 64}), 3, 0), table = lazy_zeros({int64_t{1} << 22, 8}).requires_grad_();
  hashed_rows(table, keys, 1, Signs::kPerKey).backward(at::ones({4, 64, 8}));
  const std::vector<int64_t> rows = values_of(table.grad()._indices());
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
  EXPECT_EQ(std::set<int64_t>(rows.begin(), rows.end()).size(), rows.size());
  EXPECT_LE(rows.size(), 4u * 62);
  EXPECT_EQ(table.grad()._values().sizes(), (std::vector<int64_t>{static_cast<int64_t>(rows.size()), 8}));
}

TEST(HashedRows, TheSameBitsAtAnyNumberOfThreads) {
  const Tensor keys = ngram_keys(integers(9, {16, 512}), 2, 0), table = normal({37, 100});
  const int n_threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = both_ways(table, keys, 4, Signs::kPerKey);
  for (const int n : {2, 3, 4}) {
    at::set_num_threads(n);
    const auto several = both_ways(table, keys, 4, Signs::kPerKey);
    EXPECT_TRUE(at::equal(one.first, several.first));
    EXPECT_TRUE(at::equal(one.second, several.second));
  }
  at::set_num_threads(n_threads);
}

TEST(HashedRows, RejectsWrongArguments) {
  const Tensor table = normal({5, 4}), ids = integers(5, {2, 6}), keys = ngram_keys(ids, 2, 0);
  EXPECT_THROW(hashed_rows(table, keys, 4, Signs::kNone), c10::Error);
  EXPECT_THROW(hashed_rows(table, keys, 0, Signs::kNone), c10::Error);
  EXPECT_THROW(hashed_rows(at::zeros({0, 4}), keys, 1, Signs::kNone), c10::Error);
  EXPECT_THROW(hashed_rows(table, keys.to(at::kInt), 1, Signs::kNone), c10::Error);
  EXPECT_THROW(ngram_keys(ids, 0, 0), c10::Error);
  EXPECT_THROW(ngram_keys(ids, 2, -1), c10::Error);
  EXPECT_THROW(ngram_keys(ids, 2, 0, at::zeros({2, 5}, at::kInt)), c10::Error);
}

// Five steps on overlapping rows; rows and sums stay below 4, so each step rounds to a few times 2.4e-7.
TEST(RowAdagrad, TheFastFormIsThePlainOne) {
  for (const int64_t width : {1, 7, 33, 128}) {
    Tensor table = normal({50, width}), sums = at::zeros({50});
    Tensor wide = table.to(at::kDouble), wide_sums = at::zeros({50}, at::kDouble);
    const Tensor before = table.clone();
    for (uint64_t step = 1; step <= 5; ++step) {
      const Tensor indices = at::randperm(40, at::make_generator<at::CPUGeneratorImpl>(step), at::TensorOptions().dtype(at::kLong)).narrow(0, 0, 20), g = normal({20, width}, 0.5, step);
      row_adagrad_(table, sums, indices, g, 0.1, 1e-10);
      row_adagrad_(wide, wide_sums, indices, g.to(at::kDouble), 0.1, 1e-10);
    }
    EXPECT_LT((table - wide).abs().max().item<double>(), 3e-6) << width;
    EXPECT_LT((sums - wide_sums).abs().max().item<double>(), 3e-6) << width;
    EXPECT_GT((table - before).abs().max().item<double>(), 0.05);
    EXPECT_TRUE(at::equal(table.narrow(0, 40, 10), before.narrow(0, 40, 10))) << "rows without a gradient stay";
  }
}

TEST(RowAdagrad, RejectsWrongArguments) {
  const Tensor table = normal({5, 4}), sums = at::zeros({5}), g = normal({2, 4});
  EXPECT_THROW(row_adagrad_(table, sums, ids_of({0, 5}), g, 0.1, 0), c10::Error);
  EXPECT_THROW(row_adagrad_(table, sums, ids_of({-1, 2}), g, 0.1, 0), c10::Error);
  EXPECT_THROW(row_adagrad_(table, at::zeros({4}), ids_of({0, 1}), g, 0.1, 0), c10::Error);
  EXPECT_THROW(row_adagrad_(table, sums, ids_of({0, 1, 2}), g, 0.1, 0), c10::Error);
  EXPECT_TRUE(at::equal(sums, at::zeros({5})));
}

TEST(LazyZeros, AreZerosThatCanBeWritten) {
  const Tensor zeros = lazy_zeros({int64_t{1} << 34, 4});  // 256 GiB of address space
  EXPECT_EQ(zeros[(int64_t{1} << 34) - 1][3].item<float>(), 0);
  zeros[12345678901][2].fill_(3);
  EXPECT_EQ(zeros[12345678901].sum().item<float>(), 3);
  EXPECT_EQ(lazy_zeros({0, 3}).sizes(), (std::vector<int64_t>{0, 3}));
  EXPECT_THROW(lazy_zeros({int64_t{1} << 50, 4}), std::bad_alloc);
}

}  // namespace
}  // namespace entrain::ops
