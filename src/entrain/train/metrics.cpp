#include "entrain/train/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "entrain/base/error.h"

namespace entrain::train {

using Json = nlohmann::ordered_json;

MetricsFile::MetricsFile(const fs::path& path, int64_t last_step) : path_(path) {
  if (fs::exists(path)) {
    std::istringstream lines(read_file(path));
    std::string kept;
    for (std::string line; std::getline(lines, line);) {
      const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (json.is_object() && json.value("step", int64_t{0}) <= last_step && json.contains("step")) kept += line + "\n";
    }
    write_file(path, kept);
  }
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) throw Error(ErrorKind::kIo, "cannot open " + path.string() + ": " + std::strerror(errno));
}

MetricsFile::~MetricsFile() {
  if (fd_ >= 0) ::close(fd_);
}

void MetricsFile::add(const StepRecord& r) {
  Json line{{"step", r.step}, {"loss", r.loss}, {"lr", r.lr}, {"gradient_norm", r.gradient_norm}, {"bag", r.bag}, {"target_bag", r.target_bag},
            {"raw_tokens", r.raw_tokens}, {"flops", r.flops}, {"seconds", r.seconds}};
  for (const auto& [name, value] : r.figures) line["figures"][name] = value;
  if (!r.alarms.empty()) line["alarms"] = r.alarms;
  add_line(line.dump());
}

void MetricsFile::add(const ValidationRecord& r) {
  add_line(Json{{"step", r.step}, {"validation_nats_per_token", r.nats_per_token}, {"validation_bits_per_byte", r.bits_per_byte},
                {"raw_tokens", r.raw_tokens}, {"flops", r.flops}, {"seconds", r.seconds}}.dump());
}

void MetricsFile::add_line(std::string line) {
  line += '\n';
  const char* data = line.data();
  size_t left = line.size();
  while (left > 0) {
    const ssize_t n = ::write(fd_, data, left);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      throw Error(ErrorKind::kIo, "cannot write " + path_.string() + ": " + std::strerror(errno),
                  "free some disk space, then run the same command with --resume: it goes on from the newest checkpoint");
    }
    data += n;
    left -= static_cast<size_t>(n);
  }
}

}  // namespace entrain::train
