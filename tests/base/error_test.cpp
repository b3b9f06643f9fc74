#include "entrain/base/error.h"

#include <gtest/gtest.h>

namespace entrain {
namespace {

TEST(NearestName, FindsTypingErrorsOnly) {
  const std::vector<std::string> names{"model.width", "model.layers", "train.rows", "optimizer.lr"};
  EXPECT_EQ(nearest_name("model.widht", names), "model.width");
  EXPECT_EQ(nearest_name("modellayers", names), "model.layers");
  EXPECT_EQ(nearest_name("rows", {"rows", "row"}), "rows");
  EXPECT_EQ(nearest_name("optimizer.lr", names), "optimizer.lr");
  EXPECT_EQ(nearest_name("completely.different.thing", names), "");
  EXPECT_EQ(nearest_name("zq", {"abcdef"}), "");
  EXPECT_EQ(nearest_name("anything", {}), "");
  EXPECT_EQ(nearest_name("ab", {"ax", "bb"}), "ax") << "of equals the first";
}

TEST(Error, CarriesKindMessageAndHint) {
  const Error error(ErrorKind::kIo, "the fact", "the fix");
  EXPECT_STREQ(error.what(), "the fact");
  EXPECT_EQ(error.hint(), "the fix");
  EXPECT_EQ(static_cast<int>(ErrorKind::kUsage), 2);  // the program's exit codes, which scripts rely on
  EXPECT_EQ(static_cast<int>(ErrorKind::kData), 3);
  EXPECT_EQ(static_cast<int>(ErrorKind::kNumeric), 4);
  EXPECT_EQ(static_cast<int>(error.kind()), 5);
}

TEST(Check, NamesConditionAndDetail) {
  try {
    ENTRAIN_CHECK(1 + 1 == 3, "detail " + std::to_string(7));
    FAIL() << "no exception";
  } catch (const std::logic_error& error) {
    EXPECT_NE(std::string(error.what()).find("1 + 1 == 3"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("detail 7"), std::string::npos);
  }
}

}  // namespace
}  // namespace entrain
