#include "entrain/base/process.h"

#include <gtest/gtest.h>

#include "entrain/base/error.h"

namespace entrain {
namespace {

constexpr std::chrono::seconds kPatience(30);

TEST(Process, CarriesAnyBytesBothWays) {
  std::string bytes;
  for (int i = 0; i < 300'000; ++i) bytes += static_cast<char>(i * 7 % 256);
  const ProcessResult result = run_process("cat", {}, bytes, kPatience, "");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.output, bytes) << "more than a pipe holds";
  EXPECT_EQ(result.error, "");
}

TEST(Process, PassesArgumentsWithoutAShell) {
  EXPECT_EQ(run_process("printf", {"%s|", "a b", "$HOME", "`ls`", "; exit 3", ""}, "", kPatience, "").output, "a b|$HOME|`ls`|; exit 3||");
  EXPECT_EQ(run_process("env", {}, "", kPatience, "").output, "LC_ALL=C.UTF-8\n");
}

TEST(Process, TellsHowItEnded) {
  const ProcessResult failed = run_process("sh", {"-c", "echo why >&2; exit 7"}, "", kPatience, "");
  EXPECT_EQ(failed.exit_code, 7);
  EXPECT_EQ(failed.error, "why\n");
  EXPECT_EQ(run_process("sh", {"-c", "kill -9 $$"}, "", kPatience, "").exit_code, -1);
  EXPECT_EQ(run_process("sleep", {"1000"}, "", std::chrono::seconds(0), "").exit_code, -1) << "killed";
}

TEST(Process, SaysHowToGetAMissingProgram) {
  try {
    run_process("there-is-no-such-program", {}, "", kPatience, "install it");
    FAIL() << "started a program that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kIo);
    EXPECT_NE(std::string(error.what()).find("there-is-no-such-program"), std::string::npos);
    EXPECT_EQ(error.hint(), "install it");
  }
}

}  // namespace
}  // namespace entrain
