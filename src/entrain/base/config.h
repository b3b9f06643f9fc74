#pragma once
// Recipes: TOML read into plain structs. A struct binds each of its fields once (key, variable, meaning, limits); reading,
// writing, checking and the generated docs/config.md all come from that one binding.

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "entrain/base/files.h"

namespace entrain::config {

using Value = std::variant<bool, int64_t, double, std::string, std::vector<double>, std::vector<std::string>>;

/// The value as TOML text.
std::string to_text(const Value& value);

/// A recipe as read: dotted key -> value, in any order. Tables nest by dots.
class Document {
 public:
  struct Entry {
    Value value;
    int line = 0;  ///< in the file; 0 for one set on the command line
  };
  /// Throws Error{kUsage} with line and column when the text is not TOML or holds a type no key has.
  static Document parse(std::string_view toml, const std::string& name);
  static Document load(const fs::path& path);

  /// Applies "section.key=value"; the value is TOML, and a bare word is a string.
  void set(const std::string& assignment);
  /// Entries of `other` replace those of the same key.
  void merge(const Document& other);
  /// Removes the tables `prefix.NAME` and returns them by NAME, without the prefix: those of the file in its order, empty ones
  /// included, then those that only the command line names.
  std::vector<std::pair<std::string, Document>> take_tables(const std::string& prefix);

  /// Removes and returns the entries of [section].
  Document take_section(const std::string& section);

  /// One "key = value" line an entry that `defaults` lacks or holds with another value; in the order of the keys. Keys added to a
  /// later version thus leave the text as it was.
  std::string to_toml_without(const Document& defaults) const;
  void erase(const std::string& key) { entries_.erase(key); }
  /// Sets one key to a value.
  void set(const std::string& key, Value value) { entries_[key] = {std::move(value), 0}; }

  const std::map<std::string, Entry>& entries() const { return entries_; }

 private:
  std::map<std::string, Entry> entries_;
  std::map<std::string, int> tables_;  ///< line of the first mention of each table in the file
};

/// A field's variable, held by pointer: the struct outlives the Binder.
using Target = std::variant<bool*, int64_t*, double*, std::string*, std::vector<double>*, std::vector<std::string>*>;

struct Field {
  std::string section, key, doc;
  Target target;
  double minimum = -std::numeric_limits<double>::infinity(), maximum = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices;

  Field& range(double low, double high = std::numeric_limits<double>::infinity());
  Field& one_of(std::vector<std::string> names);
  std::string path() const { return section + "." + key; }
};

/// Collects the fields of every struct of a recipe.
class Binder {
 public:
  /// Following fields belong to [name].
  void section(std::string name, std::string doc);
  Field& bind(std::string key, Target target, std::string doc);

  /// Sets every field the document names. Throws one Error{kUsage} that lists all problems: unknown keys with the nearest
  /// known one, wrong types, values out of range.
  void read(const Document& document);
  /// The resolved recipe as TOML, every key present.
  std::string to_toml() const;
  /// The reference page: sections, keys, types, defaults (the values now held), limits and meaning.
  std::string to_markdown() const;

 private:
  struct Section {
    std::string name, doc;
    std::vector<Field> fields;
  };
  std::vector<Section> sections_;
};

}  // namespace entrain::config
