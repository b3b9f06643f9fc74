// Multiple-choice tasks: one table of definitions.

#include <algorithm>
#include <numbers>

#include "entrain/base/error.h"
#include "entrain/eval/choice.h"
#include "entrain/eval/prompt.h"
#include "entrain/eval/records.h"

namespace entrain::eval {
namespace {

/// How the groups of a set come together in its score.
enum class Average { kItems, kWeightedGroups, kGroups };

struct ChoiceSet {
  const char* name;
  bool has_acc_norm;  ///< as in the harness' task
  Average average;
  Examples examples;
  std::vector<Part> (*read)(const fs::path& folder, int64_t shots);
};

int64_t checked_gold(const Record& record, int64_t gold, size_t n_choices) {
  if (gold < 0 || gold >= static_cast<int64_t>(n_choices)) record.refuse("has answer " + std::to_string(gold) + " of " + std::to_string(n_choices) + " choices");
  return gold;
}

std::string numbered(const std::vector<Question>& questions) { return std::to_string(questions.size()); }

/// {"id", "query", "choices", "gold"}: queries that end in "\nAnswer:".
std::vector<Question> read_queries(const fs::path& path) {
  std::vector<Question> out;
  for (const Record& record : read_jsonl(path)) {
    Question question{record.text("id"), record.text("query"), record.texts("choices")};
    question.gold = checked_gold(record, record.integer("gold"), question.choices.size());
    out.push_back(std::move(question));
  }
  return out;
}

std::vector<Part> read_arc(const fs::path& folder, int64_t shots) {
  return {{.group = "", .questions = read_queries(folder / "test.jsonl"), .examples = shots > 0 ? read_queries(folder / "train.jsonl") : std::vector<Question>{}}};
}

/// The harness asks the bare stem; the queries hold it between "Question: " and "\nAnswer:".
std::vector<Question> read_stems(const fs::path& path) {
  std::vector<Question> questions = read_queries(path);
  for (Question& question : questions) {
    constexpr std::string_view kBefore = "Question: ", kAfter = "\nAnswer:";
    std::string_view stem = question.prompt;
    if (stem.starts_with(kBefore)) stem.remove_prefix(kBefore.size());
    if (stem.ends_with(kAfter)) stem.remove_suffix(kAfter.size());
    question.prompt = std::string(stem);
  }
  return questions;
}

std::vector<Part> read_openbookqa(const fs::path& folder, int64_t shots) {
  return {{.group = "", .questions = read_stems(folder / "test.jsonl"), .examples = shots > 0 ? read_stems(folder / "val.jsonl") : std::vector<Question>{}}};
}

std::vector<Part> read_piqa(const fs::path& folder, int64_t) {
  const std::vector<std::string> labels = read_lines(folder / "valid-labels.lst");
  std::vector<Question> out;
  for (const Record& record : read_jsonl(folder / "valid.jsonl")) {
    if (out.size() >= labels.size()) record.refuse("has no label in valid-labels.lst");
    const std::string& label = labels[out.size()];
    if (label != "0" && label != "1") record.refuse("has the label \"" + label + "\" in valid-labels.lst, not 0 or 1");
    out.push_back({numbered(out), "Question: " + record.text("goal") + "\nAnswer:", {record.text("sol1"), record.text("sol2")}, label == "1" ? 1 : 0});
  }
  return {{.group = "", .questions = std::move(out)}};
}

/// As the harness cleans queries and endings: "[...]" goes, and the double space it leaves.
std::string hellaswag_cleaned(std::string_view text) {
  std::string out = replaced(stripped(text), " [title]", ". ");
  for (size_t open = out.find('['); open != std::string::npos; open = out.find('[', open)) {
    const size_t close = out.find_first_of("]\n", open);
    if (close == std::string::npos || out[close] == '\n') {
      ++open;
    } else {
      out.erase(open, close + 1 - open);
    }
  }
  return replaced(out, "  ", " ");
}

/// The harness' query from the plain text: ". " for each "[title]" (here ".. "), and the unfinished last sentence capitalised.
std::string hellaswag_query(const std::string& line) {
  std::string text = hellaswag_cleaned(replaced(line, ".. ", ". "));
  if (text.empty() || std::string_view(".?!").find(text.back()) != std::string_view::npos) return text;
  size_t begin = text.rfind(". ");
  if (begin == std::string::npos) begin = text.find(": ");
  begin = begin == std::string::npos ? 0 : begin + 2;
  return text.substr(0, begin) + capitalized(text.substr(begin));
}

std::vector<Part> read_hellaswag(const fs::path& folder, int64_t) {
  std::vector<Question> out;
  std::error_code ignored;
  if (!fs::exists(folder / "hellaswag_val_part1.txt", ignored)) {
    for (const Record& record : read_jsonl(files_ending(folder, ".jsonl").front())) {
      Question question{numbered(out), hellaswag_cleaned(record.text("query")), record.texts("choices")};
      for (std::string& choice : question.choices) choice = hellaswag_cleaned(choice);
      question.gold = checked_gold(record, record.integer("gold"), question.choices.size());
      out.push_back(std::move(question));
    }
    return {{.group = "", .questions = std::move(out)}};
  }
  for (const fs::path& path : files_ending(folder, ".txt")) {
    if (!path.filename().string().starts_with("hellaswag_val_part")) continue;
    const std::vector<std::string> lines = read_lines(path);
    for (size_t i = 0; i < lines.size(); i += 6) {
      const std::string place = path.string() + ":" + std::to_string(i + 1);
      if (i + 6 > lines.size() || lines[i + 1].size() != 1 || lines[i + 1][0] < '0' || lines[i + 1][0] > '3') {
        throw Error(ErrorKind::kData, place + " does not begin an item of six lines: context, index 0 to 3, four endings", "docs/tasks.md gives the format of every set");
      }
      Question question{numbered(out), hellaswag_query(lines[i]), {}, lines[i + 1][0] - '0'};
      for (size_t k = 2; k < 6; ++k) question.choices.push_back(hellaswag_cleaned(replaced(lines[i + k], ".. ", ". ")));
      out.push_back(std::move(question));
    }
  }
  return {{.group = "", .questions = std::move(out)}};
}

/// The same end of the sentence is scored after each option.
std::vector<Part> read_winogrande(const fs::path& folder, int64_t) {
  std::vector<Question> out;
  for (const Record& record : read_jsonl(folder / "validation.jsonl")) {
    const std::string sentence = record.text("sentence"), answer = record.text("answer");
    const size_t gap = sentence.find('_');
    if (gap == std::string::npos) record.refuse("has no _ in its sentence");
    if (answer != "1" && answer != "2") record.refuse("has the answer \"" + answer + "\", not 1 or 2");
    const std::string end(stripped(std::string_view(sentence).substr(gap + 1)));
    Question question{numbered(out), "", {end, end}, answer == "1" ? 0 : 1};
    for (const char* option : {"option1", "option2"}) question.contexts.push_back(sentence.substr(0, gap) + record.text(option));
    out.push_back(std::move(question));
  }
  return {{.group = "", .questions = std::move(out)}};
}

std::string lettered(const std::vector<std::string>& choices) {
  std::string lines;
  for (size_t i = 0; i < choices.size(); ++i) lines += std::string("\n") + static_cast<char>('A' + i) + ". " + choices[i];
  return lines + "\nAnswer:";
}

/// {"choices": {"label", "text"}, "answerKey"}.
std::pair<std::vector<std::string>, int64_t> labelled_choices(const Record& record) {
  const Record object = record.object("choices");
  std::vector<std::string> texts = object.texts("text"), labels = object.texts("label");
  const auto found = std::find(labels.begin(), labels.end(), record.text("answerKey"));
  if (found == labels.end() || labels.size() != texts.size()) record.refuse("has an \"answerKey\" that is no label of its choices");
  return {std::move(texts), found - labels.begin()};
}

std::vector<Part> read_commonsense_qa(const fs::path& folder, int64_t) {
  std::vector<Question> out;
  for (const Record& record : read_jsonl(folder / "validation.jsonl")) {
    const auto [texts, gold] = labelled_choices(record);
    const std::string question(stripped(record.text("question")));
    Question one{record.text("id"), "Question: " + question + lettered(texts), {}, gold};
    for (size_t i = 0; i < texts.size(); ++i) one.choices.emplace_back(1, static_cast<char>('A' + i));
    one.text = question + " " + texts[static_cast<size_t>(gold)];
    out.push_back(std::move(one));
  }
  return {{.group = "", .questions = std::move(out)}};
}

std::vector<Part> read_basic_arithmetic(const fs::path& folder, int64_t) {
  std::map<std::string, Part> parts;
  for (const Record& record : read_jsonl(folder / "validation.jsonl")) {
    const auto [texts, gold] = labelled_choices(record);
    Part& part = parts[record.text("type_tag")];
    part.group = record.text("type_tag");
    part.questions.push_back({record.text("id"), "Question: " + record.text("question") + "\nAnswer:", texts, gold});
  }
  std::vector<Part> out;
  for (const char* order : {"easy", "medium", "hard"}) {
    if (const auto found = parts.find(order); found != parts.end()) out.push_back(std::move(parts.extract(found).mapped()));
  }
  for (auto& [name, part] : parts) out.push_back(std::move(part));
  return out;
}

/// Choices begin with a space of their own besides the delimiter, as in the harness.
std::vector<Part> read_copa(const fs::path& folder, int64_t) {
  std::vector<Question> out;
  for (const Record& record : read_jsonl(folder / "validation.jsonl")) {
    const std::string kind = record.text("question"), text = record.text("premise");
    const std::string_view premise = stripped(text);
    if (kind != "cause" && kind != "effect") record.refuse("asks for \"" + kind + "\", not cause or effect");
    if (premise.empty()) record.refuse("has an empty premise");
    Question question{std::to_string(record.integer("idx")), std::string(premise.substr(0, premise.size() - 1)) + (kind == "cause" ? " because" : " therefore"), {}};
    for (const char* key : {"choice1", "choice2"}) {
      std::string choice = record.text(key);
      if (!choice.empty() && choice[0] >= 'A' && choice[0] <= 'Z') choice[0] = static_cast<char>(choice[0] + 32);
      question.choices.push_back(" " + choice);
    }
    question.gold = checked_gold(record, record.integer("label"), 2);
    out.push_back(std::move(question));
  }
  return {{.group = "", .questions = std::move(out)}};
}

std::vector<Question> read_mmlu_file(const fs::path& path) {
  std::vector<Question> out;
  for (const Row& row : read_csv(path, 6)) {
    const std::string& answer = row.fields[5];
    if (answer.size() != 1 || answer[0] < 'A' || answer[0] > 'D') throw Error(ErrorKind::kData, row.place + " has the answer \"" + answer + "\", not A to D", "docs/tasks.md gives the format of every set");
    const std::vector<std::string> texts(row.fields.begin() + 1, row.fields.begin() + 5);
    const std::string question(stripped(row.fields[0]));
    Question one{numbered(out), question + lettered(texts), {"A", "B", "C", "D"}, answer[0] - 'A'};
    one.text = question + " " + texts[static_cast<size_t>(one.gold)];
    out.push_back(std::move(one));
  }
  return out;
}

std::vector<Part> read_mmlu(const fs::path& folder, int64_t shots) {
  std::vector<Part> parts;
  constexpr std::string_view kEnding = "_test.csv";
  for (const fs::path& path : files_ending(folder / "test", std::string(kEnding))) {
    const std::string name = path.filename().string(), subject = name.substr(0, name.size() - kEnding.size());
    parts.push_back({.group = subject,
                     .description = "The following are multiple choice questions (with answers) about " + replaced(subject, "_", " ") + ".\n\n",
                     .questions = read_mmlu_file(path),
                     .examples = shots > 0 ? read_mmlu_file(folder / "dev" / (subject + "_dev.csv")) : std::vector<Question>{}});
  }
  return parts;
}

std::vector<Part> read_blimp(const fs::path& folder, int64_t) {
  std::vector<Part> parts;
  for (const fs::path& path : files_ending(folder, ".tsv")) {
    if (path.filename() == "paradigms.tsv") continue;
    Part part{.group = path.stem().string(), .questions = {}};
    for (const Row& row : read_tsv(path, 2)) part.questions.push_back({numbered(part.questions), "", row.fields, 0});
    parts.push_back(std::move(part));
  }
  return parts;
}

const ChoiceSet kSets[] = {
    {"arc_easy", true, Average::kItems, Examples::kSampled, read_arc},
    {"arc_challenge", true, Average::kItems, Examples::kSampled, read_arc},
    {"piqa", true, Average::kItems, Examples::kSampled, read_piqa},
    {"hellaswag", true, Average::kItems, Examples::kSampled, read_hellaswag},
    {"winogrande", false, Average::kItems, Examples::kSampled, read_winogrande},
    {"openbookqa", true, Average::kItems, Examples::kSampled, read_openbookqa},
    {"commonsense_qa", false, Average::kItems, Examples::kSampled, read_commonsense_qa},
    {"copa", false, Average::kItems, Examples::kSampled, read_copa},
    {"mmlu", false, Average::kWeightedGroups, Examples::kFirst, read_mmlu},
    {"blimp", false, Average::kGroups, Examples::kSampled, read_blimp},
    {"basic_arithmetic", true, Average::kWeightedGroups, Examples::kSampled, read_basic_arithmetic},
};

std::vector<Metric> summarise_choices(const ChoiceSet& set, const Table& table) {
  const double chance = mean(table.column("chance"));
  std::vector<Metric> metrics;
  for (const char* name : {"acc", "acc_norm"}) {
    if (std::string_view(name) == "acc_norm" && !set.has_acc_norm) continue;
    switch (set.average) {
      case Average::kItems: metrics.push_back(mean_metric(name, table.column(name), chance)); break;
      case Average::kWeightedGroups: metrics.push_back(pooled_metric(name, table, name, chance)); break;
      case Average::kGroups:
        metrics.push_back(group_mean_metric(name, table, name, chance));
        metrics.push_back(clustered_metric(std::string(name) + "_clustered", table, name, chance));
        break;
    }
  }
  const auto [nats, bytes] = table.columns("gold_log_likelihood", "gold_bytes");
  metrics.push_back(mean_metric("gold_log_likelihood", nats));
  std::vector<double> bits;
  for (const double one : nats) bits.push_back(-one / std::numbers::ln2);
  metrics.push_back(ratio_metric("gold_bits_per_byte", bits, bytes));
  metrics.push_back(mean_metric("gold_probability", table.column("gold_probability"), chance));
  if (set.average != Average::kItems) {
    for (const auto& [group, part] : table.by_group()) metrics.push_back(mean_metric("acc/" + group, part.column("acc"), mean(part.column("chance"))));
  }
  return metrics;
}

// -- TruthfulQA: several right answers ---------------------------------------------------------------------------------

std::vector<std::string> answers_of(const std::string& cell) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= cell.size();) {
    const size_t end = std::min(cell.find(';', begin), cell.size());
    std::string answer(stripped(std::string_view(cell).substr(begin, end - begin)));
    if (!answer.empty() && answer.back() != '.') answer += '.';
    if (!answer.empty() && std::find(out.begin(), out.end(), answer) == out.end()) out.push_back(std::move(answer));
    begin = end + 1;
  }
  return out;
}

/// Choices: the best answer, the other right ones, the wrong ones. facts: the number of right ones.
std::vector<Item> load_truthfulqa(const TaskOptions& options, int64_t shots) {
  const fs::path folder = options.data / "truthfulqa";
  std::string before;
  std::error_code ignored;
  if (fs::exists(folder / "prompt.txt", ignored)) before = std::string(stripped(read_file(folder / "prompt.txt"))) + "\n\n";
  std::vector<Row> rows = read_csv(folder / "TruthfulQA.csv", 7);
  rows.erase(rows.begin());  // names of the columns
  Part part{.group = "", .questions = {}};
  for (const Row& row : rows) {
    const std::vector<std::string> best = answers_of(row.fields[3]), right = answers_of(row.fields[4]), wrong = answers_of(row.fields[5]);
    if (best.empty() || wrong.empty()) throw Error(ErrorKind::kData, row.place + " lacks a best or an incorrect answer", "docs/tasks.md gives the format of every set");
    Question question{numbered(part.questions), before + "Q: " + row.fields[2] + "\nA:", {best.front()}};
    for (const std::string& one : right) {
      if (one != best.front()) question.choices.push_back(one);
    }
    question.facts = {static_cast<double>(question.choices.size())};
    question.choices.insert(question.choices.end(), wrong.begin(), wrong.end());
    question.text = row.fields[2] + " " + best.front();
    part.questions.push_back(std::move(question));
  }
  return items_of("truthfulqa", {std::move(part)}, options, shots, Examples::kSampled);
}

ItemScore score_truthfulqa(const Item& item, const Outcome& outcome) {
  const std::vector<double> all = log_likelihoods_of(outcome);
  const auto n_right = static_cast<size_t>(item.facts.at(0));
  std::vector<double> single{all.front()};
  single.insert(single.end(), all.begin() + static_cast<std::ptrdiff_t>(n_right), all.end());
  const std::vector<double> probabilities = softmax(all);
  double right = 0;
  for (size_t i = 0; i < n_right; ++i) right += probabilities[i];
  return {.values = {first_largest(single) == 0 ? 1.0 : 0.0, right, all.front(), 1.0 / static_cast<double>(single.size()), static_cast<double>(n_right) / static_cast<double>(all.size())}};
}

Task truthfulqa() {
  Task task;
  task.name = "truthfulqa";
  task.columns = {"mc1", "mc2", "gold_log_likelihood", "mc1_chance", "mc2_chance"};
  task.load = load_truthfulqa;
  task.score = score_truthfulqa;
  task.summarise = [](const Table& table) {
    return std::vector<Metric>{mean_metric("mc1", table.column("mc1"), mean(table.column("mc1_chance"))), mean_metric("mc2", table.column("mc2"), mean(table.column("mc2_chance"))),
                               mean_metric("gold_log_likelihood", table.column("gold_log_likelihood"))};
  };
  return task;
}

}  // namespace

std::vector<Task> choice_tasks() {
  std::vector<Task> list;
  for (const ChoiceSet& set : kSets) {
    Task task;
    task.name = set.name;
    task.columns = kChoiceColumns;
    task.load = [&set](const TaskOptions& options, int64_t shots) { return items_of(set.name, set.read(options.data / set.name, shots), options, shots, set.examples); };
    task.score = score_choice;
    task.summarise = [&set](const Table& table) { return summarise_choices(set, table); };
    list.push_back(std::move(task));
  }
  list.push_back(truthfulqa());
  return list;
}

}  // namespace entrain::eval
