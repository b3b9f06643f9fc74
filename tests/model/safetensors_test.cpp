#include "entrain/model/safetensors.h"

#include <cstring>

#include "../base/full_disk.h"
#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "tiny_model.h"

namespace entrain::model {
namespace {

using text::TemporaryFolder;
using text::write_plain;

std::string file_of(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + header + data;
}

// What the format's own Python package writes for these three tensors, byte for byte.
TEST(Safetensors, ReadsAFileOfTheReferenceWriter) {
  const TemporaryFolder folder;
  const std::string header = R"({"__metadata__":{"format":"pt"},"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},"b.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[16,32]},"h":{"dtype":"BF16","shape":[1],"data_offsets":[32,34]}}  )";
  const unsigned char data[34] = {7, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f, 0, 0, 0x50, 0x40, 0xc0, 0x3f};
  write_plain(folder / "f", file_of(header, std::string(reinterpret_cast<const char*>(data), sizeof data)));
  const NamedTensors tensors = read_safetensors(folder / "f");
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].first, "a");
  EXPECT_TRUE(at::equal(tensors[0].second, at::tensor(std::vector<int64_t>{7, -1})));
  EXPECT_EQ(tensors[1].first, "b.weight");
  EXPECT_TRUE(at::equal(tensors[1].second, at::tensor(std::vector<float>{1, -2, 0.5, 3.25}).view({2, 2})));
  EXPECT_EQ(tensors[2].second.scalar_type(), at::kBFloat16);
  EXPECT_EQ(tensors[2].second.to(at::kFloat).item<double>(), 1.5);
}

TEST(Safetensors, KeepsEveryBit) {
  const TemporaryFolder folder;
  const Tensor base = at::randn({6, 5}, at::make_generator<at::CPUGeneratorImpl>(1));
  const Tensor special = at::tensor(std::vector<float>{-0.0f, INFINITY, -INFINITY, 1e-45f});
  NamedTensors tensors{{"rows", base.narrow(0, 2, 3)}, {"transposed", base.t()}, {"scalar", base[0][0]},     {"empty", at::zeros({3, 0, 2})},
                       {"special", special},           {"with \"quotes\" and é", base},                       {"ids", random_ids({4})}};
  for (const at::ScalarType type : {at::kDouble, at::kHalf, at::kBFloat16}) tensors.emplace_back(at::toString(type), base.to(type));
  tensors.emplace_back("leaf", base.clone().requires_grad_());
  write_safetensors(folder / "f", tensors);
  const NamedTensors again = read_safetensors(folder / "f");
  ASSERT_EQ(again.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = again[i].second;
    EXPECT_EQ(again[i].first, tensors[i].first) << "the order of the file is kept";
    EXPECT_EQ(tensor.scalar_type(), tensors[i].second.scalar_type());
    EXPECT_TRUE(at::equal(tensor, tensors[i].second.detach())) << again[i].first;
    EXPECT_FALSE(tensor.requires_grad());
  }
  EXPECT_TRUE(at::signbit(again[4].second)[0].item<bool>());
  write_safetensors(folder / "g", again);
  EXPECT_EQ(read_file(folder / "g"), read_file(folder / "f")) << "what was read writes the same file";
  uint64_t length = 0;
  std::memcpy(&length, read_file(folder / "f").data(), sizeof length);
  EXPECT_EQ(length % 8, 0u) << "data is aligned to 8 bytes";
  write_safetensors(folder / "none", {});
  EXPECT_TRUE(read_safetensors(folder / "none").empty());
}

/// Error{kData}, or nothing; any other exception fails the test. Returns whether the file was taken.
bool taken(const fs::path& path) {
  try {
    const uint64_t n_bytes = fs::file_size(path);
    uint64_t allocated = 0;
    for (const auto& [name, tensor] : read_safetensors(path)) allocated += tensor.nbytes();
    EXPECT_LE(allocated, n_bytes);
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    return false;
  }
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"a", at::ones({3})}, {"b", at::zeros({2, 2})}, {"c", random_ids({3})}});
  const std::string whole = read_file(folder / "f");
  for (size_t n = 0; n < whole.size(); ++n) {
    write_plain(folder / "cut", std::string_view(whole).substr(0, n));
    EXPECT_FALSE(taken(folder / "cut")) << n << " of " << whole.size() << " bytes";
  }
  write_plain(folder / "cut", whole + "x");
  EXPECT_FALSE(taken(folder / "cut")) << "a byte too many";
}

// (Every fifth bit.) A changed header is refused or means another, sound file (another name, say); it never reads or allocates beyond the file.
TEST(Safetensors, FlippedBitsOfTheHeaderAreHarmless) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"a", at::ones({3})}, {"b", at::zeros({2, 2})}, {"c", random_ids({3})}});
  const std::string whole = read_file(folder / "f");
  const size_t end = whole.size() - 12 - 16 - 24;
  int n_taken = 0;
  for (size_t bit = 0; bit < end * 8; bit += 5) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    write_plain(folder / "flipped", flipped);
    n_taken += taken(folder / "flipped");
  }
  EXPECT_LT(n_taken, static_cast<int>(end * 8) / 20) << "only names and metadata may change unnoticed";
}

TEST(Safetensors, CraftedHeadersAreRefused) {
  const TemporaryFolder folder;
  const std::string data(64, '\0');
  const auto entry = [](const std::string& shape, const std::string& offsets, const std::string& dtype = "F32") {
    return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  const std::string sound = R"({"a":)" + entry("[16]", "[0,64]") + "}";
  write_plain(folder / "f", file_of(sound, data));
  EXPECT_TRUE(taken(folder / "f")) << "the pattern itself is sound";
  std::vector<std::string> headers{"", " ", "{", "[]", "3", "null", "\"a\"", std::string("\0", 1), "{\"a\":3}", "{\"a\":null}", "{\"a\":{}}", "{}",
                                   std::string(100000, '['), "{\"a\":" + std::string(50000, '{'), sound + "}", sound + sound};
  for (const std::string shape : {"[15]", "[17]", "[-16]", "[-4,-4]", "[1e30]", "[4611686018427387920]", "[9223372036854775807,9223372036854775807]", "[18446744073709551615]",
                                   "[4294967296,4294967296]", "[4294967300,4294967296]", "[0,9223372036854775807,9223372036854775807]", "\"16\"", "null", "{}", "[\"16\"]", "[[16]]", "[]"}) {
    headers.push_back("{\"a\":" + entry(shape, "[0,64]") + "}");
  }
  headers.push_back("{\"a\":" + entry("[0,9223372036854775807,9223372036854775807]", "[0,0]") + ",\"b\":" + entry("[16]", "[0,64]") + "}");
  for (const std::string offsets : {"[64,0]", "[0,65]", "[4,68]", "[-64,0]", "[0,18446744073709551615]", "[18446744073709551552,0]", "[0]", "[0,32,64]", "[]", "null", "\"0,64\"", "[0,1e300]"}) {
    headers.push_back("{\"a\":" + entry("[16]", offsets) + "}");
  }
  for (const std::string dtype : {"F8", "", "f32", "U8"}) headers.push_back("{\"a\":" + entry("[16]", "[0,64]", dtype) + "}");
  headers.push_back("{\"a\":" + entry("[8]", "[0,32]") + ",\"b\":" + entry("[4]", "[48,64]") + "}");                             // a hole
  headers.push_back("{\"a\":" + entry("[16]", "[0,64]") + ",\"b\":" + entry("[16]", "[0,64]") + "}");                            // twice the same bytes
  headers.push_back("{\"a\":" + entry("[12]", "[0,48]") + ",\"b\":" + entry("[8]", "[32,64]") + "}");                            // an overlap
  headers.push_back("{\"a\":" + entry("[14]", "[8,64]") + "}");                                                                  // begins late
  for (const std::string& header : headers) {
    write_plain(folder / "f", file_of(header, data));
    EXPECT_FALSE(taken(folder / "f")) << header.substr(0, 200);
  }
  for (const uint64_t length : {uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 7, sound.size() + data.size() + 1}) {
    std::string bytes = file_of(sound, data);
    std::memcpy(bytes.data(), &length, sizeof length);
    write_plain(folder / "f", bytes);
    EXPECT_FALSE(taken(folder / "f")) << "header of " << length << " bytes";
  }
}

TEST(Safetensors, AFullDiskLeavesTheOldFile) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"a", at::ones({3})}});
  const std::string before = read_file(folder / "f");
  {
    const FullDisk disk(10000);
    EXPECT_THROW(write_safetensors(folder / "f", {{"a", at::ones({100, 100})}}), Error);
  }
  EXPECT_EQ(read_file(folder / "f"), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

}  // namespace
}  // namespace entrain::model
