#include "entrain/lab/report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "entrain/base/error.h"
#include "entrain/lab/figure.h"
#include "entrain/lab/gnuplot.h"
#include "entrain/lab/html.h"
#include "entrain/lab/report_style.h"

namespace entrain::lab {
namespace {

using Cells = std::vector<std::string>;
constexpr const char* kNone = "\xE2\x80\x93";

// -- Pieces ----------------------------------------------------------------------------------------------------------

/// A name from outside: escaped, and its writing direction kept to itself.
std::string name_html(const std::string& name) { return "<bdi>" + html_text(name) + "</bdi>"; }

std::string or_none(const std::string& text) { return text.empty() ? kNone : html_text(text); }

/// A table that scrolls in a box of its own. Columns: title and class of the cells; the first heads its row.
class Table {
 public:
  Table(std::string id, const std::string& caption, const std::vector<std::pair<std::string, std::string>>& columns) : id_(std::move(id)) {
    html_ = "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"" + id_ + "\">\n<table>\n<caption id=\"" + id_ + "\"><span>" + caption + "</span></caption>\n<thead><tr>";
    for (const auto& [title, style] : columns) {
      html_ += "<th scope=\"col\" class=\"" + style + "\">" + title + "</th>";
      styles_.push_back(style);
    }
    html_ += "</tr></thead>\n<tbody>\n";
  }

  void row(const Cells& cells) {
    ENTRAIN_CHECK(cells.size() == styles_.size(), id_ + ": " + std::to_string(cells.size()) + " cells");
    html_ += "<tr><th scope=\"row\">" + cells.front() + "</th>";
    for (size_t i = 1; i < cells.size(); ++i) html_ += "<td class=\"" + styles_[i] + "\">" + cells[i] + "</td>";
    html_ += "</tr>\n";
  }

  std::string html() const { return html_ + "</tbody>\n</table>\n</div>\n"; }

 private:
  std::string id_, html_;
  std::vector<std::string> styles_;
};

std::string verdict_class(Verdict verdict) {
  switch (verdict) {
    case Verdict::kBetter: return "better";
    case Verdict::kWorse: return "worse";
    case Verdict::kEquivalent: return "equivalent";
    case Verdict::kUndecided: return "undecided";
  }
  return "";
}

std::string verdict_html(Verdict verdict) { return "<span class=\"verdict " + verdict_class(verdict) + "\">" + html_text(to_string(verdict)) + "</span>"; }

std::string interval_html(const statistics::Interval& interval, const std::function<std::string(double)>& number) {
  return number(interval.estimate) + "<span class=\"range\">" + number(interval.low) + " to " + number(interval.high) + "</span>";
}

std::string difference_html(const statistics::Interval& interval) {
  return interval_html(interval, [](double value) { return html_signed(value); });
}

std::string ratio_html(const statistics::Interval& interval) {
  return interval_html(interval, [](double value) { return html_number(value, 2) + "\xC3\x97"; });
}

/// "loss" with its unit and which way is better.
std::string metric_html(const std::string& metric) {
  std::string unit = metric == "loss" ? "nats per token, " : metric == "bits_per_byte" ? "bits, " : "";
  try {
    unit += direction(metric) < 0 ? "lower is better" : "higher is better";
  } catch (const Error&) {  // a metric of another version of the program
    if (!unit.empty()) unit.resize(unit.size() - 2);
  }
  return "<bdi>" + html_text(metric) + "</bdi>" + (unit.empty() ? "" : "<span class=\"range\">" + unit + "</span>");
}

std::string percent(double share) { return html_number(100 * share, std::abs(100 * share - std::round(100 * share)) < 1e-9 ? 0 : 1) + "\xE2\x80\xAF%"; }

std::string match_words(const std::string& match) {
  if (match == "flops") return "FLOPs";
  if (match == "raw_tokens") return "raw tokens";
  if (match == "unique_tokens") return "unique tokens";
  return match;
}

/// "2026-11-23T09:23:19Z" for people.
std::string time_html(const std::string& time) {
  if (time.empty()) return kNone;
  std::string shown = time;
  if (shown.size() >= 19 && shown[10] == 'T') shown = shown.substr(0, 10) + " " + shown.substr(11, 8) + (shown.ends_with("Z") ? " UTC" : shown.substr(19));
  return "<time datetime=\"" + html_text(time) + "\">" + html_text(shown) + "</time>";
}

/// Was the plan fixed before anything was known?
enum class Frozen { kBefore, kAfter, kNoResult, kNever };

Frozen frozen(const Judgement& j) {
  if (j.frozen_at.empty()) return Frozen::kNever;
  if (j.first_result_at.empty()) return Frozen::kNoResult;
  return j.frozen_at <= j.first_result_at ? Frozen::kBefore : Frozen::kAfter;  // both UTC in one form, which sorts as text
}

const ArmMetric* find_metric(const Judgement& j, const std::string& arm, const std::string& metric) {
  for (const ArmSummary& a : j.arms) {
    if (a.name != arm) continue;
    for (const ArmMetric& m : a.metrics) {
      if (m.metric == metric) return &m;
    }
  }
  return nullptr;
}

std::string mean_html(const ArmMetric* metric) { return metric ? html_number(metric->mean) : kNone; }

// -- The page, part by part --------------------------------------------------------------------------------------------

class Page {
 public:
  explicit Page(const ReportInput& input) : input_(input), judgement_(input.judgement), interval_(percent(input.confidence) + " interval") {
    style_.gnuplot = input.gnuplot;
    for (const ArmSummary& arm : judgement_.arms) add_colour(arm.name);
    for (const Band& band : judgement_.bands) add_colour(band.arm);
    for (const Efficiency& efficiency : judgement_.efficiency) {
      for (const std::string& arm : efficiency.arms) add_colour(arm);
    }
  }

  std::string html() {
    const std::string title = judgement_.question.empty() ? "Comparison at equal " + match_words(judgement_.match) : judgement_.question;
    std::string body;  // one by one: each adds its line to the contents
    for (const auto part : {&Page::decision, &Page::cautions, &Page::arms, &Page::primary, &Page::exploratory, &Page::curves, &Page::methods, &Page::scaling, &Page::runs, &Page::samples, &Page::reproduction}) body += (this->*part)();
    return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
           "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>" + html_text(title) + "</title>\n<style>" + kReportStyle +
           "</style>\n</head>\n<body>\n<div class=\"page\">\n<header>\n<p class=\"kicker\">Entrain lab report</p>\n<h1>" + html_text(title) + "</h1>\n" + contents() +
           "</header>\n<main>\n" + body + "</main>\n<footer>This page is complete in itself: it loads nothing and runs no script.</footer>\n</div>\n</body>\n</html>\n";
  }

 private:
  void add_colour(const std::string& arm) { style_.colours.try_emplace(arm, style_.colours.size()); }

  std::string section(const std::string& id, const std::string& title, const std::string& content, const std::string& tag = "") {
    contents_.push_back({id, title});
    return "<section id=\"" + id + "\" aria-labelledby=\"" + id + "-title\">\n<h2 id=\"" + id + "-title\">" + title + (tag.empty() ? "" : " " + tag) + "</h2>\n" + content + "</section>\n";
  }

  std::string contents() const {
    std::string list;
    for (const auto& [id, title] : contents_) list += "<li><a href=\"#" + id + "\">" + title + "</a></li>";
    return "<nav aria-label=\"Contents\"><ul>" + list + "</ul></nav>\n";
  }

  std::string key(const std::string& arm) const {
    const auto found = style_.colours.find(arm);
    return found == style_.colours.end() ? "" : "<i class=\"key\" style=\"background:" + arm_css_colour(found->second) + "\"></i>";
  }

  std::string legend(const std::vector<std::string>& arms) const {
    std::string list;
    for (const std::string& arm : arms) list += "<li>" + key(arm) + name_html(arm) + "</li>";
    return "<ul class=\"legend\" aria-label=\"Colours of the arms\">" + list + "</ul>\n";
  }

  /// A figure, or the reason why there is none.
  template <typename Draw>
  std::string figure(const Draw& draw) const {
    try {
      return draw() + "\n";
    } catch (const Error& error) {
      return "<p class=\"missing\">This figure is missing: " + html_text(error.what()) + ". To get it, " + html_text(error.hint()) + ".</p>\n";
    }
  }

  std::string decision() {
    const Judgement& j = judgement_;
    std::string sentences;
    for (size_t i = 0; i < j.decision.size(); ++i) sentences += sentence_html(i);
    if (sentences.empty()) sentences = "<li>Nothing can be decided yet: no arm beside the reference has finished its runs.</li>\n";
    size_t n_seeds = 0;
    for (const ArmSummary& arm : j.arms) n_seeds = std::max(n_seeds, arm.seeds.size());
    const auto fact = [](const std::string& term, const std::string& value) { return "<div><dt>" + term + "</dt><dd>" + value + "</dd></div>\n"; };
    std::string facts = fact("Reference", j.reference.empty() ? kNone : name_html(j.reference)) + fact("Held equal", html_text(match_words(j.match))) +
                        fact("Seeds", std::to_string(n_seeds)) + fact("Held-out text", html_text(j.split) + ": " + html_amount(static_cast<double>(j.n_tokens)) + " tokens in " +
                        html_amount(static_cast<double>(j.n_documents)) + " documents");
    if (!input_.machine.empty()) facts += fact("Machine", html_text(input_.machine));
    return "<section id=\"decision\" aria-labelledby=\"decision-title\">\n<h2 class=\"first\" id=\"decision-title\">Decision</h2>\n<ul class=\"decision\">\n" + sentences + "</ul>\n<dl class=\"facts\">\n" +
           facts + "</dl>\n</section>\n";
  }

  /// Comparisons in each metric come in one order: declared pairs, then others. So do the sentences, which are about one primary metric;
  /// their verdicts are known where there is but one.
  std::string sentence_html(size_t index) const {
    const std::vector<std::string> names = metrics(true);
    std::vector<const Comparison*> pairs;
    for (const Comparison& c : judgement_.comparisons) {
      if (!names.empty() && c.metric == names.front()) pairs.push_back(&c);
    }
    const bool matched = pairs.size() == judgement_.decision.size();
    const std::string style = matched && names.size() == 1 ? verdict_class(pairs[index]->verdict) : "undecided";
    const std::string tag = matched && !pairs[index]->primary ? " <span class=\"tag exploratory\">exploratory</span>" : "";
    return "<li class=\"" + style + "\">" + html_text(judgement_.decision[index]) + tag + "</li>\n";
  }

  std::string cautions() {
    std::string list;
    for (const std::string& caution : judgement_.cautions) list += "<li>" + html_text(caution) + "</li>\n";
    return "<section id=\"cautions\" class=\"cautions\" aria-labelledby=\"cautions-title\">\n<h2 id=\"cautions-title\">Cautions</h2>\n" +
           (list.empty() ? "<p>None beyond the usual: the intervals speak of this text and these recipes.</p>\n" : "<ul>\n" + list + "</ul>\n") + "</section>\n";
  }

  std::vector<std::string> metrics(bool primary) const {
    std::vector<std::string> names;
    for (const Comparison& c : judgement_.comparisons) {
      if (c.primary == primary && std::find(names.begin(), names.end(), c.metric) == names.end()) names.push_back(c.metric);
    }
    return names;
  }

  std::string arms() {
    const Judgement& j = judgement_;
    if (j.arms.empty()) return section("arms", "Arms", "<p>No arm has a finished run.</p>\n");
    Table outcome("outcome-caption", "What each arm reached: mean and standard deviation over seeds, and the difference against the reference with its " + interval_ + ".",
                  {{"Arm", ""}, {"Metric", "text"}, {"Mean", "number"}, {"SD over seeds", "number"}, {"Seeds", "number"}, {"Against the reference", "number"}, {"Adjusted p", "number"}, {"Verdict", ""}});
    for (const ArmSummary& arm : j.arms) {
      for (const ArmMetric& m : arm.metrics) {
        const bool declared_first = is_primary(m.metric);
        if (!declared_first && !metrics(true).empty()) continue;  // those of the others stand with the exploratory comparisons
        Cells cells{key(arm.name) + name_html(arm.name), metric_html(m.metric), html_number(m.mean), m.by_seed.size() > 1 ? html_number(m.sd) : kNone, std::to_string(m.by_seed.size())};
        const auto found = std::find_if(j.comparisons.begin(), j.comparisons.end(), [&](const Comparison& c) { return c.arm == arm.name && c.metric == m.metric && c.reference == j.reference; });
        if (found != j.comparisons.end() && found->n_seeds > 0) {
          cells.insert(cells.end(), {difference_html(found->difference), html_p_value(found->adjusted_p), verdict_html(found->verdict)});
        } else {
          cells.insert(cells.end(), {arm.name == j.reference ? "reference" : kNone, kNone, kNone});
        }
        outcome.row(cells);
      }
      if (arm.metrics.empty()) outcome.row({key(arm.name) + name_html(arm.name), kNone, kNone, kNone, "0", kNone, kNone, kNone});
    }
    return section("arms", "Arms", outcome.html() + costs() + by_seed());
  }

  bool is_primary(const std::string& metric) const {
    return std::any_of(judgement_.comparisons.begin(), judgement_.comparisons.end(), [&](const Comparison& c) { return c.primary && c.metric == metric; });
  }

  std::string costs() const {
    Table table("costs-caption", "What each arm cost, as the mean over its seeds, and the values that tuning chose for it.",
                {{"Arm", ""}, {"Parameters", "number"}, {"Steps", "number"}, {"Raw tokens", "number"}, {"Unique tokens", "number"}, {"FLOPs", "number"}, {"Time", "number"}, {"Tuned values", "text"}});
    for (const ArmSummary& arm : judgement_.arms) {
      std::string tuned = arm.tuned.empty() ? "not tuned" : html_text(to_text(arm.tuned));
      if (arm.tuned_at_edge) tuned += " <span class=\"edge\">at the edge of its grid</span>";
      const std::string memory = arm.n_memory_parameters > 0 ? "<span class=\"range\">+ " + html_amount(static_cast<double>(arm.n_memory_parameters)) + " in tables</span>" : "";
      table.row({key(arm.name) + name_html(arm.name), html_amount(static_cast<double>(arm.n_parameters)) + memory, html_amount(std::round(arm.steps)), html_amount(arm.raw_tokens), html_amount(arm.unique_tokens),
                 html_scientific(arm.flops), html_duration(arm.seconds), tuned});
    }
    return table.html();
  }

  std::string by_seed() const {
    std::set<int64_t> seeds;
    for (const ArmSummary& arm : judgement_.arms) seeds.insert(arm.seeds.begin(), arm.seeds.end());
    if (seeds.empty()) return "";
    std::vector<std::pair<std::string, std::string>> columns{{"Arm", ""}, {"Metric", "text"}};
    for (const int64_t seed : seeds) columns.push_back({"Seed " + std::to_string(seed), "number"});
    Table table("seeds-caption", "Every seed's value.", columns);
    for (const ArmSummary& arm : judgement_.arms) {
      for (const ArmMetric& m : arm.metrics) {
        std::map<int64_t, double> values;
        for (size_t i = 0; i < arm.seeds.size() && m.by_seed.size() == arm.seeds.size(); ++i) values[arm.seeds[i]] = m.by_seed[i];
        Cells cells{key(arm.name) + name_html(arm.name), name_html(m.metric)};
        for (const int64_t seed : seeds) cells.push_back(values.contains(seed) ? html_number(values[seed]) : kNone);
        table.row(cells);
      }
    }
    return "<details>\n<summary>Every seed's value</summary>\n" + table.html() + "</details>\n";
  }

  std::string provenance() const {
    const Judgement& j = judgement_;
    const Frozen when = frozen(j);
    const char* words = when == Frozen::kBefore ? "yes" : when == Frozen::kAfter ? "no: a result existed when the plan was frozen" : when == Frozen::kNoResult ? "there is no result yet" : "the plan was never frozen";
    return std::string("<dl class=\"facts\">\n<div><dt>Plan</dt><dd><code>") + or_none(j.plan_hash) + "</code></dd></div>\n<div><dt>Frozen at</dt><dd>" + time_html(j.frozen_at) +
           "</dd></div>\n<div><dt>First result at</dt><dd>" + time_html(j.first_result_at) + "</dd></div>\n<div><dt>Frozen before the first result</dt><dd class=\"" +
           (when == Frozen::kBefore ? "better" : when == Frozen::kNoResult ? "" : "worse") + "\">" + words + "</dd></div>\n</dl>\n";
  }

  std::string comparison_table(const std::string& id, const std::string& caption, bool primary, const std::string& adjusted) const {
    Table table(id, caption, {{"Arm", ""}, {"Metric", "text"}, {"Difference, nested bootstrap", "number"}, {adjusted, "number"}, {"Verdict", ""}, {"Plan's rule, p", "number"}, {"Paired t&#8209;test, p", "number"},
                              {"Permutation, p", "number"}, {"Equivalence (TOST), p", "number"}, {"Smallest detectable effect", "number"}, {"Seeds needed", "number"}, {"Evidence", "text"}, {"Mean, and the reference's", "number"}});
    for (const Comparison& c : judgement_.comparisons) {
      if (c.primary != primary) continue;
      table.row({key(c.arm) + name_html(c.arm) + "<span class=\"range\">against " + name_html(c.reference) + "</span>",
                 metric_html(c.metric),
                 c.n_seeds == 0 ? kNone : difference_html(c.difference),
                 html_p_value(c.adjusted_p),
                 verdict_html(c.verdict),
                 html_p_value(c.rule_p),
                 c.t_test ? html_p_value(c.t_test->p) : kNone,
                 html_p_value(c.permutation_p) + "<span class=\"range\">floor " + html_p_value(c.permutation_floor) + "</span>",
                 c.equivalence_p ? html_p_value(*c.equivalence_p) : kNone,
                 c.detectable > 0 ? html_number(c.detectable) : kNone,
                 c.seeds_needed > 0 ? html_amount(static_cast<double>(c.seeds_needed)) : kNone,
                 std::to_string(c.n_seeds) + (c.n_seeds == 1 ? " seed" : " seeds") + "<span class=\"range\">" + html_amount(static_cast<double>(c.n_units)) + " " + html_text(c.unit) + "</span>",
                 mean_html(find_metric(judgement_, c.arm, c.metric)) + "<span class=\"range\">" + mean_html(find_metric(judgement_, c.reference, c.metric)) + "</span>"});
    }
    return table.html();
  }

  std::string primary() {
    const Frozen when = frozen(judgement_);
    const std::string tag = when == Frozen::kBefore || when == Frozen::kNoResult ? "<span class=\"tag declared\">declared before the first result</span>" : "<span class=\"tag exploratory\">not declared before the first result</span>";
    std::string content = provenance();
    const std::vector<std::string> names = metrics(true);
    if (names.empty()) return section("primary", "Primary comparisons", content + "<p>No primary metric could be compared yet.</p>\n", tag);
    std::string forests;
    for (size_t i = 0; i < names.size(); ++i) {
      std::vector<Comparison> rows;
      for (const Comparison& c : judgement_.comparisons) {
        if (c.primary && c.metric == names[i] && c.n_seeds > 0) rows.push_back(c);
      }
      if (!rows.empty()) forests += figure([&] { return draw_forest(rows, "forest-" + std::to_string(i + 1), style_); });
    }
    if (!forests.empty()) {
      content += "<figure>\n" + forests + "<figcaption>Differences against the reference with their " + interval_ + "s. An interval that holds the line at 0 leaves the sign open.</figcaption>\n</figure>\n";
    }
    content += comparison_table("primary-caption", "Primary comparisons: arm minus reference with the " + interval_ + ". Holm's correction covers every row of this table.", true, "Holm, p") +
               "<p class=\"note\">The nested bootstrap draws seeds and, the same for all of them, the units under Evidence. The t-test and the permutation test see the seeds alone. A permutation p cannot be lower than its floor, "
               "which the number of seeds sets.</p>\n";
    return section("primary", "Primary comparisons", content, tag);
  }

  std::string exploratory() {
    if (metrics(false).empty()) return "";
    return section("exploratory", "Exploratory comparisons",
                   "<p>These were not declared as primary. They may suggest the next experiment; they decide nothing in this one.</p>\n" +
                       comparison_table("exploratory-caption", "Exploratory comparisons: arm minus reference with the " + interval_ + ". Benjamini and Hochberg's correction covers every row of this table.", false,
                                        "Benjamini\xE2\x80\x93Hochberg, p"),
                   "<span class=\"tag exploratory\">exploratory</span>");
  }

  std::string curves() {
    std::vector<std::string> axes, arms;
    for (const Band& band : judgement_.bands) {
      if (std::find(axes.begin(), axes.end(), band.axis) == axes.end()) axes.push_back(band.axis);
      if (std::find(arms.begin(), arms.end(), band.arm) == arms.end()) arms.push_back(band.arm);
    }
    if (axes.empty()) return section("curves", "Loss curves", "<p>No run has validated during training.</p>\n");
    std::string panels;
    for (size_t i = 0; i < axes.size(); ++i) {
      std::vector<Band> bands;
      std::copy_if(judgement_.bands.begin(), judgement_.bands.end(), std::back_inserter(bands), [&](const Band& band) { return band.axis == axes[i]; });
      panels += "<div>\n<h3>Against " + html_text(axes[i]) + "</h3>\n" + figure([&] { return draw_bands(bands, "curve-" + std::to_string(i + 1), style_); }) + "</div>\n";
    }
    return section("curves", "Loss curves", "<figure>\n" + legend(arms) + "<div class=\"panels\">\n" + panels +
                                                "</div>\n<figcaption>Loss on the validation text during training: the line is the mean over seeds, the band reaches from the lowest to the highest seed. The steep start may lie "
                                                "outside. Before the end of their learning-rate decay, runs look worse than runs of that length would.</figcaption>\n</figure>\n");
  }

  /// The methods' own figures, a row each, with the alarms they raised.
  std::string methods() {
    std::set<std::string> names;
    std::vector<std::pair<std::string, std::string>> columns{{"Figure", ""}};
    std::string alarms;
    for (const ArmSummary& arm : judgement_.arms) {
      columns.emplace_back(name_html(arm.name), "number");
      for (const auto& [name, value] : arm.figures) names.insert(name);
      for (const auto& [alarm, n_runs] : arm.alarms) alarms += "<li>" + key(arm.name) + name_html(arm.name) + ", " + std::to_string(n_runs) + (n_runs == 1 ? " run: " : " runs: ") + html_text(alarm) + "</li>\n";
    }
    if (names.empty()) return "";
    Table table("methods-caption", "What the methods showed at the end of training, means over seeds.", columns);
    for (const std::string& name : names) {
      std::vector<std::string> row{html_text(name)};
      for (const ArmSummary& arm : judgement_.arms) row.push_back(arm.figures.contains(name) ? html_number(arm.figures.at(name)) : kNone);
      table.row(row);
    }
    return section("methods", "What the methods showed", table.html() + (alarms.empty() ? "" : "<p>Alarms:</p>\n<ul>\n" + alarms + "</ul>\n"));
  }

  std::string scaling() {
    if (judgement_.efficiency.empty()) return "";
    std::string content;
    for (size_t i = 0; i < judgement_.efficiency.size(); ++i) content += scaling_of(judgement_.efficiency[i], std::to_string(i + 1));
    return section("scaling", "Data efficiency", content);
  }

  std::string scaling_of(const Efficiency& e, const std::string& number) const {
    const std::string axis = html_text(e.axis);
    std::string content = "<h3>Along " + axis + "</h3>\n<figure>\n" + legend(e.arms) + figure([&] { return draw_scaling(e, "scaling-" + number, style_); }) +
                          "<figcaption>Every fully decayed run. " +
                          (has_fit(e) ? "Lines are the joint power law; dashed where no run of that arm was, so extrapolated." : "Lines join the means; no law could be fitted.") + "</figcaption>\n</figure>\n";
    Table table("ratio-caption-" + number, "How much the reference needs for the loss an arm reached, as a multiple of what the arm spent, with the " + interval_ + ": above 1 the arm needs less.",
                {{"Arm", ""}, {"Spent, " + axis, "number"}, {"Mean loss", "number"}, {"Reference needs", "number"}, {"How", "text"}});
    size_t n_rows = 0;
    for (size_t i = 0; i < e.arms.size() && i < e.ratios.size(); ++i) {
      const std::string& arm = e.arms[i];
      const statistics::IsoLossRatio& ratio = e.ratios[i];
      for (const statistics::IsoLossRung& rung : ratio.rungs) {
        const bool known = rung.kind != statistics::AmountForLoss::Kind::kUnknown;
        table.row({key(arm) + name_html(arm), html_amount(rung.amount), html_number(rung.loss), known ? ratio_html(rung.ratio) : "not known", how(rung) + (ratio.single_runs ? single_runs_note() : "")});
        ++n_rows;
      }
    }
    if (n_rows > 0) content += table.html();
    return content + fit_html(e, number);
  }

  static std::string range(const statistics::Interval& interval) { return html_number(interval.estimate) + " (" + html_number(interval.low) + " to " + html_number(interval.high) + ")"; }

  static bool has_fit(const Efficiency& e) { return !e.fit.fit.coefficients.empty() && e.fit.fit.problem != statistics::JointFit::Problem::kTooFewAmounts; }

  static std::string single_runs_note() { return "<span class=\"range\">one run at some amounts: too narrow</span>"; }

  static std::string how(const statistics::IsoLossRung& rung) {
    using Kind = statistics::AmountForLoss::Kind;
    std::string words;
    switch (rung.kind) {
      case Kind::kInterpolated: words = "between measured amounts"; break;
      case Kind::kExtrapolated: words = "<span class=\"edge\">extrapolated</span> beyond the reference's largest amount"; break;
      case Kind::kBelowLadder: words = "<span class=\"edge\">upper bound</span>: worse than the reference at its smallest amount"; break;
      case Kind::kUnknown: words = "<span class=\"edge\">not identifiable</span>: the reference has too few amounts"; break;
    }
    if (rung.kind == Kind::kInterpolated && rung.share_extrapolated > 0.025) words += ", " + percent(std::round(100 * rung.share_extrapolated) / 100) + " of the resamples <span class=\"edge\">extrapolated</span>";
    return words;
  }

  static const char* problem_words(statistics::JointFit::Problem problem) {
    using Problem = statistics::JointFit::Problem;
    switch (problem) {
      case Problem::kNone: return "";
      case Problem::kTooFewAmounts: return "no arm has runs at three amounts or more";
      case Problem::kNoFall: return "some arm's loss does not fall with the amount";
      case Problem::kBetaAtBound: return "the exponent runs against its bound";
      case Problem::kIrreducibleAtZero: return "the runs do not bend enough to tell the irreducible loss from the exponent";
    }
    return "";
  }

  std::string fit_html(const Efficiency& e, const std::string& number) const {
    const statistics::JointFit& fit = e.fit.fit;
    const std::string mark = fit.identified() ? "" : "<p><span class=\"edge\">Not identifiable</span>: " + std::string(problem_words(fit.problem)) + ". Read nothing into these parameters beyond the measured amounts.</p>\n";
    if (!has_fit(e)) return mark;
    Table table("fit-caption-" + number, "Joint power law: loss = E + B &middot; amount<sup>\xE2\x88\x92\xCE\xB2</sup> with E and \xCE\xB2 shared by all arms. An arm's multiplier says what its " + html_text(e.axis) + " are worth in the reference's.",
                {{"Arm", ""}, {"Multiplier", "number"}, {"B", "number"}});
    for (size_t arm = 0; arm < e.arms.size() && arm < fit.coefficients.size(); ++arm) {
      std::string multiplier = arm == e.reference ? "1 (reference)" : kNone;
      if (arm != e.reference && arm < e.fit.multipliers.size()) {
        multiplier = fit.coefficients[arm] > 0 ? ratio_html(e.fit.multipliers[arm]) : "<span class=\"edge\">not identifiable</span>";
      }
      table.row({key(e.arms[arm]) + name_html(e.arms[arm]), multiplier, html_scientific(fit.coefficients[arm])});
    }
    std::string note = "<p class=\"note\">E " + range(e.fit.irreducible) + " nats per token, \xCE\xB2 " + range(e.fit.beta) + ". Root mean square of the residuals: " + html_number(fit.rmse) + " nats per token.";
    if (e.fit.share_unidentified > 0) note += " " + percent(std::round(1000 * e.fit.share_unidentified) / 1000) + " of the resampled fits are not identifiable.";
    if (e.fit.single_runs) note += " Some amounts have one run only: these intervals are too narrow.";
    return mark + table.html() + note + "</p>\n";
  }

  std::string runs() {
    std::map<std::string, int> counts;
    for (const RunRow& run : input_.runs) ++counts[run.state];
    std::string summary;
    for (const char* state : {"done", "running", "stopped", "pending", "failed"}) {
      if (counts.contains(state)) summary += (summary.empty() ? "" : ", ") + std::to_string(counts[state]) + " " + state;
    }
    if (input_.runs.empty()) return section("runs", "Runs", "<p>The experiment has no runs yet.</p>\n");
    Table table("runs-caption", "Every run and its state.", {{"Run", ""}, {"Stage", ""}, {"State", "text"}, {"Share of the budget", "number"}, {"Seed", "number"}, {"Attempts", "number"}, {"Loss", "number"}, {"Started", "time"},
                                                             {"Finished", "time"}});
    for (const RunRow& run : input_.runs) {
      const bool known = std::set<std::string>{"pending", "running", "stopped", "done", "failed"}.contains(run.state);
      table.row({name_html(run.name), html_text(run.stage), "<span class=\"" + (known ? "state-" + run.state : "") + "\">" + html_text(run.state) + "</span>" + (run.error.empty() ? "" : "<span class=\"error\">" + html_text(run.error) + "</span>"), percent(run.share), std::to_string(run.seed),
                 std::to_string(run.attempts), run.state == "done" ? html_number(run.loss) : kNone, time_html(run.started_at), time_html(run.finished_at)});
    }
    return section("runs", "Runs", "<p>" + std::to_string(input_.runs.size()) + (input_.runs.size() == 1 ? " run: " : " runs: ") + html_text(summary) + ".</p>\n" + table.html());
  }

  std::string samples() {
    std::string content;
    for (const ArmSummary& arm : judgement_.arms) {
      if (!arm.sample.empty()) content += "<figure class=\"sample\">\n<figcaption>" + key(arm.name) + name_html(arm.name) + "</figcaption>\n<blockquote dir=\"auto\">" + html_text(arm.sample) + "</blockquote>\n</figure>\n";
    }
    return content.empty() ? "" : section("samples", "Samples of text", "<p class=\"note\">One continuation of the plan's prompt by each arm. An impression, no evidence.</p>\n" + content);
  }

  std::string reproduction() {
    std::string commands;
    for (const std::string& command : input_.commands) commands += html_text(command) + "\n";
    std::string content = commands.empty() ? "" : "<h3>Commands</h3>\n<pre tabindex=\"0\"><code>" + commands + "</code></pre>\n";
    if (!input_.plan_toml.empty()) content += "<details>\n<summary>The plan, as it was frozen</summary>\n<pre tabindex=\"0\"><code>" + html_text(input_.plan_toml) + "</code></pre>\n</details>\n";
    return content.empty() ? "" : section("again", "To do it again", content);
  }

  const ReportInput& input_;
  const Judgement& judgement_;
  std::string interval_;
  FigureStyle style_;
  std::vector<std::pair<std::string, std::string>> contents_;
};

}  // namespace

std::string to_html(const ReportInput& input) { return Page(input).html(); }

void write_report(const ReportInput& input, const fs::path& folder) {
  make_folder(folder);
  write_file(folder / "index.html", to_html(input));
}

}  // namespace entrain::lab
