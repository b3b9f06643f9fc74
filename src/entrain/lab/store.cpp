#include "entrain/lab/store.h"

#include <sqlite3.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "entrain/base/clock.h"
#include "entrain/base/error.h"

namespace entrain::lab {
namespace {

constexpr int kSchemaVersion = 1;
// clang-format off
constexpr const char* kSchema = R"(
CREATE TABLE plan (id INTEGER PRIMARY KEY CHECK (id = 1), hash TEXT NOT NULL, toml TEXT NOT NULL, frozen_at TEXT NOT NULL);
CREATE TABLE runs (
  name TEXT PRIMARY KEY, arm TEXT NOT NULL, stage TEXT NOT NULL, seed INTEGER NOT NULL, share REAL NOT NULL, round INTEGER NOT NULL, trial INTEGER NOT NULL,
  tuned TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'stopped', 'done', 'failed')), attempts INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
  started_at TEXT NOT NULL DEFAULT '', finished_at TEXT NOT NULL DEFAULT '', key TEXT, recipe TEXT, split TEXT, data TEXT, machine TEXT, version TEXT,
  parameters INTEGER, steps INTEGER, raw_tokens REAL, unique_tokens REAL, flops REAL, seconds REAL, final_lr_multiplier REAL);
CREATE TABLE scores (run TEXT NOT NULL REFERENCES runs(name), metric TEXT NOT NULL, value REAL, PRIMARY KEY (run, metric));
CREATE TABLE blocks (run TEXT NOT NULL REFERENCES runs(name), number INTEGER NOT NULL, document INTEGER NOT NULL, tokens INTEGER NOT NULL, bytes INTEGER NOT NULL, nats REAL,
  PRIMARY KEY (run, number));
CREATE TABLE items (run TEXT NOT NULL REFERENCES runs(name), task TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, grouping TEXT NOT NULL, metric TEXT NOT NULL, value REAL,
  PRIMARY KEY (run, task, number, metric));
CREATE TABLE curve (run TEXT NOT NULL REFERENCES runs(name), step INTEGER NOT NULL, raw_tokens REAL, flops REAL, seconds REAL, nats_per_token REAL, PRIMARY KEY (run, step));
CREATE TABLE choices (arm TEXT PRIMARY KEY, chosen TEXT NOT NULL, at_edge INTEGER NOT NULL);
)";
// clang-format on

[[noreturn]] void fail(sqlite3* database, const std::string& what) {
  const int code = sqlite3_errcode(database);
  const std::string message = what + ": " + sqlite3_errmsg(database);
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) throw Error(ErrorKind::kData, message, "move lab.sqlite away: it is filled again from the files under results/");
  throw Error(ErrorKind::kIo, message, code == SQLITE_FULL ? "free some disk space" : "");
}

/// A prepared statement: bind in order, step, read columns.
class Statement {
 public:
  Statement(sqlite3* database, const std::string& sql) : database_(database) {
    if (sqlite3_prepare_v2(database, sql.c_str(), -1, &statement_, nullptr) != SQLITE_OK) fail(database, "lab.sqlite");
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  template <typename... Values>
  Statement& bind(const Values&... values) {
    sqlite3_reset(statement_);
    int i = 0;
    (bind_one(++i, values), ...);
    return *this;
  }
  /// True while there is a row.
  bool step() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) fail(database_, "lab.sqlite");
    return code == SQLITE_ROW;
  }
  void run() { step(); }
  std::string text(int column) const {
    const unsigned char* bytes = sqlite3_column_text(statement_, column);
    return bytes == nullptr ? "" : reinterpret_cast<const char*>(bytes);
  }
  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  double real(int column) const { return sqlite3_column_double(statement_, column); }
  int n_columns() const { return sqlite3_column_count(statement_); }
  std::string name(int column) const { return sqlite3_column_name(statement_, column); }
  /// Numbers with all their digits.
  std::string csv_field(int column) const {
    if (sqlite3_column_type(statement_, column) == SQLITE_FLOAT) {
      char number[40];
      std::snprintf(number, sizeof number, "%.17g", real(column));
      return number;
    }
    const std::string field = text(column);
    if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
    std::string quoted = "\"";
    for (const char c : field) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + "\"";
  }

 private:
  void bind_one(int i, int64_t value) { sqlite3_bind_int64(statement_, i, value); }
  void bind_one(int i, double value) { std::isfinite(value) ? sqlite3_bind_double(statement_, i, value) : sqlite3_bind_null(statement_, i); }
  void bind_one(int i, const std::string& value) { sqlite3_bind_text(statement_, i, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT); }

  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
};

/// All or nothing: rolled back unless commit() was reached.
class Transaction {
 public:
  explicit Transaction(sqlite3* database) : database_(database) { Statement(database_, "BEGIN IMMEDIATE").run(); }
  ~Transaction() {
    if (!committed_) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  void commit() {
    Statement(database_, "COMMIT").run();
    committed_ = true;
  }

 private:
  sqlite3* database_;
  bool committed_ = false;
};

}  // namespace

Store::Store(const fs::path& path, Mode mode) {
  if (mode == Mode::kRead && !fs::exists(path)) throw Error(ErrorKind::kIo, path.string() + " does not exist", "name the --out folder of an `entrain lab run`");
  const int flags = mode == Mode::kWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE;
  try {
    if (sqlite3_open_v2(path.c_str(), &database_, flags, nullptr) != SQLITE_OK) fail(database_, "cannot open " + path.string());
    sqlite3_busy_timeout(database_, 10000);
    execute("PRAGMA foreign_keys = ON");
    const int64_t found = [&] {
      Statement version(database_, "PRAGMA user_version");
      version.step();
      return version.integer(0);
    }();
    if (found != 0 && found != kSchemaVersion) {
      throw Error(ErrorKind::kData, path.string() + " has schema " + std::to_string(found) + ", this program knows " + std::to_string(kSchemaVersion), "move it away: it is filled again from results/");
    }
    if (mode == Mode::kRead) return;
    execute("PRAGMA journal_mode = WAL");
    execute("PRAGMA synchronous = FULL");
    if (found == 0) {
      Transaction transaction(database_);
      execute(kSchema);
      execute("PRAGMA user_version = " + std::to_string(kSchemaVersion));
      transaction.commit();
    }
  } catch (...) {
    sqlite3_close(database_);
    database_ = nullptr;
    throw;
  }
}

Store::~Store() { sqlite3_close(database_); }

void Store::execute(const std::string& sql) {
  if (sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail(database_, "lab.sqlite");
}

void Store::set_plan(const std::string& hash, const std::string& toml, const std::string& frozen_at) {
  Statement(database_, "INSERT OR REPLACE INTO plan VALUES (1, ?, ?, ?)").bind(hash, toml, frozen_at).run();
}

std::string Store::plan_hash() const {
  Statement s(database_, "SELECT hash FROM plan");
  return s.step() ? s.text(0) : "";
}

std::string Store::frozen_at() const {
  Statement s(database_, "SELECT frozen_at FROM plan");
  return s.step() ? s.text(0) : "";
}

void Store::add_jobs(const std::vector<Job>& jobs) {
  Transaction transaction(database_);
  execute("UPDATE runs SET state = 'stopped' WHERE state = 'running'");
  Statement insert(database_, "INSERT OR IGNORE INTO runs (name, arm, stage, seed, share, round, trial, tuned, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending')");
  for (const Job& job : jobs) insert.bind(job.name, job.arm, to_string(job.stage), job.seed, job.share, job.round, job.trial, to_text(job.values)).run();
  transaction.commit();
}

void Store::set_state(const std::string& name, const std::string& state, const std::string& error) {
  const bool starts = state == "running";
  Statement(database_, "UPDATE runs SET state = ?, error = ?, attempts = attempts + ?, started_at = CASE WHEN ? THEN ? ELSE started_at END WHERE name = ?")
      .bind(state, error, int64_t{starts}, int64_t{starts}, utc_now(), name).run();
}

void Store::add_result(const std::string& name, const Result& r) {
  Transaction transaction(database_);
  Statement(database_, "UPDATE runs SET state = 'done', error = '', finished_at = ?, key = ?, recipe = ?, split = ?, data = ?, machine = ?, version = ?, parameters = ?, steps = ?, raw_tokens = ?, "
                       "unique_tokens = ?, flops = ?, seconds = ?, final_lr_multiplier = ?, tuned = ? WHERE name = ?")
      .bind(r.finished_at, r.key, r.recipe, r.split, r.data, r.machine, r.version, r.n_parameters, r.state.step, r.state.raw_tokens, r.unique_tokens, r.state.flops, r.state.seconds,
            r.final_multiplier, to_text(r.values), name).run();
  for (const char* table : {"scores", "blocks", "items", "curve"}) Statement(database_, std::string("DELETE FROM ") + table + " WHERE run = ?").bind(name).run();
  Statement score(database_, "INSERT INTO scores VALUES (?, ?, ?)");
  for (const char* metric : {"loss", "bits_per_byte"}) score.bind(name, std::string(metric), *r.metric(metric)).run();
  for (const TaskOutcome& task : r.tasks) {
    for (const auto& [metric, value] : task.metrics) score.bind(name, task.task + "." + metric, value).run();
  }
  Statement block(database_, "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?)");
  for (size_t i = 0; i < r.blocks.size(); ++i) {
    const Block& b = r.blocks[i];
    block.bind(name, static_cast<int64_t>(i), static_cast<int64_t>(b.document), b.tokens, b.bytes, b.nats).run();
  }
  Statement item(database_, "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?)");
  for (const TaskOutcome& task : r.tasks) {
    for (size_t i = 0; i < task.items.size(); ++i) {
      for (size_t c = 0; c < task.columns.size(); ++c) item.bind(name, task.task, static_cast<int64_t>(i), task.items[i].id, task.items[i].group, task.columns[c], task.items[i].values.at(c)).run();
    }
  }
  Statement point(database_, "INSERT OR REPLACE INTO curve VALUES (?, ?, ?, ?, ?, ?)");
  for (const CurvePoint& p : r.curve) point.bind(name, p.step, p.raw_tokens, p.flops, p.seconds, p.nats_per_token).run();
  transaction.commit();
}

void Store::set_choice(const std::string& arm, const Trial& values, bool at_edge) {
  Statement(database_, "INSERT OR REPLACE INTO choices VALUES (?, ?, ?)").bind(arm, to_text(values), int64_t{at_edge}).run();
}

std::vector<RunRow> Store::runs() const {
  std::vector<RunRow> rows;
  Statement s(database_, "SELECT name, arm, stage, state, seed, attempts, share, error, started_at, finished_at, (SELECT value FROM scores WHERE run = name AND metric = 'loss') FROM runs ORDER BY rowid");
  while (s.step()) rows.push_back({s.text(0), s.text(1), s.text(2), s.text(3), s.integer(4), s.integer(5), s.real(6), s.text(7), s.text(8), s.text(9), s.real(10)});
  return rows;
}

std::vector<std::string> Store::tables() { return {"runs", "scores", "blocks", "items", "curve", "choices"}; }

std::string Store::csv(const std::string& table) const {
  const auto names = tables();
  ENTRAIN_CHECK(std::find(names.begin(), names.end(), table) != names.end(), table);
  Statement s(database_, "SELECT * FROM " + table + " ORDER BY rowid");
  std::string text;
  for (int i = 0; i < s.n_columns(); ++i) text += (i ? "," : "") + s.name(i);
  text += "\r\n";
  while (s.step()) {
    for (int i = 0; i < s.n_columns(); ++i) text += (i ? "," : "") + s.csv_field(i);
    text += "\r\n";
  }
  return text;
}

}  // namespace entrain::lab
