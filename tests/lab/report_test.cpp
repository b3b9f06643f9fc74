#include "entrain/lab/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <set>

#include "entrain/base/error.h"
#include "entrain/base/random.h"
#include "entrain/lab/figure.h"
#include "entrain/lab/gnuplot.h"
#include "entrain/lab/html.h"

namespace entrain::lab {
namespace {

const std::string kPlain = "plain", kHostile = "bags \"4\" & <script>alert(1)</script>", kStrange = "$x_{y}^2 `date` \\n λ 'q' @@1@@ %s";

// -- A judgement made by hand ------------------------------------------------------------------------------------------

Comparison comparison(const std::string& arm, const std::string& metric, double estimate, double half_width, Verdict verdict) {
  Comparison c;
  c.arm = arm;
  c.reference = kPlain;
  c.metric = metric;
  c.primary = metric == "loss";
  c.n_seeds = 5;
  c.n_units = 312;
  c.unit = "documents";
  c.difference = {estimate, estimate - half_width, estimate + half_width};
  c.t_test = statistics::PairedTTest{c.difference, half_width, estimate / half_width, 4, 0.0031};
  c.permutation_p = c.permutation_floor = 0.0625;
  c.rule_p = 0.0031;
  c.adjusted_p = 0.0062;
  c.equivalence_p = 0.41;
  c.detectable = 0.0123;
  c.seeds_needed = 7;
  c.verdict = verdict;
  return c;
}

ArmSummary arm(const std::string& name, double loss) {
  ArmSummary a;
  a.name = name;
  a.seeds = {1, 2, 3, 4, 5};
  a.n_parameters = 1234567;
  a.steps = 4800;
  a.raw_tokens = 39.3e6;
  a.unique_tokens = 12.1e6;
  a.flops = 1.62e13;
  a.seconds = 815;
  for (const auto& [metric, value] : {std::pair<const char*, double>{"loss", loss}, {"bits_per_byte", loss / 2.7}}) {
    a.metrics.push_back({metric, value, 0.0042, {value - 0.005, value - 0.002, value, value + 0.002, value + 0.005}});
  }
  a.tuned = {{"optimizer.lr", 0.002}, {"optimizer.weight_decay", 0.1}};
  a.sample = "In the beginning there was <b>text</b> & \xFF\xC3( bytes.";
  return a;
}

Band band(const std::string& name, const std::string& axis, double full, double floor) {
  Band b{name, axis, {}};
  for (int i = 1; i <= 60; ++i) {
    const double mean = floor + 4.2 * std::pow(i, -0.75);
    b.points.push_back({full * i / 60, mean, mean - 0.03, mean + 0.04});
  }
  return b;
}

Efficiency ladder() {
  Efficiency e;
  e.axis = "FLOPs";
  e.arms = {kPlain, kHostile, kStrange};
  for (size_t a = 0; a < 3; ++a) {
    for (const double share : {0.125, 0.25, 0.5, 1.0}) {
      if (a > 0 && share < 0.25) continue;
      for (int64_t seed = 1; seed <= 3; ++seed) {
        const double amount = 1.62e13 * share, factor = a == 0 ? 1 : a == 1 ? 1.6 : 0.9;
        e.points.push_back({a, amount, 2.1 + 900 * std::pow(amount * factor, -0.21) + 0.006 * static_cast<double>((seed * 7 + static_cast<int64_t>(a)) % 3 - 1), seed});
      }
    }
  }
  for (size_t a = 0; a < 3; ++a) e.ratios.push_back(a == 0 ? statistics::IsoLossRatio{} : statistics::iso_loss_ratio(e.points, 0, a, 200, stream(1, "ratio")));
  e.fit = statistics::bootstrap_joint(e.points, 3, 0, 40, stream(1, "fit"));
  return e;
}

Judgement full_judgement() {
  Judgement j;
  j.question = "Does training on bags of four tokens lower the loss at equal FLOPs?";
  j.plan_hash = "0123456789abcdef";
  j.frozen_at = "2026-01-02T03:04:05Z";
  j.first_result_at = "2026-01-02T03:40:00Z";
  j.match = "flops";
  j.split = "test";
  j.reference = kPlain;
  j.arms = {arm(kPlain, 4.1234), arm(kHostile, 4.0811), arm(kStrange, 4.1401)};
  j.arms[2].tuned_at_edge = true;
  j.comparisons = {comparison(kHostile, "loss", -0.0423, 0.0151, Verdict::kBetter), comparison(kStrange, "loss", 0.0167, 0.0192, Verdict::kUndecided),
                   comparison(kHostile, "bits_per_byte", -0.0157, 0.0056, Verdict::kBetter), comparison(kStrange, "bits_per_byte", 0.0062, 0.0071, Verdict::kUndecided)};
  for (const auto& [axis, full] : {std::pair<const char*, double>{"steps", 4800}, {"raw tokens", 39.3e6}, {"FLOPs", 1.62e13}, {"seconds", 815}}) {
    j.bands.push_back(band(kPlain, axis, full, 3.9));
    j.bands.push_back(band(kHostile, axis, full * 1.2, 3.84));
    j.bands.push_back(band(kStrange, axis, full, 3.92));
  }
  j.efficiency = {ladder()};
  j.decision = {kHostile + " is better than plain: 0.0423 nats per token lower (95 % interval 0.0272 to 0.0574), Holm p 0.0062.", kStrange + " is undecided against plain: the interval holds 0."};
  j.cautions = {kStrange + ": the tuned optimizer.lr is the last value of its grid; a better one may lie beyond.", "Five seeds a side: the permutation test cannot fall below 0.0625."};
  j.n_documents = 312;
  j.n_tokens = 1'204'224;
  return j;
}

std::vector<RunRow> some_runs() {
  std::vector<RunRow> runs;
  for (const std::string& name : {kPlain, kHostile, kStrange}) {
    for (int64_t seed = 1; seed <= 2; ++seed) {
      runs.push_back({name + "/seed-" + std::to_string(seed), name, "main", "done", seed, 1, 1.0, "", "2026-01-02T03:20:00Z", "2026-01-02T03:40:00Z", 4.1 + 0.01 * static_cast<double>(seed)});
    }
  }
  runs[3].state = "failed";
  runs[3].error = "a gradient is not finite at step 812: <blocks.3.mlp> & \"others\"";
  runs[4].state = "pending";
  runs[4].started_at = runs[4].finished_at = "";
  runs[5].state = "running";
  runs[5].share = 0.125;
  runs[1].state = "stopped";
  return runs;
}

ReportInput input_of(const Judgement& judgement) {
  return {judgement, some_runs(), "[lab]\nquestion = \"a < b & c\"\n", {"entrain lab run plan.toml --out 'out & more'", "entrain lab report out"}, "2 cores, 8 GB"};
}

bool has_gnuplot() { return std::system("gnuplot --version >/dev/null 2>&1") == 0; }

/// A folder of its own, kept where ENTRAIN_REPORT_OUT names one.
class ReportFolder {
 public:
  explicit ReportFolder(const std::string& name) {
    const char* keep = std::getenv("ENTRAIN_REPORT_OUT");
    kept_ = keep != nullptr;
    path_ = kept_ ? fs::path(keep) / name : fs::temp_directory_path() / ("entrain-report-" + name + "-" + std::to_string(::getpid()));
  }
  ~ReportFolder() {
    if (!kept_) fs::remove_all(path_);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  bool kept_ = false;
};

size_t count(const std::string& text, const std::string& what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

void expect_in_order(const std::string& page, const std::vector<std::string>& parts) {
  size_t last = 0;
  for (const std::string& part : parts) {
    const size_t at = page.find(part);
    ASSERT_NE(at, std::string::npos) << part;
    EXPECT_GT(at, last) << part;
    last = at;
  }
}

/// Every tag that is opened is closed, in order; void elements aside.
void expect_balanced(const std::string& page) {
  static const std::set<std::string> kVoid{"meta", "link", "br", "!doctype"};
  std::vector<std::string> open;
  for (size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const size_t end = page.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const bool closing = page[at + 1] == '/', empty = page[end - 1] == '/';
    size_t name_end = at + 1 + closing;
    while (std::isalnum(static_cast<unsigned char>(page[name_end])) || page[name_end] == '!') ++name_end;
    const std::string name = page.substr(at + 1 + closing, name_end - at - 1 - closing);
    if (kVoid.contains(name) || empty) continue;
    if (!closing) {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << page.substr(at, 80);
    ASSERT_EQ(open.back(), name) << page.substr(at, 80);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

/// Nothing that a browser would fetch or run; ids once each.
void expect_self_contained(const std::string& page) {
  for (const char* word : {"http", "src=", "xlink", "<script", "javascript:", "url(", "@import", "onload", "<title>gn", "<img", "<iframe"}) EXPECT_EQ(page.find(word), std::string::npos) << word;
  std::set<std::string> ids;
  for (size_t at = page.find(" id="); at != std::string::npos; at = page.find(" id=", at + 1)) {
    const char quote = page[at + 4];
    const std::string id = page.substr(at + 5, page.find(quote, at + 5) - at - 5);
    EXPECT_TRUE(ids.insert(id).second) << "id twice: " << id;
  }
}

// -- Text and numbers --------------------------------------------------------------------------------------------------

TEST(Html, EscapesAndRepairsText) {
  EXPECT_EQ(html_text("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;&#39;c");
  EXPECT_EQ(html_text("λ → 😀\n\t"), "λ → 😀\n\t");
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(html_text("\xFFx\xC3("), bad + "x" + bad + "(");
  EXPECT_EQ(html_text("\xC0\xAF"), bad + bad) << "overlong";
  EXPECT_EQ(html_text("\xED\xA0\x80"), bad + bad + bad) << "surrogate";
  EXPECT_EQ(html_text("\xF0\x9F\x98"), bad + bad + bad) << "cut short";
  EXPECT_EQ(html_text(std::string("\0\x01\x7F", 3)), bad + bad + bad);
}

TEST(Html, WritesNumbers) {
  EXPECT_EQ(html_number(-0.01234), "−0.0123");
  EXPECT_EQ(html_number(-0.00001), "0.0000");
  EXPECT_EQ(html_signed(0.01234), "+0.0123");
  EXPECT_EQ(html_signed(0.00001), "0.0000");
  EXPECT_EQ(html_signed(-INFINITY), "−∞");
  EXPECT_EQ(html_number(NAN), "–");
  EXPECT_EQ(html_p_value(0.03125), "0.0312");
  EXPECT_EQ(html_p_value(0), "&lt;\u202F0.0001");
  EXPECT_EQ(html_scientific(1.62e13), "1.6\u202F×\u202F10<sup>13</sup>");
  EXPECT_EQ(html_scientific(9.99e-5), "1.0\u202F×\u202F10<sup>−4</sup>");
  EXPECT_EQ(html_scientific(0), "–");
  EXPECT_EQ(html_amount(512), "512");
  EXPECT_EQ(html_amount(12400), "12,400");
  EXPECT_EQ(html_amount(1.25e6), "1.25\u202FM");
  EXPECT_EQ(html_amount(999999), "1.00\u202FM");
  EXPECT_EQ(html_duration(48), "48\u202Fs");
  EXPECT_EQ(html_duration(815), "13.6\u202Fmin");
  EXPECT_EQ(html_duration(7.2e4), "20.0\u202Fh");
}

// -- Figures -----------------------------------------------------------------------------------------------------------

TEST(Gnuplot, MakesSvgForAPage) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  Drawing drawing;
  drawing.id = "figure-1";
  drawing.label = "points \"of\" <b>";
  const std::string name = drawing.slot("<script>\"'$`\\ @@0@@");
  drawing.script = "set label 1 " + name + " at graph 0,0.5\nset border lc rgb \"" + std::string(kMuted) + "\"\nunset key\n$d << EOD\n1 2\n2 -3\nEOD\nplot $d w p pt 7 lc rgb \"" + arm_colour(1) + "\"\n";
  const std::string svg = draw(drawing, "gnuplot");
  EXPECT_TRUE(svg.starts_with("<svg class=\"plot\" id=\"figure-1\" role=\"img\" aria-label=\"points &quot;of&quot; &lt;b&gt;\""));
  EXPECT_NE(svg.find("&lt;script&gt;&quot;&#39;$`\\ @@0@@"), std::string::npos);
  EXPECT_NE(svg.find("var(--arm-2)"), std::string::npos);
  EXPECT_NE(svg.find("var(--muted)"), std::string::npos);
  EXPECT_NE(svg.find("−3"), std::string::npos);
  expect_balanced(svg);
  expect_self_contained(svg);
}

TEST(Gnuplot, SaysWhatIsMissing) {
  Drawing drawing;
  drawing.id = "none";
  drawing.script = "plot x\n";
  try {
    draw(drawing, "no-such-gnuplot");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kIo);
    EXPECT_NE(std::string(error.what()).find("no-such-gnuplot cannot be started"), std::string::npos) << error.what();
    EXPECT_NE(error.hint().find("gnuplot-nox"), std::string::npos);
  }
  if (!has_gnuplot()) return;
  drawing.script = "plot nonsense(\n";
  EXPECT_THROW(draw(drawing, "gnuplot"), Error);
  EXPECT_THROW(draw(drawing, "true"), Error) << "draws nothing";
}

TEST(Figure, DrawsDegenerateData) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  const FigureStyle style;
  for (const std::vector<Band::Point>& points : {std::vector<Band::Point>{}, {{0, 4, 4, 4}}, {{100, 4, 4, 4}}, {{1, NAN, NAN, NAN}, {2, 4, 4, 4}}, {{1, 4, 4, 4}, {2, 4, 4, 4}}}) {
    EXPECT_NO_THROW(expect_balanced(draw_bands({{kHostile, "steps", points}}, "b", style)));
  }
  Comparison flat = comparison(kHostile, "loss", 0, 0, Verdict::kUndecided), open = comparison(kStrange, "loss", 0.1, INFINITY, Verdict::kUndecided);
  EXPECT_NO_THROW(expect_balanced(draw_forest({flat}, "f", style)));
  EXPECT_NO_THROW(expect_balanced(draw_forest({open}, "f", style)));
  Efficiency few;
  few.axis = "raw tokens";
  few.arms = {kPlain, kHostile};
  few.points = {{0, 100, 4, 1}, {1, 100, 4, 1}};
  few.ratios.resize(2);
  few.fit = statistics::bootstrap_joint(few.points, 2, 0, 10, stream(1, "fit"));
  EXPECT_NO_THROW(expect_balanced(draw_scaling(few, "s", style)));
}

// -- The page ----------------------------------------------------------------------------------------------------------

TEST(Report, WholePageStandsAlone) {
  const Judgement judgement = full_judgement();
  const ReportFolder folder("whole");
  write_report(input_of(judgement), folder.path());
  const std::string page = read_file(folder.path() / "index.html");
  expect_balanced(page);
  expect_self_contained(page);
  EXPECT_EQ(count(page, "<h1>"), 1u);
  EXPECT_EQ(count(page, "<table>"), count(page, "<caption "));
  expect_in_order(page, {"<h1>Does training", "id=\"decision\"", "is better than plain", "id=\"cautions\"", "id=\"arms\"", "id=\"outcome-caption\"", "id=\"costs-caption\"", "id=\"primary\"", "0123456789abcdef",
                         "id=\"primary-caption\"", "id=\"exploratory\"", "id=\"exploratory-caption\"", "id=\"curves\"", "id=\"scaling\"", "id=\"ratio-caption-1\"", "id=\"fit-caption-1\"", "id=\"runs\"", "id=\"samples\"",
                         "id=\"again\"", "&#39;out &amp; more&#39;", "question = &quot;a &lt; b &amp; c&quot;"});
  for (const char* part : {"bags &quot;4&quot; &amp; &lt;script&gt;", "$x_{y}^2 `date` \\n λ &#39;q&#39; @@1@@ %s", "−0.0423", "+0.0167", "1.6\u202F×\u202F10<sup>13</sup>", "at the edge of its grid", "2026-01-02 03:04:05 UTC",
                           "<dd class=\"better\">yes</dd>", "declared before the first result", ">exploratory<", "floor 0.0625", "&lt;b&gt;text&lt;/b&gt; &amp; \xEF\xBF\xBD\xEF\xBF\xBD( bytes", "state-failed",
                           "a gradient is not finite at step 812: &lt;blocks.3.mlp&gt;", "6 runs: 2 done, 1 running, 1 stopped, 1 pending, 1 failed.", "viewport", "312 documents"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
  if (has_gnuplot()) {
    EXPECT_EQ(count(page, "<svg "), 1u + 4u + 1u);
    EXPECT_EQ(page.find("This figure is missing"), std::string::npos);
  }
}

TEST(Report, ShowsTheMethodsFiguresAndAlarms) {
  Judgement judgement = full_judgement();
  EXPECT_EQ(to_html(input_of(judgement)).find("id=\"methods\""), std::string::npos) << "no arm has a method";
  judgement.arms[1].figures = {{"entanglement.2.mean_cosine", 0.25}, {"entanglement.2.gate_rate", 0.4375}};
  judgement.arms[1].alarms = {{"block 2: the projected tokens <collapsed>", 1}};
  judgement.arms[2].figures = {{"entanglement.2.mean_cosine", -0.5}};
  judgement.arms[2].alarms = {{"block 2: the estimates are off", 4}};
  const std::string page = to_html(input_of(judgement));
  expect_balanced(page);
  ASSERT_NE(page.find("id=\"methods\""), std::string::npos);
  expect_in_order(page.substr(page.find("id=\"methods\"")), {"entanglement.2.gate_rate", "0.4375", "entanglement.2.mean_cosine", "0.25", "−0.5", "Alarms:", ", 1 run: block 2: the projected tokens &lt;collapsed&gt;",
                         ", 4 runs: block 2: the estimates are off"});
}

TEST(Report, SaysThatFiguresAreMissing) {
  const Judgement judgement = full_judgement();
  ReportInput input = input_of(judgement);
  input.gnuplot = "no-such-gnuplot";
  const std::string page = to_html(input);
  EXPECT_EQ(count(page, "<svg "), 0u);
  EXPECT_EQ(count(page, "This figure is missing: no-such-gnuplot cannot be started"), 6u);
  EXPECT_NE(page.find("gnuplot-nox"), std::string::npos);
  expect_balanced(page);
}

TEST(Report, OneSeedWithoutLadder) {
  Judgement judgement = full_judgement();
  judgement.efficiency.clear();
  judgement.comparisons.resize(2);
  for (Comparison& c : judgement.comparisons) {
    c.n_seeds = 1;
    c.t_test.reset();
    c.equivalence_p.reset();
    c.permutation_p = c.permutation_floor = c.adjusted_p = c.rule_p = 1;
    c.detectable = 0;
    c.seeds_needed = 0;
    c.verdict = Verdict::kUndecided;
  }
  for (ArmSummary& a : judgement.arms) {
    a.seeds = {1};
    a.sample.clear();
    for (ArmMetric& m : a.metrics) m.sd = 0, m.by_seed = {m.mean};
  }
  judgement.first_result_at = "2026-01-01T00:00:00Z";
  judgement.comparisons[1].n_seeds = 0;
  judgement.comparisons[1].primary = false;
  const ReportFolder folder("one-seed");
  write_report(input_of(judgement), folder.path());
  const std::string page = read_file(folder.path() / "index.html");
  expect_balanced(page);
  expect_self_contained(page);
  for (const char* absent : {"id=\"scaling\"", "id=\"samples\"", "declared\">declared before"}) EXPECT_EQ(page.find(absent), std::string::npos) << absent;
  EXPECT_NE(page.find("no: a result existed when the plan was frozen"), std::string::npos);
  EXPECT_NE(page.find("1 seed<"), std::string::npos);
  EXPECT_EQ(page.find("+0.0167"), std::string::npos) << "a difference without a pair of seeds";
  EXPECT_NE(page.find("is undecided against plain: the interval holds 0. <span class=\"tag exploratory\">exploratory</span></li>"), std::string::npos);
}

TEST(Report, NothingFinished) {
  Judgement judgement;
  judgement.match = "raw_tokens";
  const ReportFolder folder("nothing");
  write_report({judgement, {}, "", {}, ""}, folder.path());
  const std::string page = read_file(folder.path() / "index.html");
  expect_balanced(page);
  expect_self_contained(page);
  EXPECT_NE(page.find("<h1>Comparison at equal raw tokens</h1>"), std::string::npos);
  EXPECT_NE(page.find("Nothing can be decided yet"), std::string::npos);
  EXPECT_NE(page.find("the plan was never frozen"), std::string::npos);
}

TEST(Report, MarksWhatCannotBeIdentified) {
  Judgement judgement = full_judgement();
  Efficiency& e = judgement.efficiency.front();
  std::erase_if(e.points, [](const statistics::ScalingPoint& p) { return p.amount < 1e13 || (p.arm > 0 && p.amount < 1.6e13); });
  for (size_t a = 1; a < 3; ++a) e.ratios[a] = statistics::iso_loss_ratio(e.points, 0, a, 50, stream(1, "ratio"));
  e.fit = statistics::bootstrap_joint(e.points, 3, 0, 10, stream(1, "fit"));
  const std::string page = to_html(input_of(judgement));
  EXPECT_NE(page.find("Not identifiable</span>: no arm has runs at three amounts"), std::string::npos);
  EXPECT_NE(page.find("not identifiable</span>: the reference has too few amounts"), std::string::npos);
  EXPECT_EQ(page.find("id=\"fit-caption-1\""), std::string::npos);
}

}  // namespace
}  // namespace entrain::lab
