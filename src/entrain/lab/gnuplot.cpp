#include "entrain/lab/gnuplot.h"

#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "entrain/base/error.h"
#include "entrain/lab/html.h"

namespace entrain::lab {
namespace {

constexpr auto kTimeout = std::chrono::seconds(30);
constexpr const char* kInstall = "install gnuplot (Debian: gnuplot-nox) and make the report again";

using File = std::unique_ptr<std::FILE, decltype(&std::fclose)>;

/// Files rather than pipes: a child that ends early can then neither block nor signal us.
File temporary_file() {
  File file(std::tmpfile(), &std::fclose);
  if (!file) throw Error(ErrorKind::kIo, std::string("cannot make a temporary file: ") + std::strerror(errno), "free some room in the folder for temporary files");
  return file;
}

std::string content(std::FILE* file) {
  std::string text;
  std::array<char, 1 << 14> buffer;
  std::rewind(file);
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), file)) text.append(buffer.data(), n);
  return text;
}

/// The last line that says something, where gnuplot names the fault.
std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of(" \n");
  if (end == std::string::npos) return "";
  const size_t line = text.rfind('\n', end), begin = text.find_first_not_of(" \n", line == std::string::npos ? 0 : line);
  return text.substr(begin, std::min<size_t>(end + 1 - begin, 200));
}

/// Waits for a child; kills one that takes too long. Returns its status as waitpid gives it.
int wait_for(pid_t child) {
  const auto deadline = std::chrono::steady_clock::now() + kTimeout;
  int status = 0;
  while (true) {
    const pid_t done = ::waitpid(child, &status, WNOHANG);
    if (done == child) return status;
    if (done < 0 && errno != EINTR) throw Error(ErrorKind::kIo, std::string("cannot wait for gnuplot: ") + std::strerror(errno), kInstall);
    if (std::chrono::steady_clock::now() > deadline) ::kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

/// gnuplot's standard output for a script.
std::string run(const std::string& program, const std::string& script) {
  const File in = temporary_file(), out = temporary_file(), err = temporary_file();
  if (std::fwrite(script.data(), 1, script.size(), in.get()) != script.size() || std::fflush(in.get()) != 0) {
    throw Error(ErrorKind::kIo, "cannot write gnuplot's script: the disk is full", "free some room in the folder for temporary files");
  }
  std::rewind(in.get());
  std::string arguments[] = {program, "-d"};  // -d: no start-up files
  std::string locale = "LC_ALL=C.UTF-8";
  char* argv[] = {arguments[0].data(), arguments[1].data(), nullptr};
  char* environment[] = {locale.data(), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ::fileno(in.get()), 0);
  ::posix_spawn_file_actions_adddup2(&actions, ::fileno(out.get()), 1);
  ::posix_spawn_file_actions_adddup2(&actions, ::fileno(err.get()), 2);
  pid_t child = 0;
  const int problem = ::posix_spawnp(&child, program.c_str(), &actions, nullptr, argv, environment);
  ::posix_spawn_file_actions_destroy(&actions);
  if (problem != 0) throw Error(ErrorKind::kIo, program + " cannot be started: " + std::strerror(problem), kInstall);
  const int status = wait_for(child);
  const std::string text = content(out.get());
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || text.find("</svg>") == std::string::npos) {
    const std::string reason = last_line(content(err.get()));
    throw Error(ErrorKind::kIo, program + " did not draw the figure" + (reason.empty() ? "" : ": " + reason), "use gnuplot 5.2 or newer and make the report again");
  }
  return text;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
}

/// Removes everything from each `open` to the next `close`.
void remove_all(std::string& text, std::string_view open, std::string_view close) {
  for (size_t at = text.find(open); at != std::string::npos; at = text.find(open, at)) {
    const size_t end = text.find(close, at);
    text.erase(at, end == std::string::npos ? std::string::npos : end + close.size() - at);
  }
}

/// Groups that gnuplot opens for a style and then draws nothing in.
void remove_empty_groups(std::string& text) {
  constexpr std::string_view kEnd = ">\n</g>\n";
  for (size_t at = text.find("<g "); at != std::string::npos;) {
    const size_t end = text.find('>', at);
    const bool empty = end != std::string::npos && text.compare(end, kEnd.size(), kEnd) == 0;
    if (empty) text.erase(at, end + kEnd.size() - at);
    at = text.find("<g ", empty ? at : at + 1);
  }
}

std::string page_colour(int red, int green, int blue) {
  if (red == 0 && green == 0 && blue == 1) return "currentColor";
  if (red == 0 && green == 0 && blue == 2) return "var(--muted)";
  if (red == 0 && green == 0 && blue == 3) return "var(--rule)";
  if (red == 0 && green == 1) return arm_css_colour(static_cast<size_t>(blue));
  return "";
}

void use_page_colours(std::string& text) {
  for (size_t at = text.find("rgb("); at != std::string::npos; at = text.find("rgb(", at + 1)) {
    int red = -1, green = -1, blue = -1;
    const size_t end = text.find(')', at);
    if (end == std::string::npos || std::sscanf(text.c_str() + at, "rgb(%d,%d,%d", &red, &green, &blue) != 3) continue;
    if (const std::string colour = page_colour(red, green, blue); !colour.empty()) text.replace(at, end + 1 - at, colour);
  }
  replace_all(text, "fill=\"black\"", "fill=\"currentColor\"");
  for (const char* colour : {"black", "white", "gray"}) replace_all(text, std::string(" color=\"") + colour + "\"", "");  // the page's own shines through
}

std::string slot_name(size_t index) { return "@@" + std::to_string(index) + "@@"; }

}  // namespace

std::string Drawing::slot(std::string text) {
  texts.push_back(std::move(text));
  return "\"" + slot_name(texts.size() - 1) + "\"";
}

std::string arm_colour(size_t index) {
  char text[8];
  std::snprintf(text, sizeof text, "#0001%02x", static_cast<unsigned>(index % kArmColours));
  return text;
}

std::string arm_css_colour(size_t index) { return "var(--arm-" + std::to_string(index % kArmColours + 1) + ")"; }

std::string draw(const Drawing& drawing, const std::string& program) {
  const std::string size = std::to_string(drawing.width) + "," + std::to_string(drawing.height);
  std::string name = drawing.id;
  replace_all(name, "-", "_");  // gnuplot takes no hyphens
  std::string svg = run(program, "set encoding utf8\nset minussign\nset terminal svg size " + size + " dynamic noenhanced font \"sans-serif,12\" name \"" + name + "\"\n" + drawing.script);
  // The page writes its own opening tag; only what is drawn is kept.
  const size_t open = svg.find("<svg"), body = svg.find('>', open), close = svg.rfind("</svg>");
  ENTRAIN_CHECK(open != std::string::npos && body < close, "gnuplot's SVG");
  svg = svg.substr(body + 1, close - body - 1);
  remove_all(svg, "<title>", "</title>");
  remove_all(svg, "<desc>", "</desc>");
  remove_all(svg, "<script", "</script>");
  remove_all(svg, "<filter", "</filter>");
  remove_all(svg, "font-family=\"", "\"");
  if (svg.find("href='#gp", svg.find("</defs>")) == std::string::npos) remove_all(svg, "<defs>", "</defs>");
  remove_empty_groups(svg);
  use_page_colours(svg);
  replace_all(svg, "id=\"gnuplot_canvas\"", "id=\"" + drawing.id + "-canvas\"");
  replace_all(svg, "id='gp", "id='" + drawing.id + "-gp");
  replace_all(svg, "xlink:href='#gp", "href='#" + drawing.id + "-gp");
  // Last: what stands in a text is not touched by the above.
  for (size_t at = svg.find("@@"); at != std::string::npos; at = svg.find("@@", at)) {
    const size_t end = svg.find("@@", at + 2);
    const size_t index = std::stoul(svg.substr(at + 2, end - at - 2));
    const std::string text = html_text(drawing.texts.at(index));
    svg.replace(at, end + 2 - at, text);
    at += text.size();
  }
  return "<svg class=\"plot\" id=\"" + drawing.id + "\" role=\"img\" aria-label=\"" + html_text(drawing.label) + "\" viewBox=\"0 0 " + std::to_string(drawing.width) + " " +
         std::to_string(drawing.height) + "\" style=\"max-width:" + std::to_string(drawing.width * 5 / 4) + "px\">" + svg + "</svg>";
}

}  // namespace entrain::lab
