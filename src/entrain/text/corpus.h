#pragma once
// Documents of text from files and folders.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "entrain/base/files.h"

namespace entrain::text {

struct Document {
  std::string text;    ///< never empty
  std::string source;  ///< file, and line of a .jsonl: for messages
};

/// The corpus files that the paths name, in the order given: a file as it is, a folder as all .txt, .jsonl, .txt.gz and
/// .jsonl.gz files below it, sorted by path (hidden files and folders left out).
/// Throws Error{kIo} for a path that does not exist, Error{kData} for one that holds no such file.
std::vector<fs::path> corpus_files(const std::vector<fs::path>& paths);

/// Calls `use` with every document of the paths, in order:
///   .txt    one document a file; lines that are exactly <|endoftext|> separate documents. Also any other named file.
///   .jsonl  one document a line: the string in its field "text". Blank lines are skipped.
///   .gz     either of them, compressed.
/// Empty documents are skipped, in a .txt also those of white space only. Reading is streamed: memory holds one document.
/// Throws Error{kIo} for what cannot be read and Error{kData} for broken compression, bad JSON, a line without "text" and
/// paths that hold no text at all, naming file and line.
void for_each_document(const std::vector<fs::path>& paths, const std::function<void(Document)>& use);

}  // namespace entrain::text
