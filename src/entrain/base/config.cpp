#include "entrain/base/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>

#include "entrain/base/error.h"

namespace entrain::config {
namespace {

std::string describe(const Target& target) {
  return std::visit(
      [](const auto* variable) -> std::string {
        using T = std::decay_t<decltype(*variable)>;
        if constexpr (std::is_same_v<T, bool>) return "true or false";
        if constexpr (std::is_same_v<T, int64_t>) return "a whole number";
        if constexpr (std::is_same_v<T, double>) return "a number";
        if constexpr (std::is_same_v<T, std::string>) return "a text in quotes";
        if constexpr (std::is_same_v<T, std::vector<double>>) return "a list of numbers";
        return "a list of texts in quotes";
      },
      target);
}

std::string to_text(double number) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, number);
  std::string text(buffer, result.ptr);
  if (text.find_first_of(".einf") == std::string::npos) text += ".0";
  return text;
}

/// A basic string of TOML: one line whatever the text.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if ((c >= 0 && c < ' ') || c == 127) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04X", static_cast<unsigned>(c));
      out += code;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

template <typename T>
std::string text_of(const T& value) {
  if constexpr (std::is_same_v<T, bool>) return value ? "true" : "false";
  if constexpr (std::is_same_v<T, int64_t>) return std::to_string(value);
  if constexpr (std::is_same_v<T, double>) return to_text(value);
  if constexpr (std::is_same_v<T, std::string>) return quoted(value);
  if constexpr (std::is_same_v<T, std::vector<double>> || std::is_same_v<T, std::vector<std::string>>) {
    std::string text = "[";
    for (size_t i = 0; i < value.size(); ++i) text += (i ? ", " : "") + text_of(value[i]);
    return text + "]";
  }
}

std::string to_text(const Target& target) {
  return std::visit([](const auto* variable) { return text_of(*variable); }, target);
}

template <typename T>
std::optional<Value> convert_list(const toml::array& list) {
  std::vector<T> values;
  for (const toml::node& item : list) {
    const auto value = item.value<T>();
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

std::optional<Value> convert(const toml::node& node) {
  if (const auto* v = node.as_boolean()) return v->get();
  if (const auto* v = node.as_integer()) return v->get();
  if (const auto* v = node.as_floating_point()) return v->get();
  if (const auto* v = node.as_string()) return v->get();
  if (const auto* list = node.as_array()) return !list->empty() && list->front().is_string() ? convert_list<std::string>(*list) : convert_list<double>(*list);
  return std::nullopt;
}

void flatten(const toml::table& table, const std::string& prefix, const std::string& name,
             std::map<std::string, Document::Entry>& out, std::map<std::string, int>& tables) {
  for (const auto& [key, node] : table) {
    const std::string path = prefix.empty() ? std::string(key.str()) : prefix + "." + std::string(key.str());
    const int line = static_cast<int>(key.source().begin.line);
    if (const toml::table* inner = node.as_table()) {
      tables[path] = line;
      flatten(*inner, path, name, out, tables);
      continue;
    }
    const auto value = convert(node);
    if (!value) {
      throw Error(ErrorKind::kUsage, name + ":" + std::to_string(line) + ": " + path + " has a type no key takes",
                  "use a number, true/false, a text in quotes or a list of numbers or texts");
    }
    out[path] = {*value, line};
  }
}

toml::table parse_toml(std::string_view text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    const auto at = error.source().begin;
    throw Error(ErrorKind::kUsage,
                name + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) + ": " +
                    std::string(error.description()),
                "recipes are TOML: [section] lines and key = value lines");
  }
}

/// Empty when the value was taken, else what is wrong with it.
std::string assign(const Field& field, const Value& value) {
  const std::string wanted = "expects " + describe(field.target);
  return std::visit(
      [&](auto* variable) -> std::string {
        using T = std::decay_t<decltype(*variable)>;
        if (const T* exact = std::get_if<T>(&value)) {
          *variable = *exact;
        } else if constexpr (std::is_same_v<T, double>) {
          const int64_t* whole = std::get_if<int64_t>(&value);
          if (whole == nullptr) return wanted;
          *variable = static_cast<double>(*whole);
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          const auto* empty = std::get_if<std::vector<double>>(&value);  // [] has no type
          if (empty == nullptr || !empty->empty()) return wanted;
          variable->clear();
        } else {
          return wanted;
        }
        if constexpr (std::is_same_v<T, double> || std::is_same_v<T, int64_t>) {
          const double number = static_cast<double>(*variable);
          if (!(number >= field.minimum && number <= field.maximum)) {
            return "must lie in " + to_text(field.minimum) + " .. " + to_text(field.maximum) + ", is " + to_text(number);
          }
        }
        if constexpr (std::is_same_v<T, std::string>) {
          if (!field.choices.empty() && std::find(field.choices.begin(), field.choices.end(), *variable) == field.choices.end()) {
            std::string all;
            for (const std::string& choice : field.choices) all += (all.empty() ? "" : " | ") + choice;
            const std::string near = nearest_name(*variable, field.choices);
            return "is \"" + *variable + "\", must be one of " + all + (near.empty() ? "" : "; did you mean " + near + "?");
          }
        }
        return "";
      },
      field.target);
}

}  // namespace

std::string to_text(const Value& value) {
  return std::visit([](const auto& held) { return text_of(held); }, value);
}

Document Document::parse(std::string_view toml, const std::string& name) {
  Document document;
  flatten(parse_toml(toml, name), "", name, document.entries_, document.tables_);
  return document;
}

std::string Document::to_toml_without(const Document& defaults) const {
  std::string text;
  for (const auto& [key, entry] : entries_) {
    const auto held = defaults.entries_.find(key);
    if (held == defaults.entries_.end() || held->second.value != entry.value) text += key + " = " + config::to_text(entry.value) + "\n";
  }
  return text;
}

Document Document::load(const fs::path& path) { return parse(read_file(path), path.string()); }

void Document::set(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error(ErrorKind::kUsage, "--set " + assignment + " has no key=value", "write --set section.key=value");
  }
  const std::string key = assignment.substr(0, equals), text = assignment.substr(equals + 1);
  Document parsed;
  try {
    parsed = parse("v = " + text, "--set " + assignment);
  } catch (const Error&) {
    parsed.entries_.clear();
  }
  const auto value = parsed.entries_.find("v");  // missing where the text is no value of a key, such as a bare word
  entries_[key] = {value == parsed.entries_.end() ? Value(text) : value->second.value, 0};
}

void Document::merge(const Document& other) {
  for (const auto& [key, entry] : other.entries_) entries_[key] = entry;
  tables_.insert(other.tables_.begin(), other.tables_.end());
}

std::vector<std::pair<std::string, Document>> Document::take_tables(const std::string& prefix) {
  std::map<std::string, Document> tables;
  std::map<std::string, int> lines;
  const auto name_of = [&](const std::string& path) { return path.substr(prefix.size() + 1, path.find('.', prefix.size() + 1) - prefix.size() - 1); };
  for (const auto& [path, line] : tables_) {
    if (!path.starts_with(prefix + ".")) continue;
    const std::string name = name_of(path);
    tables[name];
    const auto seen = lines.try_emplace(name, line).first;
    seen->second = std::min(seen->second, line);
  }
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (!it->first.starts_with(prefix + ".")) {
      ++it;
      continue;
    }
    const std::string name = name_of(it->first);
    tables[name].entries_[it->first.substr(std::min(prefix.size() + name.size() + 2, it->first.size()))] = it->second;
    lines.try_emplace(name, std::numeric_limits<int>::max());
    it = entries_.erase(it);
  }
  std::vector<std::pair<std::string, Document>> ordered(tables.begin(), tables.end());
  std::stable_sort(ordered.begin(), ordered.end(), [&](const auto& a, const auto& b) { return lines[a.first] < lines[b.first]; });
  return ordered;
}

Document Document::take_section(const std::string& section) {
  Document taken;
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (it->first.starts_with(section + ".")) {
      taken.entries_.insert(*it);
      it = entries_.erase(it);
    } else {
      ++it;
    }
  }
  return taken;
}

Field& Field::range(double low, double high) {
  minimum = low;
  maximum = high;
  return *this;
}

Field& Field::one_of(std::vector<std::string> names) {
  choices = std::move(names);
  return *this;
}

void Binder::section(std::string name, std::string doc) { sections_.push_back({std::move(name), std::move(doc), {}}); }

Field& Binder::bind(std::string key, Target target, std::string doc) {
  ENTRAIN_CHECK(!sections_.empty(), "bind before section");
  Section& section = sections_.back();
  section.fields.push_back({section.name, std::move(key), std::move(doc), target, -std::numeric_limits<double>::infinity(),
                            std::numeric_limits<double>::infinity(), {}});
  return section.fields.back();
}

void Binder::read(const Document& document) {
  std::map<std::string, const Field*> known;
  std::vector<std::string> names;
  for (const Section& section : sections_) {
    for (const Field& field : section.fields) {
      known[field.path()] = &field;
      names.push_back(field.path());
    }
  }
  std::vector<std::string> problems;
  for (const auto& [path, entry] : document.entries()) {
    const std::string place = entry.line > 0 ? "line " + std::to_string(entry.line) + ": " : "";
    const auto found = known.find(path);
    if (found == known.end()) {
      const std::string near = nearest_name(path, names);
      problems.push_back(place + "unknown key " + path + (near.empty() ? "" : "; did you mean " + near + "?"));
      continue;
    }
    const std::string problem = assign(*found->second, entry.value);
    if (!problem.empty()) problems.push_back(place + path + " " + problem);
  }
  if (problems.empty()) return;
  std::string message = problems.size() == 1 ? "the recipe has a problem: " : std::to_string(problems.size()) + " problems in the recipe:";
  for (const std::string& problem : problems) message += problems.size() == 1 ? problem : "\n  - " + problem;
  throw Error(ErrorKind::kUsage, message, "docs/config.md lists every key");
}

std::string Binder::to_toml() const {
  std::string text;
  for (const Section& section : sections_) {
    text += (text.empty() ? "[" : "\n[") + section.name + "]\n";
    for (const Field& field : section.fields) text += field.key + " = " + to_text(field.target) + "\n";
  }
  return text;
}

std::string Binder::to_markdown() const {
  std::string text;
  for (const Section& section : sections_) {
    text += "\n## [" + section.name + "]\n\n" + section.doc + "\n\n| key | default | allowed | meaning |\n| --- | --- | --- | --- |\n";
    for (const Field& field : section.fields) {
      std::string allowed = describe(field.target);
      if (!field.choices.empty()) {
        allowed.clear();
        for (const std::string& choice : field.choices) allowed += (allowed.empty() ? "`" : ", `") + choice + "`";
      } else if (std::isfinite(field.minimum) && std::isfinite(field.maximum)) {
        allowed += ", " + to_text(field.minimum) + " to " + to_text(field.maximum);
      } else if (std::isfinite(field.minimum)) {
        allowed += ", at least " + to_text(field.minimum);
      }
      text += "| `" + field.key + "` | `" + to_text(field.target) + "` | " + allowed + " | " + field.doc + " |\n";
    }
  }
  return text;
}

}  // namespace entrain::config
