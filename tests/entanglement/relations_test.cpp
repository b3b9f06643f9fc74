#include "entrain/entanglement/relations.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "entrain/base/error.h"
#include "entrain/base/random.h"

namespace entrain::entanglement {
namespace {

/// Six tokens in three groups of two (0 1, 2 3, 4 5), each state its group's direction with a little noise and a large common offset.
struct Text {
  std::vector<int32_t> ids;
  std::vector<int64_t> windows;
  Tensor z;

  Text() {
    RandomStream random = stream(1, "relations");
    constexpr int64_t kTokens = 600, kWidth = 8;
    z = at::zeros({kTokens, kWidth});
    for (int64_t i = 0; i < kTokens; ++i) {
      const auto id = static_cast<int32_t>(random.next_below(6));
      ids.push_back(id);
      windows.push_back(i / 50);
      for (int64_t c = 0; c < kWidth; ++c) z[i][c] = 5.0 + 0.1 * random.next_normal() + (c == id / 2 ? 3.0 : 0.0);
    }
  }
};

TEST(Relations, FindsThePlantedGroups) {
  const Text text;
  const Relations relations = find_relations(text.z, text.ids, text.windows, {.n_pairs = 3, .n_clusters = 3});
  std::vector<size_t> singles;
  for (size_t i = 0; i < relations.units.size(); ++i) {
    if (relations.units[i].ids.size() == 1) singles.push_back(i);
  }
  ASSERT_EQ(singles.size(), 6u);
  for (const size_t a : singles) {
    for (const size_t b : singles) {
      const Unit &first = relations.units[a], &second = relations.units[b];
      EXPECT_EQ(first.cluster == second.cluster, first.ids[0] / 2 == second.ids[0] / 2);
    }
  }
  ASSERT_EQ(relations.pairs.size(), 3u);
  EXPECT_GT(relations.pairs[0].cosine, 0.97);
  EXPECT_GE(relations.pairs[0].cosine, relations.pairs[2].cosine);
}

TEST(Relations, PairsShareNoToken) {
  const Text text;
  const Relations all = find_relations(text.z, text.ids, text.windows, {});
  for (const RelatedPair& pair : all.pairs) {
    for (const int32_t id : all.units[pair.first].ids) {
      for (const int32_t other : all.units[pair.second].ids) EXPECT_NE(id, other);
    }
  }
}

TEST(Relations, PhrasesStayInsideAWindow) {
  Text text;
  for (size_t i = 0; i < text.ids.size(); ++i) text.windows[i] = static_cast<int64_t>(i);  // every token alone
  for (const Unit& unit : find_relations(text.z, text.ids, text.windows, {}).units) EXPECT_EQ(unit.ids.size(), 1u);
}

TEST(Relations, RepeatsAndDrawsAMap) {
  const Text text;
  const Relations a = find_relations(text.z, text.ids, text.windows, {}), b = find_relations(text.z, text.ids, text.windows, {});
  std::vector<std::string> names;
  for (const Unit& unit : a.units) names.push_back(unit.ids.size() == 1 ? "<a & b>" : "x");
  const std::string svg = map_svg(a, names, "map");
  EXPECT_EQ(svg, map_svg(b, names, "map"));
  EXPECT_EQ(svg.find("<a & b>"), std::string::npos);
  EXPECT_NE(svg.find("&lt;a &amp; b&gt;"), std::string::npos);
  size_t circles = 0;
  for (size_t at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1)) ++circles;
  EXPECT_EQ(circles, a.units.size());
}

TEST(Relations, ShortTextIsAnError) {
  const std::vector<int32_t> ids{1, 2, 3};
  const std::vector<int64_t> windows{0, 0, 0};
  EXPECT_THROW(find_relations(at::ones({3, 4}), ids, windows, {}), Error);
}

}  // namespace
}  // namespace entrain::entanglement
