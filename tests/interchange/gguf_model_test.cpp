#include "entrain/interchange/gguf_model.h"

#include <functional>

#include "../model/tiny_model.h"
#include "../text/temporary_folder.h"
#include "entrain/base/error.h"
#include "entrain/base/json.h"
#include "entrain/interchange/export.h"
#include "entrain/interchange/gguf_tokenizer.h"
#include "entrain/interchange/pretrained.h"
#include "entrain/model/huggingface.h"
#include "entrain/model/safetensors.h"
#include "entrain/text/bpe_trainer.h"
#include "entrain/text/pretokenizer.h"

namespace entrain::interchange {
namespace {

using model::random_ids;
using model::tiny_config;
using text::TemporaryFolder;

std::string error_of(const std::function<void()>& act, ErrorKind kind = ErrorKind::kData) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_FALSE(error.hint().empty()) << error.what();
    return error.what();
  }
  return "no error";
}

void expect_contains(const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text; }

/// A GGUF file of one model, whose metadata `change` may add to.
fs::path write_gguf(const TemporaryFolder& folder, const model::Transformer& model, const std::function<void(GgufWriter&)>& change = {}) {
  GgufWriter writer;
  add_model(writer, model, GgmlType::kF32);
  if (change) change(writer);
  const fs::path path = folder / "model.gguf";
  fs::remove(path);
  writer.write(path);
  return path;
}

text::Tokenizer trained(const std::string& pattern) {
  text::BpeTrainer trainer({.vocab_size = 300, .pattern = pattern, .n_threads = 1});
  const std::string_view text = "the cat sat on the mat in 1984 and 2001, the end\nof it all";
  trainer.add({&text, 1});
  return trainer.train();
}

TEST(GgufModel, EveryShapeRoundTrips) {
  at::NoGradGuard no_grad;
  const TemporaryFolder folder;
  for (const std::string& shape : model::kShapes) {
    model::Config config = tiny_config(shape);
    config.norm_eps = 3e-6;
    if (shape != "gpt2") config.rope_theta = 500000.0;
    const model::Transformer model(config, 4);
    const fs::path path = write_gguf(folder, model);
    config.init_std = model::Config{}.init_std;  // of no use in a finished model, and not in the file
    EXPECT_EQ(read_config(path), config) << shape;
    EXPECT_TRUE(at::equal(load_model(path).hidden(random_ids({1, 8})), model.hidden(random_ids({1, 8})))) << shape;
  }
}

TEST(GgufModel, RefusesWhatNoModelHereHas) {
  const TemporaryFolder folder;
  const model::Transformer model(tiny_config("llama"), 4);
  const auto refusal = [&](const std::function<void(GgufWriter&)>& change) { return error_of([&] { load_model(write_gguf(folder, model, change)); }); };
  expect_contains(refusal([](GgufWriter& w) { w.set_text("llama.rope.scaling.type", "yarn"); }), "rotary scaling yarn");
  expect_contains(refusal([](GgufWriter& w) { w.set_integer("llama.attention.sliding_window", 64); }), "sliding_window");
  expect_contains(refusal([](GgufWriter& w) { w.set_integer("llama.expert_count", 8); }), "expert_count");
  expect_contains(refusal([](GgufWriter& w) { w.set_number("llama.rope.scaling.factor", 4.0f); }), "rope.scaling.factor");
  expect_contains(refusal([](GgufWriter& w) { w.add_tensor("blk.0.attn_q.bias", GgmlType::kF32, {32}, [] { return std::string(128, '\0'); }); }), "unexpected blk.0.attn_q.bias");
  expect_contains(refusal([](GgufWriter& w) { w.add_tensor("rope_freqs.weight", GgmlType::kF32, {4}, [] { return std::string(16, '\0'); }); }), "rope_freqs");
  model::Config relu = tiny_config("llama");
  relu.activation = "relu2";
  GgufWriter writer;
  expect_contains(error_of([&] { add_model(writer, model::Transformer(relu, 1), GgmlType::kF32); }, ErrorKind::kUsage), "relu2");
}

TEST(GgufModel, AShapeTheFileCannotHoldTakesNoMemory) {
  const TemporaryFolder folder;
  GgufWriter writer;
  writer.set_text("general.architecture", "llama");
  for (const char* key : {"llama.embedding_length", "llama.block_count", "llama.attention.head_count", "llama.feed_forward_length", "llama.context_length"}) writer.set_integer(key, 1 << 22);
  writer.set_integer("llama.attention.key_length", 2);
  writer.add_tensor("token_embd.weight", GgmlType::kF32, {2, 2}, [] { return std::string(16, '\0'); });
  writer.write(folder / "model.gguf");
  expect_contains(error_of([&] { load_model(folder / "model.gguf"); }), "weights can hold");
}

TEST(GgufTokenizer, RoundTripsWithEveryPattern) {
  for (const char* pattern : {"gpt2", "llama3", "qwen2", "smollm"}) {
    const TemporaryFolder folder;
    const text::Tokenizer tokenizer = trained(pattern);
    GgufWriter writer;
    const TokenizerSettings settings{.bos = 0, .eos = 0, .pad = 3, .unk = -1, .more_eos = {5, 2, 4}, .add_bos = true, .chat_templates = {{"default", "{{ x }}"}, {"rag", "r"}}};
    add_tokenizer(writer, tokenizer, settings, tokenizer.vocab_size() + 5);
    writer.write(folder / "t.gguf");
    const MappedFile map(folder / "t.gguf");
    const GgufReader file(map.bytes(), "t.gguf");
    const text::Tokenizer back = gguf_tokenizer(file);
    EXPECT_EQ(back.pattern(), tokenizer.pattern());
    const text::TokenizerSpelling spelling = tokenizer.spelling(), read = back.spelling();
    EXPECT_EQ(std::vector(read.tokens.begin(), read.tokens.begin() + tokenizer.vocab_size()), spelling.tokens);
    EXPECT_EQ(read.merges, spelling.merges);
    EXPECT_EQ(read.bos_id, 0);
    EXPECT_EQ(back.encode("the cat 1984<|endoftext|>"), tokenizer.encode("the cat 1984<|endoftext|>"));
    const TokenizerSettings again = gguf_settings(file, back);
    EXPECT_EQ(again.pad, 3);
    EXPECT_EQ(again.eos_ids(), (std::vector<int32_t>{0, 5, 2})) << "GGUF has places for three";
    EXPECT_TRUE(again.add_bos);
    EXPECT_EQ(again.chat_templates, settings.chat_templates);
  }
}

TEST(GgufTokenizer, NamedTemplatesNeedNoListOfTheirNames) {
  const TemporaryFolder folder;
  const text::Tokenizer tokenizer = trained("gpt2");
  GgufWriter writer;
  add_tokenizer(writer, tokenizer, {}, tokenizer.vocab_size());
  writer.set_text("tokenizer.chat_template.tool_use", "t");
  writer.set_text("tokenizer.chat_template.rag", "r");
  writer.write(folder / "t.gguf");
  const std::map<std::string, std::string> expected{{"rag", "r"}, {"tool_use", "t"}};
  EXPECT_EQ(load_settings(folder / "t.gguf", tokenizer).chat_templates, expected);
}

TEST(GgufTokenizer, RefusesOtherKindsAndPatterns) {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::function<void(GgufWriter&)>& fill) {
    GgufWriter writer;
    fill(writer);
    fs::remove(folder / "t.gguf");
    writer.write(folder / "t.gguf");
    return error_of([&] { load_tokenizer(folder / "t.gguf"); });
  };
  expect_contains(refusal([](GgufWriter&) {}), "has no tokenizer");
  expect_contains(refusal([](GgufWriter& w) { w.set_text("tokenizer.ggml.model", "llama"); }), "of the kind llama");
  expect_contains(refusal([](GgufWriter& w) { w.set_text("tokenizer.ggml.model", "gpt2"); }), "does not say how");
  expect_contains(refusal([](GgufWriter& w) { w.set_text("tokenizer.ggml.model", "gpt2"), w.set_text("tokenizer.ggml.pre", "tekken"); }), "tekken");
  const std::vector<std::string> tokens{"a", "b"}, merges{"ab"};
  const std::vector<int32_t> types{1};
  const auto begin = [&](GgufWriter& w) {
    w.set_text("tokenizer.ggml.model", "gpt2");
    w.set_text("tokenizer.ggml.pre", "gpt-2");
    w.set_texts("tokenizer.ggml.tokens", tokens);
  };
  expect_contains(refusal([&](GgufWriter& w) { begin(w), w.set_integers("tokenizer.ggml.token_type", types); }), "2 tokens and 1 types");
  expect_contains(refusal([&](GgufWriter& w) { begin(w), w.set_texts("tokenizer.ggml.merges", merges); }), "'ab' has no two parts");
  expect_contains(refusal([&](GgufWriter& w) { begin(w); }), "no token for byte");
  text::TokenizerParts parts{.tokens = {}, .merges = {}, .pattern = "x+", .special_ids = {}};
  for (int b = 0; b < 256; ++b) parts.tokens.emplace_back(1, static_cast<char>(b));
  GgufWriter writer;
  expect_contains(error_of([&] { add_tokenizer(writer, text::Tokenizer::from_parts(parts), {}, 256); }, ErrorKind::kUsage), "no name for the way");
}

TEST(Pretrained, FoldersInPartsAndTheirFaults) {
  at::NoGradGuard no_grad;
  const TemporaryFolder folder;
  const model::Transformer model(tiny_config("llama"), 4);
  make_folder(folder / "hf");
  model::save_model(model, {.eos = 7, .bos = 5}, folder / "hf");
  EXPECT_EQ(model::special_ids(read_file(folder / "hf" / "config.json"), "c").bos, 5);
  const model::NamedTensors all = model::read_safetensors(folder / "hf" / "model.safetensors");
  const auto middle = all.begin() + 5;
  fs::remove(folder / "hf" / "model.safetensors");
  model::write_safetensors(folder / "hf" / "a.safetensors", {all.begin(), middle});
  model::write_safetensors(folder / "hf" / "b.safetensors", {middle, all.end()});
  Json index;
  for (const auto& [name, tensor] : all) index["weight_map"][name] = name == all.front().first ? "a.safetensors" : "b.safetensors";
  const fs::path path = folder / "hf" / "model.safetensors.index.json";
  write_file(path, index.dump());
  EXPECT_TRUE(at::equal(load_model(folder / "hf").hidden(random_ids({1, 8})), model.hidden(random_ids({1, 8}))));
  EXPECT_EQ(weight_files(folder / "hf").size(), 2u);
  const auto refusal = [&](const std::string& text) {
    fs::remove(path);
    write_file(path, text);
    return error_of([&] { load_model(folder / "hf"); });
  };
  expect_contains(refusal("{"), "is not a usable index");
  expect_contains(refusal("[]"), "is not a usable index");
  expect_contains(refusal(R"({"weight_map": {}})"), "names no file");
  expect_contains(refusal(R"({"weight_map": {"x": "../b.safetensors"}})"), "not in its folder");
  expect_contains(refusal(R"({"weight_map": {"x": ".."}})"), "not in its folder");
  expect_contains(refusal(R"({"weight_map": {"x": "c.safetensors"}})"), "which is not there");
  expect_contains(refusal(R"({"weight_map": {"x": "a.safetensors"}})"), "weights can hold");
  expect_contains(refusal(R"({"weight_map": {"x": 5}})"), "is not a usable index");
}

}  // namespace
}  // namespace entrain::interchange
