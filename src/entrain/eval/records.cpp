#include "entrain/eval/records.h"

#include <algorithm>

#include "entrain/base/error.h"
#include "entrain/base/foreign_json.h"

namespace entrain::eval {
namespace {

constexpr const char* kHint = "docs/tasks.md gives the format of every set";

[[noreturn]] void refuse_at(const std::string& place, const std::string& what) { throw Error(ErrorKind::kData, place + " " + what, kHint); }

std::string read(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) throw Error(ErrorKind::kIo, "there is no file " + path.string(), "--data names the folder that holds a folder for each set; docs/tasks.md lists their files");
  return read_file(path);
}

std::string place_of(const fs::path& path, size_t line) { return path.string() + ":" + std::to_string(line); }

void check_width(const Row& row, size_t n_fields) {
  if (row.fields.size() != n_fields) refuse_at(row.place, "has " + std::to_string(row.fields.size()) + " fields, not " + std::to_string(n_fields));
}

template <typename Rows>
Rows not_empty(Rows rows, const fs::path& path) {
  if (rows.empty()) refuse_at(path.string(), "holds no items");
  return rows;
}

}  // namespace

void Record::refuse(const std::string& what) const { refuse_at(place, what); }

std::string Record::text(const char* key) const {
  const auto found = value.find(key);
  if (found == value.end() || !found->is_string()) refuse(std::string("has no text \"") + key + "\"");
  return found->get<std::string>();
}

int64_t Record::integer(const char* key) const {
  const auto found = value.find(key);
  if (found == value.end() || !found->is_number_integer()) refuse(std::string("has no whole number \"") + key + "\"");
  return found->get<int64_t>();
}

double Record::number(const char* key) const {
  const auto found = value.find(key);
  if (found == value.end() || !found->is_number()) refuse(std::string("has no number \"") + key + "\"");
  return found->get<double>();
}

std::vector<std::string> Record::texts(const char* key) const {
  const auto found = value.find(key);
  const bool good = found != value.end() && found->is_array() && std::all_of(found->begin(), found->end(), [](const auto& one) { return one.is_string(); });
  if (!good) refuse(std::string("has no list of texts \"") + key + "\"");
  return found->get<std::vector<std::string>>();
}

Record Record::object(const char* key) const {
  const auto found = value.find(key);
  if (found == value.end() || !found->is_object()) refuse(std::string("has no object \"") + key + "\"");
  return {*found, place};
}

Record parse_record(const std::string& text, const std::string& place) {
  Record record{nullptr, place};
  try {
    record.value = parse_foreign<Json>(text);
  } catch (const Json::exception& error) {
    refuse_at(place, std::string("is not a JSON object we can read: ") + error.what());
  }
  if (!record.value.is_object()) refuse_at(place, "is not a JSON object");
  return record;
}

std::vector<Record> read_jsonl(const fs::path& path) {
  std::vector<Record> records;
  size_t number = 0;
  for (const std::string& line : read_lines(path)) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    records.push_back(parse_record(line, place_of(path, number)));
  }
  return not_empty(std::move(records), path);
}

std::vector<Row> read_csv(const fs::path& path, size_t n_fields) {
  const std::string text = read(path);
  std::vector<Row> rows;
  Row row;
  std::string field;
  size_t line = 1;
  bool quoted = false, any = false;
  const auto end_row = [&] {
    row.fields.push_back(std::move(field));
    field.clear();
    check_width(row, n_fields);
    rows.push_back(std::move(row));
    row = {};
    any = false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\r' && !quoted && i + 1 < text.size() && text[i + 1] == '\n') continue;
    if (!any && c == '\n') {
      ++line;
      continue;  // an empty line
    }
    if (!any) row.place = place_of(path, line);
    any = true;
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        field += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"' && field.empty()) {
      quoted = true;
    } else if (c == ',') {
      row.fields.push_back(std::move(field));
      field.clear();
    } else if (c == '\n') {
      end_row();
    } else {
      field += c;
    }
  }
  if (quoted) refuse_at(row.place, "opens a quote that is not closed");
  if (any) end_row();
  return not_empty(std::move(rows), path);
}

std::vector<Row> read_tsv(const fs::path& path, size_t n_fields) {
  std::vector<Row> rows;
  size_t number = 0;
  for (const std::string& line : read_lines(path)) {
    Row row{{}, place_of(path, ++number)};
    for (size_t begin = 0; begin != std::string::npos;) {
      const size_t tab = line.find('\t', begin);
      row.fields.push_back(line.substr(begin, tab - begin));
      begin = tab == std::string::npos ? tab : tab + 1;
    }
    check_width(row, n_fields);
    rows.push_back(std::move(row));
  }
  return not_empty(std::move(rows), path);
}

std::vector<std::string> read_lines(const fs::path& path) {
  const std::string text = read(path);
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    begin = end + 1;
  }
  return lines;
}

std::vector<fs::path> files_ending(const fs::path& folder, const std::string& ending) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().ends_with(ending)) files.push_back(entry.path());
  }
  if (files.empty()) throw Error(ErrorKind::kIo, "there is no file " + (folder / ("*" + ending)).string(), "--data names the folder that holds a folder for each set; docs/tasks.md lists their files");
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace entrain::eval
