#include "entrain/eval/requests.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "entrain/base/error.h"
#include "entrain/eval/prompt.h"

namespace entrain::eval {
namespace {

constexpr int64_t kLogitsAtOnce = int64_t{1} << 24;

/// Rows [first, last) of `order`, padded on the right to the first one's length: (rows, T).
Tensor padded(std::span<const ScoredRow> rows, std::span<const size_t> order) {
  const int64_t positions = static_cast<int64_t>(rows[order.front()].input.size());
  const Tensor ids = at::zeros({static_cast<int64_t>(order.size()), positions}, at::kLong);
  int64_t* to = ids.data_ptr<int64_t>();
  for (const size_t i : order) {
    std::copy(rows[i].input.begin(), rows[i].input.end(), to);
    to += positions;
  }
  return ids;
}

/// For each (position, target) of `hidden` (N, C): log-probability and whether the target is the likeliest token.
void score_positions(const model::Transformer& model, const Tensor& hidden, std::span<const int64_t> positions, std::span<const int64_t> targets,
                     std::vector<float>& log_probabilities, std::vector<char>& likeliest) {
  const int64_t at_once = std::max<int64_t>(1, kLogitsAtOnce / model.config().vocab_size);
  for (int64_t first = 0; first < std::ssize(positions); first += at_once) {
    const int64_t n = std::min<int64_t>(at_once, std::ssize(positions) - first);
    const Tensor index = at::tensor(at::ArrayRef<int64_t>(positions.data() + first, static_cast<size_t>(n)));
    const Tensor target = at::tensor(at::ArrayRef<int64_t>(targets.data() + first, static_cast<size_t>(n))).unsqueeze(1);
    const Tensor logits = model.logits(hidden.index_select(0, index));
    const Tensor found = (logits.gather(1, target) - logits.logsumexp({1}, true)).contiguous();
    const Tensor best = logits.argmax(1).contiguous();
    for (int64_t i = 0; i < n; ++i) {
      log_probabilities.push_back(found.data_ptr<float>()[i]);
      likeliest.push_back(best.data_ptr<int64_t>()[i] == targets[static_cast<size_t>(first + i)]);
    }
  }
}

}  // namespace

void check_vocabulary(const model::Transformer& model, const text::Tokenizer& tokenizer) {
  if (tokenizer.vocab_size() <= model.config().vocab_size) return;
  throw Error(ErrorKind::kData, "the tokenizer has " + std::to_string(tokenizer.vocab_size()) + " tokens, the model " + std::to_string(model.config().vocab_size),
              "take tokenizer.json and model of one folder");
}

EncodedRequest encode_request(const text::Tokenizer& tokenizer, const Request& request) {
  const size_t kept = stripped_right(request.context).size();
  const std::string context = request.context.substr(0, kept), continuation = request.context.substr(kept) + request.continuation;
  EncodedRequest encoded;
  if (context.empty()) {
    const auto eos = tokenizer.eos_id();
    if (!eos) throw Error(ErrorKind::kData, "the tokenizer has no end-of-text token to score a text from its beginning", "take a tokenizer with <|endoftext|> or </s>");
    encoded.continuation = tokenizer.encode(continuation);
    encoded.context = {*eos};
    if (!encoded.continuation.empty() && encoded.continuation.front() == *eos) encoded.continuation.erase(encoded.continuation.begin());
    return encoded;
  }
  encoded.context = tokenizer.encode(context);
  std::vector<int32_t> whole = tokenizer.encode(context + continuation);
  // The end of the context can merge with the continuation; the last token then stands for it.
  const size_t border = std::min(encoded.context.size(), whole.empty() ? 0 : whole.size() - 1);
  encoded.context.assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(border));
  encoded.continuation.assign(whole.begin() + static_cast<std::ptrdiff_t>(border), whole.end());
  return encoded;
}

ScoredRow make_row(const EncodedRequest& request, int64_t context_length) {
  ScoredRow row;
  std::vector<int64_t> all(request.context.begin(), request.context.end());
  all.insert(all.end(), request.continuation.begin(), request.continuation.end());
  if (request.continuation.empty() || all.size() < 2) return row;
  row.truncated = std::ssize(all) > context_length + 1;
  if (row.truncated) all.erase(all.begin(), all.end() - (context_length + 1));
  const size_t n_targets = std::min(request.continuation.size(), all.size() - 1);
  row.targets.assign(all.end() - static_cast<std::ptrdiff_t>(n_targets), all.end());
  all.pop_back();
  row.input = std::move(all);
  return row;
}

std::vector<Likelihood> log_likelihoods(const model::Transformer& model, const text::Tokenizer& tokenizer, std::span<const Request> requests,
                                        const RequestOptions& options) {
  at::NoGradGuard no_grad;
  check_vocabulary(model, tokenizer);
  std::vector<ScoredRow> rows;
  rows.reserve(requests.size());
  for (const Request& request : requests) rows.push_back(make_row(encode_request(tokenizer, request), model.config().context));
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (rows[a].input.size() != rows[b].input.size()) return rows[a].input.size() > rows[b].input.size();
    return rows[a].input < rows[b].input;
  });

  std::vector<Likelihood> out(requests.size());
  for (size_t next = 0; next < order.size();) {
    const int64_t positions = std::ssize(rows[order[next]].input);
    if (positions == 0) {
      if (options.on_progress) options.on_progress(std::ssize(order) - static_cast<int64_t>(next));
      break;  // continuations without a token: the sorted rest
    }
    std::vector<size_t> distinct;
    std::vector<int64_t> places, targets;
    const size_t first = next;
    for (; next < order.size() && !rows[order[next]].input.empty(); ++next) {
      const ScoredRow& row = rows[order[next]];
      if (distinct.empty() || rows[distinct.back()].input != row.input) {
        if (!distinct.empty() && (std::ssize(distinct) + 1) * positions > options.batch_tokens) break;
        distinct.push_back(order[next]);
      }
      const int64_t begin = (std::ssize(distinct) - 1) * positions + std::ssize(row.input) - std::ssize(row.targets);
      for (size_t t = 0; t < row.targets.size(); ++t) places.push_back(begin + static_cast<int64_t>(t));
      targets.insert(targets.end(), row.targets.begin(), row.targets.end());
    }
    const Tensor hidden = model.hidden(padded(rows, distinct)).flatten(0, 1);
    std::vector<float> log_probabilities;
    std::vector<char> likeliest;
    score_positions(model, hidden, places, targets, log_probabilities, likeliest);
    size_t at = 0;
    for (size_t i = first; i < next; ++i) {
      const ScoredRow& row = rows[order[i]];
      Likelihood& one = out[order[i]];
      one.n_tokens = std::ssize(row.targets);
      one.truncated = row.truncated;
      for (size_t t = 0; t < row.targets.size(); ++t, ++at) {
        one.log_likelihood += log_probabilities[at];
        one.greedy = one.greedy && likeliest[at] != 0;
      }
    }
    if (options.on_progress) options.on_progress(static_cast<int64_t>(next - first));
  }
  return out;
}

Generation generate_until(const model::Transformer& model, const text::Tokenizer& tokenizer, const std::string& prompt,
                          const std::vector<std::string>& stops, int64_t max_tokens) {
  at::NoGradGuard no_grad;
  check_vocabulary(model, tokenizer);
  const int64_t context = model.config().context, room = std::max<int64_t>(1, context > max_tokens ? context - max_tokens : context / 2);
  const auto eos = tokenizer.eos_id();
  const std::vector<int32_t> lengths = tokenizer.token_byte_lengths();
  const std::vector<int32_t> encoded = tokenizer.encode(prompt);
  std::vector<int64_t> ids(encoded.begin(), encoded.end());
  Generation out;
  out.truncated = std::ssize(ids) > room;
  if (out.truncated) ids.erase(ids.begin(), ids.end() - room);
  if (ids.empty() && eos) ids.push_back(*eos);
  ENTRAIN_CHECK(!ids.empty(), "empty prompt");

  model::KvCache cache;
  model::Forward forward;
  forward.cache = &cache;
  const int64_t end = std::min(max_tokens, context - std::ssize(ids));
  for (int64_t n = 0; n < end; ++n) {
    const Tensor hidden = model.hidden(at::tensor(ids).unsqueeze(0), forward);
    const int64_t next = model.logits(hidden.select(1, hidden.size(1) - 1)).argmax().item<int64_t>();
    ids.assign(1, next);
    if (eos && next == *eos) break;
    if (next >= std::ssize(lengths) || lengths[static_cast<size_t>(next)] == 0) continue;  // special tokens, rows beyond the vocabulary
    const int32_t id = static_cast<int32_t>(next);
    const size_t before = out.text.size();
    out.text += tokenizer.decode(std::span(&id, 1));
    size_t cut = std::string::npos;
    for (const std::string& stop : stops) cut = std::min(cut, out.text.find(stop, before >= stop.size() ? before - stop.size() : 0));
    if (cut != std::string::npos) {
      out.text.resize(cut);
      break;
    }
  }
  return out;
}

std::vector<float> mean_states(const model::Transformer& model, const text::Tokenizer& tokenizer, std::span<const std::string> sentences) {
  at::NoGradGuard no_grad;
  check_vocabulary(model, tokenizer);
  const int64_t width = model.config().width;
  std::vector<float> out;
  out.reserve(sentences.size() * static_cast<size_t>(width));
  for (const std::string& sentence : sentences) {
    const std::vector<int32_t> encoded = tokenizer.encode(sentence);
    std::vector<int64_t> ids(encoded.begin(), encoded.end());
    ENTRAIN_CHECK(!ids.empty(), "empty sentence");
    if (std::ssize(ids) > model.config().context) ids.erase(ids.begin(), ids.end() - model.config().context);
    const Tensor mean = model.hidden(at::tensor(ids).unsqueeze(0)).mean(1).contiguous();
    out.insert(out.end(), mean.data_ptr<float>(), mean.data_ptr<float>() + width);
  }
  return out;
}

}  // namespace entrain::eval
