#pragma once
// Records of evaluation sets: JSON lines, comma- or tab-separated values. Every error names file and line.

#include <string>
#include <vector>

#include "entrain/base/files.h"
#include "entrain/base/json.h"

namespace entrain::eval {

/// One JSON object and where it stands. Its accessors throw Error{kData} for a field that is missing or of another kind.
struct Record {
  Json value;
  std::string place;  ///< file:line

  std::string text(const char* key) const;
  int64_t integer(const char* key) const;
  double number(const char* key) const;
  std::vector<std::string> texts(const char* key) const;
  /// The object in a field, at the same place.
  Record object(const char* key) const;
  [[noreturn]] void refuse(const std::string& what) const;
};

/// One line of fields.
struct Row {
  std::vector<std::string> fields;
  std::string place;
};

/// The JSON object in a text. Throws Error{kData} naming `place` where it is none, or holds what no number or stack does.
Record parse_record(const std::string& text, const std::string& place);
/// Throws Error{kIo} where the file is missing, Error{kData} for a line that is not a JSON object or a file without any.
std::vector<Record> read_jsonl(const fs::path& path);
/// RFC 4180: quoted fields may hold commas, doubled quotes and newlines. Every row must have n_fields.
std::vector<Row> read_csv(const fs::path& path, size_t n_fields);
/// Tab-separated values without quoting.
std::vector<Row> read_tsv(const fs::path& path, size_t n_fields);
/// Lines without their newlines; a last empty one is left out.
std::vector<std::string> read_lines(const fs::path& path);

/// Files of `folder` whose name ends so, sorted by name. Throws Error{kIo} where there is none.
std::vector<fs::path> files_ending(const fs::path& folder, const std::string& ending);

}  // namespace entrain::eval
