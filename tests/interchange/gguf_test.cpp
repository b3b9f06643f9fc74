#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "entrain/interchange/gguf_reader.h"
#include "entrain/interchange/gguf_writer.h"
#include "entrain/interchange/quantization.h"

namespace entrain::interchange {
namespace {

std::string bytes_of(std::span<const float> values) { return {reinterpret_cast<const char*>(values.data()), values.size_bytes()}; }

std::vector<float> numbers_of(GgmlType type, const std::string& bytes, size_t n) {
  std::vector<float> out(n);
  dequantize(type, std::as_bytes(std::span(bytes)), out);
  return out;
}

GgufReader read(const std::string& bytes) { return GgufReader(std::as_bytes(std::span(bytes)), "some.gguf"); }

std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData) << error.what();
    EXPECT_NE(std::string(error.what()).find("some.gguf"), std::string::npos) << error.what();
    EXPECT_FALSE(error.hint().empty()) << error.what();
    return error.what();
  }
  return "no error";
}

void expect_error(const std::string& bytes, const std::string& part) {
  EXPECT_NE(error_of([&] { read(bytes); }).find(part), std::string::npos) << part << " in: " << error_of([&] { read(bytes); });
}

/// A header written by hand, where a test wants what the writer refuses.
struct Header {
  std::string bytes;
  template <typename T>
  Header& add(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Header& text(const std::string& text) {
    add(static_cast<uint64_t>(text.size()));
    bytes += text;
    return *this;
  }
  static Header begin(uint64_t n_tensors, uint64_t n_values, uint32_t version = 3) {
    Header header{"GGUF"};
    return header.add(version).add(n_tensors).add(n_values);
  }
};

std::string sample() {
  const text::TemporaryFolder folder;
  GgufWriter writer;
  writer.set_text("general.architecture", "llama");
  writer.set_integer("size", 7);
  writer.set_number("share", 0.25f);
  writer.set_flag("yes", true);
  writer.set_texts("words", std::vector<std::string>{"a", "", "Ġthe"});
  writer.set_integers("types", std::vector<int32_t>{1, -3, 4});
  const std::vector<float> matrix{1, 2, 3, 4, 5, 6}, vector{-1};
  writer.add_tensor("matrix", GgmlType::kF32, {2, 3}, [&] { return bytes_of(matrix); });
  writer.add_tensor("vector", GgmlType::kF32, {1}, [&] { return bytes_of(vector); });
  writer.write(folder / "sample.gguf");
  return read_file(folder / "sample.gguf");
}

TEST(Gguf, ReadsWhatItWrote) {
  const std::string bytes = sample();
  const GgufReader file = read(bytes);
  EXPECT_EQ(file.text("general.architecture"), "llama");
  EXPECT_EQ(file.integer("size"), 7);
  EXPECT_EQ(file.number("share"), 0.25);
  EXPECT_EQ(file.number("size"), 7.0);
  EXPECT_EQ(file.flag("yes"), true);
  EXPECT_EQ(file.texts("words"), (std::vector<std::string_view>{"a", "", "Ġthe"}));
  EXPECT_EQ(file.integers("types"), (std::vector<int64_t>{1, -3, 4}));
  EXPECT_FALSE(file.integer("absent").has_value());
  EXPECT_TRUE(file.texts("absent").empty());
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.tensors()[0].name, "matrix");
  EXPECT_EQ(file.tensors()[0].shape, (std::vector<int64_t>{2, 3}));
  std::vector<float> numbers(6);
  dequantize(file.tensors()[0].type, file.tensors()[0].data, numbers);
  EXPECT_EQ(numbers, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(file.tensors()[1].data.size(), 4u);
}

TEST(Gguf, ValuesOfAnotherKindAreRefused) {
  const std::string bytes = sample();
  const GgufReader file = read(bytes);
  EXPECT_NE(error_of([&] { file.integer("general.architecture"); }).find("no integer"), std::string::npos);
  EXPECT_NE(error_of([&] { file.text("size"); }).find("no text"), std::string::npos);
  EXPECT_NE(error_of([&] { file.flag("size"); }).find("neither"), std::string::npos);
  EXPECT_NE(error_of([&] { file.integer("words"); }).find("array"), std::string::npos);
  EXPECT_NE(error_of([&] { file.texts("size"); }).find("no array"), std::string::npos);
  EXPECT_NE(error_of([&] { file.integers("words"); }).find("no integers"), std::string::npos);
  EXPECT_NE(error_of([&] { file.texts("types"); }).find("no texts"), std::string::npos);
}

TEST(Gguf, EveryCutIsNoticed) {
  const std::string bytes = sample();
  const size_t data = bytes.size() - 28;  // the last tensor's padding may be missing: files exist without it
  for (size_t size = 0; size < data; ++size) {
    EXPECT_NE(error_of([&] { read(bytes.substr(0, size)); }), "no error") << size;
  }
}

TEST(Gguf, CraftedHeadersAreRefusedWithoutMemory) {
  expect_error("", "does not begin with GGUF");
  expect_error("GGML", "does not begin with GGUF");
  expect_error(Header::begin(0, 0, 1).bytes, "version 1");
  expect_error(Header::begin(0, 0, 0x03000000).bytes, "big-endian");
  const uint64_t huge = uint64_t{1} << 62;
  expect_error(Header::begin(huge, huge).bytes, "ends inside its header");
  expect_error(Header::begin(0, 1).add(huge).bytes, "ends inside its header");
  expect_error(Header::begin(0, 1).text("key").add(uint32_t{9}).add(uint32_t{4}).add(huge - 1).bytes, "ends inside its header");
  expect_error(Header::begin(0, 1).text("key").add(uint32_t{9}).add(uint32_t{4}).add(~uint64_t{0}).bytes, "longer than the file");
  expect_error(Header::begin(0, 1).text("key").add(uint32_t{9}).add(uint32_t{8}).add(huge).bytes, "ends inside its header");
  expect_error(Header::begin(0, 1).text("key").add(uint32_t{9}).add(uint32_t{9}).add(uint64_t{1}).bytes, "array of arrays");
  expect_error(Header::begin(0, 1).text("key").add(uint32_t{13}).bytes, "unknown type 13");
  expect_error(Header::begin(0, 2).text("key").add(uint32_t{7}).add(uint8_t{1}).text("key").add(uint32_t{7}).add(uint8_t{1}).bytes, "key key twice");
  expect_error(Header::begin(0, 1).text("general.alignment").add(uint32_t{4}).add(uint32_t{0}).bytes, "alignment");
  const auto tensor = [](uint32_t n, uint64_t size, uint32_t type, uint64_t offset) {
    Header header = Header::begin(1, 0).text("t").add(n);
    for (uint32_t i = 0; i < n && i < 8; ++i) header.add(size);
    return header.add(type).add(offset).bytes + std::string(64, '\0');
  };
  expect_error(tensor(5, 1, 0, 0), "5 dimensions");
  expect_error(tensor(4, uint64_t{1} << 20, 0, 0), "impossible shape");
  expect_error(tensor(1, 0, 0, 0), "impossible shape");
  expect_error(tensor(1, uint64_t{1} << 40, 0, 0), "outside the file");
  expect_error(tensor(1, 4, 0, uint64_t{1} << 60), "outside the file");
  expect_error(tensor(1, 4, 0, 3), "not aligned");
  expect_error(tensor(1, 4, 12, 0), "number 12");
  expect_error(tensor(1, 31, 8, 0), "no whole number of blocks");
  const auto pair = [](uint64_t second) {  // 16 numbers, and 8 that begin at `second`
    Header header = Header::begin(2, 0).text("first").add(uint32_t{1}).add(uint64_t{16}).add(uint32_t{0}).add(uint64_t{0});
    return header.text("second").add(uint32_t{1}).add(uint64_t{8}).add(uint32_t{0}).add(second).bytes + std::string(192, '\0');
  };
  EXPECT_EQ(read(pair(64)).tensors().size(), 2u);
  expect_error(pair(32), "second overlaps first");
  expect_error(pair(0), " overlaps ");
}

TEST(Quantization, FloatsRoundToTheNearest) {
  const std::vector<float> values{0.0f, -0.0f, 1.0f, 1.0f / 3, -65504.0f, 5.9604645e-8f, 1e-9f, std::numeric_limits<float>::infinity()};
  const std::vector<float> half = numbers_of(GgmlType::kF16, quantize(GgmlType::kF16, values), values.size());
  const std::vector<float> brain = numbers_of(GgmlType::kBF16, quantize(GgmlType::kBF16, values), values.size());
  EXPECT_EQ(half, (std::vector<float>{0.0f, -0.0f, 1.0f, 0.333251953125f, -65504.0f, 5.9604645e-8f, 0.0f, std::numeric_limits<float>::infinity()}));
  EXPECT_EQ(brain[3], 0.333984375f);
  EXPECT_EQ(brain[7], values[7]);
  const std::vector<float> none{std::nanf("")};
  for (const GgmlType type : {GgmlType::kF16, GgmlType::kBF16}) EXPECT_TRUE(std::isnan(numbers_of(type, quantize(type, none), 1)[0]));
  EXPECT_THROW(quantize(GgmlType::kF16, std::vector<float>{70000.0f}), Error);
}

TEST(Quantization, BlocksAreScaledIntegers) {
  std::vector<float> values(64, 0.0f);
  for (size_t i = 32; i < 64; ++i) values[i] = static_cast<float>(i) - 40.0f;  // -8 to 23: d = 23 / 127
  const std::string bytes = quantize(GgmlType::kQ8_0, values);
  ASSERT_EQ(bytes.size(), 68u);
  const std::vector<float> back = numbers_of(GgmlType::kQ8_0, bytes, 64);
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(back[i], 0.0f);
  for (size_t i = 32; i < 64; ++i) EXPECT_NEAR(back[i], values[i], 23.0f / 127 / 2 + 0.02f);  // half a step, and the scale's own rounding
  // d = 0.5 and m = 2 as float16; numbers 0 to 15 in the low halves, 16 to 31 in the high ones.
  std::string four("\x00\x38", 2);
  for (int i = 0; i < 16; ++i) four.push_back(static_cast<char>(i | (15 - i) << 4));
  std::vector<float> out = numbers_of(GgmlType::kQ4_0, four, 32);
  EXPECT_EQ(out[0], -4.0f);
  EXPECT_EQ(out[15], 3.5f);
  EXPECT_EQ(out[16], 3.5f);
  four.insert(2, std::string("\x00\x40", 2));
  out = numbers_of(GgmlType::kQ4_1, four, 32);
  EXPECT_EQ(out[0], 2.0f);
  EXPECT_EQ(out[15], 9.5f);
  EXPECT_EQ(out[31], 2.0f);
}

}  // namespace
}  // namespace entrain::interchange
