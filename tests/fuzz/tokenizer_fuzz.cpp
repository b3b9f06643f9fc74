#include <string>

#include "entrain/text/pretokenizer.h"
#include "entrain/text/tokenizer.h"
#include "reading.h"

// "a a", is a merge in six bytes. Where it is taken apart and put together again, it is there as the document's text, two strings, a tree of two strings
// in an array, text anew and two slots in tables, each of them up to twice as large as what it holds.
constexpr entrain::fuzz::Bound kBound{.per_byte = 80, .fixed = 16384};

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace entrain;
  return fuzz::reading(kBound, size, [&] {
    const text::Tokenizer tokenizer = text::Tokenizer::parse(std::string(reinterpret_cast<const char*>(data), size), "input");
    // A pattern of the input's own may take any time: that is the pattern's doing.
    for (const char* name : {"gpt2", "llama3", "qwen2", "smollm"}) {
      if (tokenizer.pattern() != text::named_pattern(name)) continue;
      tokenizer.decode(tokenizer.encode("Hello 123 world\xff\n"));
      const text::Tokenizer again = text::Tokenizer::from_spelling(tokenizer.spelling());
      if (again.vocab_size() != tokenizer.vocab_size()) __builtin_trap();
    }
  });
}
