#pragma once
// Models of a few thousand weights, one of each shape that takes another path through the code.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "entrain/model/transformer.h"

namespace entrain::model {

/// Tensors of a few thousand numbers gain nothing from a second thread, and waiting threads slow a busy machine.
inline const bool kOneThread = (at::set_num_threads(1), true);

/// The families, and llama with grouped queries and an untied head.
inline const std::vector<std::string> kShapes{"llama", "qwen3", "gpt2", "grouped"};

/// C = 32, L = 2, V = 100; weights large enough that outputs differ clearly from token to token.
inline Config tiny_config(const std::string& shape) {
  Config config;
  config.family = shape == "grouped" ? "llama" : shape;
  config.width = 32;
  config.layers = 2;
  config.heads = 4;
  config.mlp_width = 48;
  config.context = 16;
  config.vocab_size = 100;
  config.init_std = 0.2;
  if (shape == "grouped") {
    config.kv_heads = 2;
    config.head_width = 6;
    config.tied_head = false;
  }
  config.resolve();
  return config;
}

/// Deterministic ids in [0, end).
inline Tensor random_ids(at::IntArrayRef sizes, int64_t end = 100, uint64_t seed = 1) {
  return at::randint(0, end, sizes, at::make_generator<at::CPUGeneratorImpl>(seed), at::TensorOptions().dtype(at::kLong));
}

inline std::vector<float> floats(const Tensor& tensor) {
  const Tensor dense = tensor.detach().contiguous();
  return {dense.data_ptr<float>(), dense.data_ptr<float>() + dense.numel()};
}

}  // namespace entrain::model
