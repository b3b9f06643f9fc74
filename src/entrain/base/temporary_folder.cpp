#include "entrain/base/temporary_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>

#include "entrain/base/error.h"

namespace entrain {

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "entrain-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw Error(ErrorKind::kIo, "cannot make a temporary folder " + name + ": " + std::strerror(errno));
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace entrain
