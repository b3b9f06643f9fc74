#include "entrain/base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "entrain/base/error.h"

namespace entrain {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

[[noreturn]] void fail(const std::string& what, const fs::path& path, int error) {
  std::string hint;
  if (error == ENOSPC || error == EDQUOT) hint = "free some disk space and run the same command again; nothing was lost";
  if (error == ENOENT) hint = "check the path";
  throw Error(ErrorKind::kIo, what + " " + path.string() + ": " + std::strerror(error), hint);
}

void write_all(int fd, const char* data, size_t n_bytes, const fs::path& path) {
  while (n_bytes > 0) {
    const ssize_t n = ::write(fd, data, n_bytes);
    if (n < 0) {
      if (errno == EINTR) continue;
      fail("cannot write", path, errno);
    }
    data += n;
    n_bytes -= static_cast<size_t>(n);
  }
}

void sync_path(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("cannot open", path, errno);
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  if (result != 0 && error != EINVAL) fail("cannot sync", path, error);
}

fs::path parent_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

}  // namespace

struct Checksum::State {
  XXH3_state_t* xxh;
};

Checksum::Checksum() : state_(std::make_unique<State>(State{XXH3_createState()})) {
  ENTRAIN_CHECK(state_->xxh != nullptr, "out of memory");
  XXH3_64bits_reset(state_->xxh);
}
Checksum::~Checksum() { XXH3_freeState(state_->xxh); }
void Checksum::update(const void* data, size_t n_bytes) { XXH3_64bits_update(state_->xxh, data, n_bytes); }
uint64_t Checksum::digest() const { return XXH3_64bits_digest(state_->xxh); }

uint64_t checksum(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t file_checksum(const fs::path& path) {
  const MappedFile file(path);
  return XXH3_64bits(file.bytes().data(), file.bytes().size());
}

std::string to_hex(uint64_t value) {
  std::string text(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4) text[static_cast<size_t>(i)] = "0123456789abcdef"[value & 15];
  return text;
}

std::string read_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("cannot read", path, errno);
  std::string bytes;
  std::array<char, 1 << 16> piece;
  while (true) {
    const ssize_t n = ::read(fd, piece.data(), piece.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      ::close(fd);
      fail("cannot read", path, error);
    }
    if (n == 0) break;
    bytes.append(piece.data(), static_cast<size_t>(n));
  }
  ::close(fd);
  return bytes;
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  temporary_ = parent_of(path_) / ("." + path_.filename().string() + ".partial-" + std::to_string(::getpid()));
  fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail("cannot create", path_, errno);
  buffer_.reserve(kBufferBytes);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t n_bytes) {
  size_ += n_bytes;
  if (buffer_.size() + n_bytes > kBufferBytes) flush();
  if (n_bytes > kBufferBytes) {
    write_all(fd_, static_cast<const char*>(data), n_bytes, path_);
  } else {
    buffer_.append(static_cast<const char*>(data), n_bytes);
  }
}

void AtomicFile::write_at(uint64_t offset, const void* data, size_t n_bytes) {
  flush();
  ENTRAIN_CHECK(offset + n_bytes <= size_, "write_at past the end of " + path_.string());
  const char* bytes = static_cast<const char*>(data);
  while (n_bytes > 0) {
    const ssize_t n = ::pwrite(fd_, bytes, n_bytes, static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      fail("cannot write", path_, errno);
    }
    bytes += n;
    offset += static_cast<uint64_t>(n);
    n_bytes -= static_cast<size_t>(n);
  }
}

void AtomicFile::flush() {
  write_all(fd_, buffer_.data(), buffer_.size(), path_);
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  if (::fsync(fd_) != 0) fail("cannot sync", path_, errno);
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    fail("cannot finish", path_, error);
  }
  sync_path(parent_of(path_));
}

void write_file(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void commit_folder(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::recursive_directory_iterator(from)) sync_path(entry.path());
  sync_path(from);
  if (::rename(from.c_str(), to.c_str()) != 0) fail("cannot finish folder", to, errno);
  sync_path(parent_of(to));
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail("cannot make folder", path, error.value());
}

MappedFile::MappedFile(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("cannot open", path, errno);
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    fail("cannot map", path, EINVAL);
  }
  size_ = static_cast<size_t>(info.st_size);
  if (size_ > 0) {
    void* data = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    const int error = errno;
    ::close(fd);
    if (data == MAP_FAILED) fail("cannot map", path, error);
    data_ = static_cast<const std::byte*>(data);
  } else {
    ::close(fd);
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace entrain
