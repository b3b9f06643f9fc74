#include "entrain/text/corpus.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "entrain/base/error.h"
#include "entrain/base/foreign_json.h"

namespace entrain::text {
namespace {

constexpr std::string_view kSeparator = "<|endoftext|>";

bool ends_with_any(const std::string& name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view e) { return name.ends_with(e); });
}

bool is_corpus_file(const fs::path& path) {
  return ends_with_any(path.filename().string(), {".txt", ".jsonl", ".txt.gz", ".jsonl.gz"});
}

/// Lines of a file, compressed or not.
class LineReader {
 public:
  explicit LineReader(const fs::path& path) : path_(path), buffer_(size_t{1} << 18) {
    std::error_code error;
    if (!fs::is_regular_file(path, error)) {
      throw Error(ErrorKind::kIo, "cannot read " + path.string() + ": not a regular file", "name a file or a folder");
    }
    compressed_ = path.filename().string().ends_with(".gz");
    errno = 0;
    file_.reset(gzopen(path.c_str(), "rb"));
    if (!file_) {
      throw Error(ErrorKind::kIo, "cannot read " + path.string() + ": " + (errno != 0 ? std::strerror(errno) : "out of memory"),
                  "check the path and its permissions");
    }
    gzbuffer(file_.get(), 1 << 17);
    if (compressed_) check_magic();
  }

  /// The next line with its newline; false at the end of the file.
  bool next(std::string& line) {
    line.clear();
    while (true) {
      if (begin_ == end_ && !fill()) return !line.empty();
      const char* from = buffer_.data() + begin_;
      const auto* newline = static_cast<const char*>(std::memchr(from, '\n', end_ - begin_));
      const size_t n = newline != nullptr ? static_cast<size_t>(newline - from) + 1 : end_ - begin_;
      line.append(from, n);
      begin_ += n;
      if (newline != nullptr) return true;
    }
  }

 private:
  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };

  // zlib reads a file that is not gzip as it is, which would train on garbage; so a .gz has to begin as one.
  void check_magic() {
    if (!fill()) broken("it is empty");
    if (gzdirect(file_.get()) != 0) broken("it does not begin as gzip does");
  }

  [[noreturn]] void broken(const std::string& why) const {
    throw Error(ErrorKind::kData, path_.string() + " is not a whole gzip file: " + why,
                "compress or download it again (`gzip -t` checks a file)");
  }

  bool fill() {
    const int n = gzread(file_.get(), buffer_.data(), static_cast<unsigned>(buffer_.size()));
    int code = Z_OK;
    const char* reason = gzerror(file_.get(), &code);
    if (n < 0 || (code != Z_OK && code != Z_STREAM_END)) {
      if (code == Z_ERRNO) throw Error(ErrorKind::kIo, "cannot read " + path_.string() + ": " + std::strerror(errno));
      broken(code == Z_BUF_ERROR ? "it ends early" : reason);
    }
    begin_ = 0;
    end_ = static_cast<size_t>(n);
    return n > 0;
  }

  fs::path path_;
  bool compressed_ = false;
  std::unique_ptr<gzFile_s, Close> file_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
};

std::string_view without_newline(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\f\v") == std::string_view::npos; }

void read_jsonl(const fs::path& path, const std::function<void(Document)>& use) {
  LineReader lines(path);
  std::string line;
  for (uint64_t number = 1; lines.next(line); ++number) {
    if (is_blank(line)) continue;
    const std::string place = path.string() + ":" + std::to_string(number);
    Json value;
    try {
      value = parse_foreign<Json>(line);
    } catch (const Json::exception& error) {
      throw Error(ErrorKind::kData, place + " is not JSON: " + error.what(), "a .jsonl file holds one JSON object a line");
    }
    if (!value.is_object() || !value.contains("text") || !value["text"].is_string()) {
      throw Error(ErrorKind::kData, place + " has no string field \"text\"",
                  "write each document as {\"text\": \"...\"}, or give plain text as .txt");
    }
    std::string text = value["text"].get<std::string>();
    if (!text.empty()) use({std::move(text), place});
  }
}

void read_txt(const fs::path& path, const std::function<void(Document)>& use) {
  LineReader lines(path);
  std::string line, text;
  const auto finish = [&] {
    if (!is_blank(text)) use({std::move(text), path.string()});
    text.clear();
  };
  while (lines.next(line)) {
    if (without_newline(line) == kSeparator) {
      finish();
    } else {
      text += line;
    }
  }
  finish();
}

}  // namespace

std::vector<fs::path> corpus_files(const std::vector<fs::path>& paths) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    std::error_code error;
    const auto status = fs::status(path, error);
    if (!fs::exists(status)) {
      throw Error(ErrorKind::kIo, "no such file or folder: " + path.string(), "check the path given as text");
    }
    if (!fs::is_directory(status)) {
      files.push_back(path);
      continue;
    }
    const size_t before = files.size();
    try {
      for (auto it = fs::recursive_directory_iterator(path, fs::directory_options::follow_directory_symlink);
           it != fs::recursive_directory_iterator(); ++it) {
        if (it->path().filename().string().starts_with(".")) {
          if (it->is_directory()) it.disable_recursion_pending();
        } else if (it->is_regular_file() && is_corpus_file(it->path())) {
          files.push_back(it->path());
        }
      }
    } catch (const fs::filesystem_error& failure) {
      throw Error(ErrorKind::kIo, "cannot read folder " + path.string() + ": " + failure.code().message());
    }
    if (files.size() == before) {
      throw Error(ErrorKind::kData, "folder " + path.string() + " holds no .txt, .jsonl, .txt.gz or .jsonl.gz file",
                  "name a folder with text files, or the files themselves");
    }
    std::sort(files.begin() + static_cast<std::ptrdiff_t>(before), files.end());
  }
  return files;
}

void for_each_document(const std::vector<fs::path>& paths, const std::function<void(Document)>& use) {
  const std::vector<fs::path> files = corpus_files(paths);
  uint64_t n_documents = 0;
  const auto count = [&](Document document) {
    ++n_documents;
    use(std::move(document));
  };
  for (const fs::path& file : files) {
    if (ends_with_any(file.filename().string(), {".jsonl", ".jsonl.gz"})) {
      read_jsonl(file, count);
    } else {
      read_txt(file, count);
    }
  }
  if (n_documents == 0) {
    const std::string first = files.empty() ? "no path" : files.front().string();
    throw Error(ErrorKind::kData,
                "there is no text in " + first + (files.size() > 1 ? " and " + std::to_string(files.size() - 1) + " more files" : ""),
                "name files that hold text");
  }
}

}  // namespace entrain::text
