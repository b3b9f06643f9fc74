#pragma once
// Rows of a table far larger than the vocabulary, chosen by hashing the n-gram that ends at a token. Registered with the
// dispatcher as `entrain::ngram_keys` and `entrain::hashed_rows`; a plain form defines each, as in ops.h.

#include <array>
#include <tuple>

#include "entrain/base/tensor.h"

namespace entrain::ops {

/// Whether each n-gram multiplies the row it shares with others by a pattern of +1 and -1 of its own, so that what collides adds up
/// to noise of mean zero.
enum class Signs { kNone, kPerKey };

/// Hash of the n-gram that ends at each token.
/// ids: (B, N) int64; order: n in 1 .. 64; head >= 0: hash functions of equal order differ by it; segments: undefined, or (B, N) int32.
/// Returns (B, N) int64: in [1, 2^63), a function of ids t-n+1 .. t, order and head alone; 0 where the row has fewer than n-1 tokens
/// before t, or where they do not all lie in t's segment.
Tensor ngram_keys(const Tensor& ids, int64_t order, int64_t head, const Tensor& segments = {});

/// Mean over each bag of the rows its tokens' keys choose: out[b, j] = 1/s sum_i sign(key_i) * table[key_i mod R] over the s keys of
/// bag j, where a key of 0 adds nothing. table: (R, W); keys: (B, T*s) int64 from ngram_keys; bag = s >= 1. Returns (B, T, W).
/// The gradient of the table is sparse and coalesced: the rows that were read, ascending. Nothing of size R is made. The same bits
/// whatever the number of threads.
Tensor hashed_rows(const Tensor& table, const Tensor& keys, int64_t bag, Signs signs);

/// A step of row-wise Adagrad, which keeps one number a row (Gupta et al., arXiv 1801.10112, apply it to embeddings), in place:
/// sums[r] += mean(g_r^2); table[r] -= lr * g_r / (sqrt(sums[r]) + eps) for the rows of `indices`, which are distinct; no other is read.
/// table: (R, W); sums: (R); indices: (U) int64; gradients: (U, W).
void row_adagrad_(const Tensor& table, const Tensor& sums, const Tensor& indices, const Tensor& gradients, double lr, double eps);

/// Zeros, float32, that take memory from the system only where they are written: by huge pages up to a quarter of the machine's memory, by small ones beyond. Throws std::bad_alloc where the address space ends.
Tensor lazy_zeros(at::IntArrayRef sizes);

namespace reference {

Tensor ngram_keys(const Tensor& ids, int64_t order, int64_t head, const std::optional<Tensor>& segments);
Tensor hashed_rows_forward(const Tensor& table, const Tensor& keys, int64_t bag, bool signs);
/// grad: (B, T, W). Returns the rows read, (U) ascending, and their gradients, (U, W).
std::tuple<Tensor, Tensor> hashed_rows_backward(const Tensor& grad, const Tensor& keys, int64_t n_rows, int64_t bag, bool signs);
void row_adagrad_(const Tensor& table, const Tensor& sums, const Tensor& indices, const Tensor& gradients, double lr, double eps);

}  // namespace reference

}  // namespace entrain::ops
