#include "cli/progress.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>

#include "entrain/base/format.h"

namespace entrain::cli {
namespace {

std::atomic<int> signals_received{0};

void on_signal(int) {
  if (++signals_received > 2) ::_exit(130);  // the third Ctrl-C does not wait for the step to end
}

/// The beginning of a line that a terminal shows without breaking it; a line that breaks could not be rewritten.
std::string fitted(const std::string& line) {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return line;
  size_t end = 0;
  for (int columns = 0; end < line.size(); ++end) {
    const bool begins_character = (static_cast<unsigned char>(line[end]) & 0xC0) != 0x80;
    if (begins_character && ++columns >= size.ws_col) break;
  }
  return line.substr(0, end);
}

/// "  entanglement.1 loss 5.31 cosine 0.12 rank 43 gate 31%": what the methods last showed of each block, as far as it is known.
std::string figures_text(const std::map<std::string, double>& figures) {
  struct Shown {
    const char *name, *label;
    double scale;
    const char* unit;
  };
  std::string text;
  for (const auto& [key, loss] : figures) {
    if (!key.ends_with(".loss")) continue;
    const std::string block = key.substr(0, key.rfind('.'));
    text += "  " + block;
    for (const Shown& shown : {Shown{".loss", "loss", 1, ""}, {".mean_cosine", "cosine", 1, ""}, {".effective_rank", "rank", 1, ""}, {".gate_rate", "gate", 100, "%"}}) {
      const auto found = figures.find(block + shown.name);
      if (found != figures.end()) text += format(" %s %.3g%s", shown.label, shown.scale * found->second, shown.unit);
    }
  }
  return text;
}

}  // namespace

std::string short_number(double value) {
  const char* suffix = "";
  for (const char* next : {"k", "M", "G", "T", "P", "E"}) {
    if (std::abs(value) < 999.5) break;
    value /= 1000;
    suffix = next;
  }
  char text[32];
  const int digits = *suffix == 0 || std::abs(value) >= 99.95 ? 0 : std::abs(value) >= 9.995 ? 1 : 2;
  std::snprintf(text, sizeof text, "%.*f%s", digits, value, suffix);
  return text;
}

std::string short_time(double seconds) {
  char text[48];
  const long whole = std::lround(seconds);
  if (whole < 60) {
    std::snprintf(text, sizeof text, "%ld s", whole);
  } else if (whole < 3600) {
    std::snprintf(text, sizeof text, "%ld min %02ld s", whole / 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%ld h %02ld min", whole / 3600, whole % 3600 / 60);
  }
  return text;
}

double resident_bytes() {
  double pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    long total = 0, resident = 0;
    if (std::fscanf(file, "%ld %ld", &total, &resident) == 2) pages = static_cast<double>(resident);
    std::fclose(file);
  }
  return pages * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

Progress::Progress(std::string label) : label_(std::move(label)), terminal_(::isatty(STDERR_FILENO) != 0) {
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  // A terminal that goes away saves the run too, unless nohup has said to go on; a reader that goes away stops nothing.
  struct sigaction earlier {};
  if (::sigaction(SIGHUP, nullptr, &earlier) == 0 && earlier.sa_handler != SIG_IGN) ::sigaction(SIGHUP, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

Progress::~Progress() { end_line(); }

void Progress::end_line() {
  if (line_open_) std::fputc('\n', stderr);
  line_open_ = false;
}

void Progress::on_start(const Start& s) {
  for (const std::string& name : s.damaged_checkpoints) std::fprintf(stderr, "warning: checkpoint %s is damaged and was passed over\n", name.c_str());
  const std::string memory = s.n_memory_parameters > 0 ? " and " + short_number(static_cast<double>(s.n_memory_parameters)) + " in memory" : "";
  const std::string trained = s.n_trained_parameters < s.n_parameters ? ", of which " + short_number(static_cast<double>(s.n_trained_parameters)) + " are trained" : "";
  std::fprintf(stderr, "%s%s parameters%s%s, %s FLOPs a step, %s training and %s held-out tokens, run %s\n", label_.c_str(),
               short_number(static_cast<double>(s.n_parameters)).c_str(), memory.c_str(), trained.c_str(), short_number(s.flops_per_step).c_str(),
               short_number(static_cast<double>(s.n_train_tokens)).c_str(), short_number(static_cast<double>(s.n_validation_tokens)).c_str(), s.run.c_str());
  for (const std::string& method : s.methods) std::fprintf(stderr, "%s%s\n", label_.c_str(), method.c_str());
  if (s.resumed_step > 0) std::fprintf(stderr, "%sresumed at step %lld\n", label_.c_str(), static_cast<long long>(s.resumed_step));
}

void Progress::on_step(const train::StepRecord& r) {
  for (const std::string& alarm : r.alarms) {
    end_line();
    std::fprintf(stderr, "%salarm at step %lld: %s\n", label_.c_str(), static_cast<long long>(r.step), alarm.c_str());
  }
  for (const auto& [name, value] : r.figures) figures_[name] = value;
  const bool fresh = smoothed_seconds_ == 0, new_objective = r.bag * 1000 + r.target_bag != smoothed_bag_;
  smoothed_bag_ = r.bag * 1000 + r.target_bag;
  smoothed_loss_ = fresh || new_objective ? r.loss : 0.95 * smoothed_loss_ + 0.05 * r.loss;
  smoothed_seconds_ = fresh ? r.step_seconds : 0.95 * smoothed_seconds_ + 0.05 * r.step_seconds;
  const auto now = std::chrono::steady_clock::now();
  const double since = std::chrono::duration<double>(now - last_shown_).count();
  if (r.fraction < 1.0 && since < (terminal_ ? 0.2 : 15.0)) return;
  last_shown_ = now;
  const double seconds_left = r.fraction > 0 ? r.seconds / r.fraction * (1.0 - r.fraction) : 0;
  const std::string bags = r.bag * r.target_bag > 1 ? " bags " + std::to_string(r.bag) + "->" + std::to_string(r.target_bag) : "";
  const std::string line = label_ + format("%5.1f%% step %lld%s  loss %.4f  lr %.2e  |g| %.2f  %s tok/s  %.0f GFLOP/s  %sB  %s left", 100.0 * r.fraction, static_cast<long long>(r.step),
                                           bags.c_str(), smoothed_loss_, r.lr, r.gradient_norm, short_number(static_cast<double>(r.step_tokens) / smoothed_seconds_).c_str(),
                                           r.step_flops / smoothed_seconds_ * 1e-9, short_number(resident_bytes()).c_str(), short_time(seconds_left).c_str()) + figures_text(figures_);
  if (terminal_) {
    std::fprintf(stderr, "\r\x1b[K%s", fitted(line).c_str());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
  line_open_ = terminal_;
}

void Progress::on_validation(const train::ValidationRecord& r) {
  end_line();
  std::fprintf(stderr, "%sstep %lld  held-out %.4f nats/token, %.4f bits/byte\n", label_.c_str(), static_cast<long long>(r.step), r.nats_per_token, r.bits_per_byte);
}

bool Progress::stop_requested() { return signals_received.load() > 0; }

}  // namespace entrain::cli
