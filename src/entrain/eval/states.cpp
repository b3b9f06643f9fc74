#include "entrain/eval/states.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/text/corpus.h"

namespace entrain::eval {

States collect_states(const model::Transformer& model, const text::Tokenizer& tokenizer, const fs::path& path, const std::string& point, const StatesOptions& options) {
  at::NoGradGuard no_grad;
  States states;
  std::vector<Tensor> parts;
  model::Taps taps(model.config().layers);
  taps.add(point, [&](const Tensor& x) {
    parts.push_back(x.reshape({-1, x.size(-1)}).clone());
    return x;
  });
  model::Forward forward;
  forward.taps = &taps;
  int64_t window = 0;
  text::for_each_document({path}, [&](text::Document document) {
    const auto left = [&] { return options.max_tokens - static_cast<int64_t>(states.ids.size()); };
    if (left() <= 0) return;
    const std::vector<int32_t> ids = tokenizer.encode(document.text, text::Specials::kAsText);
    for (size_t begin = 0; begin < ids.size() && left() > 0; begin += static_cast<size_t>(options.context)) {
      const size_t n = std::min({ids.size() - begin, static_cast<size_t>(options.context), static_cast<size_t>(left())});
      const std::vector<int64_t> wide(ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(begin + n));
      model.hidden(at::tensor(wide, at::kLong).unsqueeze(0), forward);
      states.ids.insert(states.ids.end(), wide.begin(), wide.end());
      states.windows.insert(states.windows.end(), n, window++);
    }
  });
  if (states.ids.size() < 2) throw Error(ErrorKind::kData, path.string() + " holds fewer than two tokens", "give a longer text");
  states.values = at::cat(parts);
  return states;
}

}  // namespace entrain::eval
