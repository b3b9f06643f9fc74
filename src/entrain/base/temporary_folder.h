#pragma once
// A folder for what is needed only for a while.

#include "entrain/base/files.h"

namespace entrain {

/// Lives as long as this, with all in it. Throws Error{kIo} where none can be made.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace entrain
