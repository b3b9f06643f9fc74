#include "entrain/reasoning/relay.h"

#include "entrain/base/error.h"
#include "entrain/reasoning/makers.h"
#include "family_properties.h"

namespace entrain::reasoning {
namespace {

const std::unique_ptr<Family> kRelay = make_relay();

/// Facts of a text by position; "" where there is none.
std::vector<std::pair<std::string, std::string>> facts_of(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> facts;
  for (const std::string& fact : split_at(split_at(text, "?")[0], ";")) {
    const auto sides = split_at(fact, "→");
    facts.emplace_back(sides.at(0) == "·" ? "" : sides.at(0), sides.at(1) == "·" ? "" : sides.at(1));
  }
  return facts;
}

/// Positions of the facts of the chain that begins at `head`, in order.
std::vector<size_t> chain_from(const std::string& text, std::string head) {
  const auto facts = facts_of(text);
  std::vector<size_t> chain;
  for (bool found = true; found;) {
    found = false;
    for (size_t f = 0; f < facts.size() && !found; ++f) {
      if (facts[f].first != head) continue;
      chain.push_back(f);
      head = facts[f].second;
      found = true;
    }
  }
  return chain;
}

/// The chains' facts, the asked chain first.
std::vector<std::vector<size_t>> chains_of(const Item& item) {
  const std::string asked = split_at(item.symbolic, "?").at(1);
  std::vector<std::vector<size_t>> chains = {chain_from(item.symbolic, asked)};
  const auto facts = facts_of(item.symbolic);
  for (const auto& [from, to] : facts) {
    const std::string& head = from;
    if (head != asked && std::none_of(facts.begin(), facts.end(), [&](const auto& fact) { return fact.second == head; })) chains.push_back(chain_from(item.symbolic, head));
  }
  return chains;
}

/// Who holds each fact.
std::vector<std::set<int64_t>> holders_of(const std::vector<std::string>& views) {
  std::vector<std::set<int64_t>> holders(facts_of(views[0]).size());
  for (size_t expert = 0; expert < views.size(); ++expert) {
    const auto facts = facts_of(views[expert]);
    for (size_t f = 0; f < facts.size(); ++f) {
      if (!facts[f].first.empty()) holders[f].insert(static_cast<int64_t>(expert));
    }
  }
  return holders;
}

std::vector<Item> draw_items(int64_t depth, uint64_t n_groups) {
  std::vector<Item> items;
  for (uint64_t i = 0; i < n_groups; ++i) {
    RandomStream random = stream(8, "relay", static_cast<uint64_t>(depth), i);
    for (Item& item : kRelay->draw(random, {.depth = depth})) items.push_back(std::move(item));
  }
  return items;
}

void expect_masked_copy(const Item& item, const std::string& view) {
  const auto whole = split_symbols(item.symbolic), seen = split_symbols(view);
  ASSERT_EQ(seen.size(), whole.size());
  for (size_t s = 0; s < whole.size(); ++s) EXPECT_TRUE(seen[s] == whole[s] || seen[s] == "·") << view;
  EXPECT_EQ(split_at(view, "?").at(1), split_at(item.symbolic, "?").at(1));
}

TEST(Relay, ByHand) {
  expect_solved(*kRelay, "a → b ; b → 7 ? a", "7");
  expect_solved(*kRelay, "b → 7 ; c → d ; d → 3 ; a → b ? c", "3");
  expect_solved(*kRelay, "b → 7 ; c → d ; d → 3 ; a → b ? b", "7");
}

TEST(Relay, RejectsOtherTexts) {
  for (const char* text : {"", "? a", "a → b ? a", "a → 7 ? b", "a → b ; b → a ? a", "a → 7 ; ? a", "3 ∈ { 1 } ?"}) expect_rejected(*kRelay, text);
}

TEST(Relay, Properties) { expect_properties(*kRelay, 73); }

TEST(Relay, ExactlyDepthFactsLeadToTheAnswerAndAllChainsAreAsLong) {
  for (int64_t depth = 1; depth <= kRelay->max_depth(); ++depth) {
    for (const Item& item : draw_items(depth, 50)) {
      const auto chains = chains_of(item);
      ASSERT_EQ(static_cast<int64_t>(chains.size()), kRelayChains);
      std::set<std::string> ends;
      for (const auto& chain : chains) {
        EXPECT_EQ(static_cast<int64_t>(chain.size()), depth);
        ends.insert(facts_of(item.symbolic)[chain.back()].second);
      }
      EXPECT_EQ(static_cast<int64_t>(ends.size()), kRelayChains);
      EXPECT_EQ(facts_of(item.symbolic)[chains[0].back()].second, item.answer);
      EXPECT_EQ(static_cast<int64_t>(item.steps.size()), depth);
    }
  }
}

TEST(RelayViews, OfTheItem) {
  for (int64_t depth = 1; depth <= kRelay->max_depth(); ++depth) {
    for (const Item& item : draw_items(depth, 30)) {
      ASSERT_EQ(item.views.size(), 3u);
      for (const std::string& view : item.views) expect_masked_copy(item, view);
      for (const auto& holders : holders_of(item.views)) EXPECT_EQ(holders.size(), 1u);
    }
  }
}

TEST(RelayViews, NobodyCanGoOnAlone) {
  for (const int64_t n_experts : {2, 3, 4, 7}) {
    for (int64_t depth = 1; depth <= kRelay->max_depth(); ++depth) {
      for (const Item& item : draw_items(depth, 20)) {
        RandomStream random = stream(9, "views", static_cast<uint64_t>(n_experts));
        const std::vector<std::string> views = relay_views(item, n_experts, 0, random);
        ASSERT_EQ(static_cast<int64_t>(views.size()), n_experts);
        for (const std::string& view : views) expect_masked_copy(item, view);
        const auto holders = holders_of(views);
        const auto chains = chains_of(item);
        for (const size_t fact : chains[0]) EXPECT_FALSE(holders[fact].contains(0)) << "the asker holds nothing of the asked chain";
        for (const auto& chain : chains) {
          for (size_t hop = 0; hop < chain.size(); ++hop) {
            ASSERT_EQ(holders[chain[hop]].size(), 1u);
            if (hop > 0 && n_experts > 2) { EXPECT_NE(holders[chain[hop]], holders[chain[hop - 1]]); }
            // By who holds what, the chains are alike but for the first facts.
            if (hop > 0) { EXPECT_EQ(holders[chain[hop]], holders[chains[0][hop]]); }
          }
        }
        for (size_t c = 1; c < chains.size(); ++c) EXPECT_TRUE(holders[chains[c][0]].contains(0)) << "the asker holds as many distractors as there are other chains";
      }
    }
  }
}

TEST(RelayViews, Overlap) {
  int64_t n_facts = 0, n_twice = 0;
  for (const Item& item : draw_items(4, 200)) {
    RandomStream random = stream(10, "overlap");
    for (const auto& holders : holders_of(relay_views(item, 3, 1, random))) EXPECT_EQ(holders.size(), 2u);
    random = stream(10, "overlap", static_cast<uint64_t>(n_facts));
    const std::vector<std::string> views = relay_views(item, 4, 0.3, random);
    const auto holders = holders_of(views);
    for (const auto& of_fact : holders) {
      ++n_facts;
      n_twice += of_fact.size() == 2;
      EXPECT_LE(of_fact.size(), 2u);
    }
    const auto asked = chains_of(item).front();
    for (const size_t fact : asked) EXPECT_FALSE(holders[fact].contains(0));
  }
  EXPECT_NEAR(static_cast<double>(n_twice) / static_cast<double>(n_facts), 0.3, 0.025);  // 4 standard deviations of 7,200 facts: 0.022
}

TEST(RelayViews, ByThirds) {
  std::vector<int64_t> n_held(3);
  int64_t n_asker_holds_first = 0, n_items = 0;
  for (const Item& item : draw_items(5, 200)) {
    RandomStream random = stream(11, "thirds", static_cast<uint64_t>(n_items++));
    const std::vector<std::string> views = relay_views_by_thirds(item, 3, random);
    for (const std::string& view : views) expect_masked_copy(item, view);
    const auto holders = holders_of(views);
    const auto chains = chains_of(item);
    for (const auto& chain : chains) {
      for (size_t hop = 0; hop < chain.size(); ++hop) {
        ASSERT_EQ(holders[chain[hop]].size(), 1u);
        ++n_held[static_cast<size_t>(*holders[chain[hop]].begin())];
        if (hop > 0) { EXPECT_NE(holders[chain[hop]], holders[chain[hop - 1]]); }
      }
    }
    n_asker_holds_first += holders[chains[0][0]].contains(0);
  }
  for (const int64_t n : n_held) EXPECT_NEAR(static_cast<double>(n), 3000, 200);  // 9,000 facts
  EXPECT_NEAR(static_cast<double>(n_asker_holds_first), 200, 50);
}

TEST(RelayViews, Contracts) {
  const Item item = draw_items(2, 1)[0];
  RandomStream random = stream(1, "contracts");
  EXPECT_THROW(relay_views(item, 1, 0, random), std::logic_error);
  EXPECT_THROW(relay_views(item, 3, 1.5, random), std::logic_error);
  EXPECT_THROW(relay_views_by_thirds(item, 1, random), std::logic_error);
  EXPECT_THROW(relay_views(question("3 ∈ { 1 } ?"), 3, 0, random), Error);
}

TEST(Relay, EnglishMeansTheSame) { expect_english_means_the_same(*kRelay, {{"leads to", "→"}, {". Where does", "?"}, {"end ?", ""}, {".", ";"}}, false); }

}  // namespace
}  // namespace entrain::reasoning
