#include <vector>

#include "entrain/interchange/gguf_config.h"
#include "entrain/interchange/gguf_tokenizer.h"
#include "entrain/interchange/quantization.h"
#include "model_bytes.h"
#include "reading.h"

// A tensor without dimensions is described in 29 bytes and has four of data; its name stands in three places, each up to twice as large as what it holds.
// Q4_0 makes 128 bytes out of 18.
constexpr entrain::fuzz::Bound kHeaderBound{.per_byte = 24, .fixed = 4096};
// An added token takes 11 bytes: length, two characters, type. It becomes an object of seven keys in tokenizer.json, 180 characters, and a tree of 800 bytes.
constexpr entrain::fuzz::Bound kTokenizerBound{.per_byte = 160, .fixed = 16384};

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace entrain;
  fuzz::reading(kHeaderBound, size, [&] {
    const interchange::GgufReader file(fuzz::bytes_of(data, size), "input");
    for (const auto& tensor : file.tensors()) {
      std::vector<float> numbers(static_cast<size_t>(tensor.count()));
      interchange::dequantize(tensor.type, tensor.data, numbers);
    }
    // 18 bytes of Q4_0 are 32 numbers of 4.
    if (fuzz::model_bytes(interchange::gguf_config(file)) > 128.0 / 18 * static_cast<double>(size)) __builtin_trap();
  });
  return fuzz::reading(kTokenizerBound, size, [&] {
    const interchange::GgufReader file(fuzz::bytes_of(data, size), "input");
    const text::Tokenizer tokenizer = interchange::gguf_tokenizer(file);
    interchange::gguf_settings(file, tokenizer);
    tokenizer.encode("Hello 123 world\xff\n");
  });
}
