#include "entrain/base/config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "entrain/base/error.h"
#include "entrain/base/random.h"

namespace entrain::config {
namespace {

struct Oven {
  bool fan = false;
  int64_t trays = 2;
  double heat = 180.0;
  std::string label = "kitchen";
  std::string mode = "bake";
  std::vector<double> stages = {1.0};

  void bind(Binder& b) {
    b.section("oven", "An oven.");
    b.bind("fan", &fan, "whether air moves");
    b.bind("trays", &trays, "how many").range(1, 8);
    b.bind("heat", &heat, "degrees").range(0, 300);
    b.section("front", "What one sees.");
    b.bind("label", &label, "any text");
    b.bind("mode", &mode, "of use").one_of({"bake", "grill", "defrost"});
    b.bind("stages", &stages, "hours");
  }
};

Oven read(const Document& document) {
  Oven oven;
  Binder binder;
  oven.bind(binder);
  binder.read(document);
  return oven;
}

std::string problem_of(const Document& document) {
  try {
    read(document);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "";
}

void expect_contains(const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), std::string::npos) << part << " in:\n" << text; }

TEST(Config, ReadsEveryTypeAndKeepsDefaults) {
  const Oven oven = read(Document::parse("[oven]\nfan = true\nheat = 200\n[front]\nlabel = \"a b\"\nmode = \"grill\"\nstages = [1, 2.5]\n", "t"));
  EXPECT_TRUE(oven.fan);
  EXPECT_EQ(oven.trays, 2);
  EXPECT_EQ(oven.heat, 200.0) << "a whole number serves where a number is wanted";
  EXPECT_EQ(oven.label, "a b");
  EXPECT_EQ(oven.mode, "grill");
  EXPECT_EQ(oven.stages, (std::vector<double>{1.0, 2.5}));
}

TEST(Config, RangesIncludeTheirEnds) {
  for (const int trays : {1, 8}) EXPECT_EQ(read(Document::parse("oven.trays = " + std::to_string(trays), "t")).trays, trays);
  for (const std::string bad : {"trays = 0", "trays = 9", "heat = 300.001", "heat = -1e-300", "heat = nan", "heat = inf", "heat = -inf"}) {
    expect_contains(problem_of(Document::parse("[oven]\n" + bad, "t")), "must lie in");
  }
}

TEST(Config, ReportsEveryProblemAtOnce) {
  const std::string message = problem_of(Document::parse(
      "[oven]\nfan = 1\ntrays = 2.0\nheat = \"hot\"\nheet = 3\n[front]\nlabel = 5\nmode = \"gril\"\nstages = 2\n[elsewhere]\nquite_unlike_all = 1\n", "t"));
  expect_contains(message, "8 problems");
  expect_contains(message, "line 2: oven.fan expects true or false");
  expect_contains(message, "line 3: oven.trays expects a whole number");
  expect_contains(message, "line 4: oven.heat expects a number");
  expect_contains(message, "line 5: unknown key oven.heet; did you mean oven.heat?");
  expect_contains(message, "line 7: front.label expects a text in quotes");
  expect_contains(message, "line 8: front.mode is \"gril\", must be one of bake | grill | defrost; did you mean grill?");
  expect_contains(message, "line 9: front.stages expects a list of numbers");
  expect_contains(message, "line 11: unknown key elsewhere.quite_unlike_all");
  const size_t far = message.find("unknown key elsewhere");
  EXPECT_EQ(message.substr(far, message.find('\n', far) - far), "unknown key elsewhere.quite_unlike_all") << "nothing is near that key";
}

TEST(Config, NamesThePlaceOfASyntaxError) {
  for (const auto& [text, place] : std::vector<std::pair<std::string, std::string>>{{"[oven]\nfan = = 1", "recipe.toml:2:"}, {"a = 1\n\nb = [1,\n", "recipe.toml:"}, {"[oven\n", "recipe.toml:1:"}}) {
    try {
      Document::parse(text, "recipe.toml");
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      expect_contains(error.what(), place);
    }
  }
  for (const std::string text : {"a = 2020-01-01", "a = [\"x\", 1]", "a = [1, [2]]"}) {
    try {
      Document::parse(text, "t");
      FAIL() << text;
    } catch (const Error& error) {
      expect_contains(error.what(), "t:1: a has a type no key takes");
    }
  }
  EXPECT_THROW(Document::parse("a = 99999999999999999999", "t"), Error);
  EXPECT_THROW(Document::load("/nowhere/at/all.toml"), Error);
}

TEST(Config, SetTakesTomlValuesAndBareWords) {
  const auto set = [](const std::string& assignment) {
    Document document;
    document.set(assignment);
    return document.entries().begin()->second.value;
  };
  EXPECT_EQ(set("a.b=3"), Value(int64_t{3}));
  EXPECT_EQ(set("a.b=-3.5e2"), Value(-350.0));
  EXPECT_EQ(set("a.b=true"), Value(true));
  EXPECT_EQ(set("a.b=[1, 2]"), Value(std::vector<double>{1, 2}));
  EXPECT_EQ(set("a.b=\"3\""), Value(std::string("3")));
  EXPECT_EQ(set("a.b=llama"), Value(std::string("llama")));
  EXPECT_EQ(set("a.b=/data/some folder"), Value(std::string("/data/some folder")));
  EXPECT_EQ(set("a.b=x=y"), Value(std::string("x=y")));
  EXPECT_EQ(set("a.b="), Value(std::string()));
  EXPECT_EQ(set("a.b=2024-05-06"), Value(std::string("2024-05-06")));
  EXPECT_EQ(set("a.b=say \"hi\""), Value(std::string("say \"hi\"")));
  EXPECT_EQ(set("a.b={c = 1}"), Value(std::string("{c = 1}"))) << "no key takes a table, so it is text";
  for (const std::string bad : {"a.b", "=3", ""}) {
    Document document;
    EXPECT_THROW(document.set(bad), Error) << bad;
  }
  Document document = Document::parse("[oven]\ntrays = 3\n", "t");
  document.set("oven.trays=4");
  EXPECT_EQ(read(document).trays, 4);
  document.set("oven.trays=99");
  EXPECT_EQ(problem_of(document).find("line"), std::string::npos) << "a value from the command line has no line";
}

std::vector<std::string> names_of(const std::vector<std::pair<std::string, Document>>& tables) {
  std::vector<std::string> names;
  for (const auto& [name, document] : tables) names.push_back(name);
  return names;
}

TEST(Config, TakesTablesInTheOrderOfTheFile) {
  const std::string text = "[oven]\ntrays = 3\n[arms.zeta]\noven.trays = 4\noven.heat = 5\n[arms.alpha]\nfront.label = \"x\"\n[arms.mid]\n[arms.mid.oven]\nfan = true\n";
  Document document = Document::parse(text, "t");
  auto arms = document.take_tables("arms");
  EXPECT_EQ(names_of(arms), (std::vector<std::string>{"zeta", "alpha", "mid"}));
  EXPECT_EQ(read(document).trays, 3);
  EXPECT_EQ(document.entries().size(), 1u) << "the tables are gone from the rest";
  Document merged = document;
  merged.merge(arms[0].second);
  EXPECT_EQ(read(merged).trays, 4);
  EXPECT_EQ(read(merged).heat, 5.0);
  EXPECT_TRUE(read(arms[2].second).fan);

  // The command line changes an arm's values, never its place; a table without a key is a table; new ones come last.
  document = Document::parse("[arms.base]\n[arms.zeta]\noven.trays = 4\n[arms.alpha]\noven.trays = 5\n", "t");
  document.set("arms.alpha.oven.trays=6");
  document.set("arms.aaa.oven.trays=7");
  arms = document.take_tables("arms");
  EXPECT_EQ(names_of(arms), (std::vector<std::string>{"base", "zeta", "alpha", "aaa"}));
  EXPECT_TRUE(arms[0].second.entries().empty());
  EXPECT_EQ(read(arms[2].second).trays, 6);
}

TEST(Config, TakesASectionWithItsName) {
  Document document = Document::parse("[oven]\ntrays = 3\n[ovens]\nx = 1\n", "t");
  const Document taken = document.take_section("oven");
  EXPECT_EQ(taken.entries().size(), 1u);
  EXPECT_EQ(read(taken).trays, 3);
  EXPECT_EQ(document.entries().count("ovens.x"), 1u);
}

TEST(Config, WritesWhatItReads) {
  const auto round_trip = [](Oven oven) {
    Binder binder;
    oven.bind(binder);
    const std::string toml = binder.to_toml();
    const Oven again = read(Document::parse(toml, "written"));
    EXPECT_EQ(again.fan, oven.fan);
    EXPECT_EQ(again.trays, oven.trays);
    EXPECT_EQ(std::signbit(again.heat), std::signbit(oven.heat));
    EXPECT_EQ(again.heat, oven.heat) << toml;
    EXPECT_EQ(again.label, oven.label) << toml;
    EXPECT_EQ(again.mode, oven.mode);
    EXPECT_EQ(again.stages, oven.stages) << toml;
  };
  round_trip({});
  RandomStream random = stream(1, "config test");
  const std::vector<std::string> pieces{"\"", "\"\"\"", "'", "'''", "\\", "\n", "\t", "\r\n", "#", "=", " ", "é", "語", "\x01", "a", "[x]", "\\u0041", "\x7f"};
  for (int i = 0; i < 300; ++i) {
    Oven oven{i % 2 == 0, static_cast<int64_t>(1 + random.next_below(8)), 300 * random.next_uniform(), "", "defrost", {}};
    for (uint64_t n = random.next_below(8); n > 0; --n) oven.label += pieces[random.next_below(pieces.size())];
    for (uint64_t n = random.next_below(5); n > 0; --n) oven.stages.push_back(std::ldexp(random.next_normal(), static_cast<int>(random.next_below(600)) - 300));
    round_trip(oven);
  }
  for (const double heat : {0.0, -0.0, 1e-310, 0.1, 300.0, 3.0e-5}) round_trip({.heat = heat});
  round_trip({.stages = {INFINITY, -INFINITY, 1e22, 123456789012345678.0}});
}

TEST(Config, DocumentsEveryKey) {
  Oven oven;
  Binder binder;
  oven.bind(binder);
  const std::string page = binder.to_markdown();
  for (const char* part : {"## [oven]", "An oven.", "`fan`", "`trays`", "`heat`", "`label`", "`mode`", "`bake`, `grill`, `defrost`", "`stages`", "whether air moves"}) expect_contains(page, part);
}

}  // namespace
}  // namespace entrain::config
