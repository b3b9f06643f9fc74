// entrain info

#include <ATen/Version.h>
#include <torch/version.h>

#include <cstdio>
#include <fstream>
#include <thread>

#include "cli/progress.h"
#include "cli/verbs.h"
#include "entrain/base/json.h"
#include "entrain/ops/ops.h"

namespace entrain::cli {
namespace {

std::string line_of(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string cpu_features() {
  const std::string all = " " + line_of("/proc/cpuinfo", "flags") + " ";
  std::string found;
  for (const char* feature : {"sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}) {
    if (all.find(" " + std::string(feature) + " ") != std::string::npos) found += (found.empty() ? "" : " ") + std::string(feature);
  }
  return found;
}

}  // namespace

void add_info(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand("info", "this program and this machine");
  verb->add_flag("--json", *json, "one JSON object on standard output");
  verb->callback([json] {
    const std::string total = line_of("/proc/meminfo", "MemTotal"), available = line_of("/proc/meminfo", "MemAvailable");
    const OrderedJson info{{"version", ENTRAIN_VERSION}, {"torch", TORCH_VERSION}, {"cpu", line_of("/proc/cpuinfo", "model name")},
                                      {"cpu_features", cpu_features()}, {"kernels", ops::cpu_kernel_target()}, {"torch_kernels", at::get_cpu_capability()},
                                      {"threads", std::thread::hardware_concurrency()}, {"memory_total", total}, {"memory_available", available}};
    if (*json) {
      std::printf("%s\n", info.dump().c_str());
      return;
    }
    for (const auto& [key, value] : info.items()) std::printf("%-17s %s\n", key.c_str(), value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
  });
}

}  // namespace entrain::cli
