#include "entrain/modalities/glyphs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "entrain/base/error.h"
#include "entrain/modalities/config.h"

namespace entrain::modalities {
namespace {

constexpr int64_t kHeight = 16;

const GlyphRenderer& renderer() {
  static const GlyphRenderer one(Config().font, kHeight);
  return one;
}

int64_t ink(const Picture& picture) { return std::accumulate(picture.pixels.begin(), picture.pixels.end(), int64_t{0}); }

/// Sum of a row's pixels.
int64_t row_ink(const Picture& picture, int64_t y) {
  int64_t sum = 0;
  for (int64_t x = 0; x < picture.width; ++x) sum += picture.pixels[static_cast<size_t>(x * picture.height + y)];
  return sum;
}

TEST(Glyphs, DrawTheSameLineAlikeAndOthersDifferently) {
  const GlyphRenderer again(Config().font, kHeight);
  const Picture a = renderer().render("In the beginning"), b = again.render("In the beginning"), c = renderer().render("In the beginnimg");
  EXPECT_EQ(a.pixels, b.pixels);
  EXPECT_NE(a.pixels, c.pixels);
  EXPECT_EQ(std::ssize(a.pixels), a.width * kHeight);
  EXPECT_EQ(*std::max_element(a.pixels.begin(), a.pixels.end()), 255) << "a stem is wider than a pixel at this size, or lies on one";
}

// What is drawn is the text: a hyphen is a bar between top and baseline, an underscore lies below it, and letters stand beside one another.
TEST(Glyphs, PutInkWhereItBelongs) {
  const Picture hyphen = renderer().render("-"), underscore = renderer().render("_"), l = renderer().render("l"), ll = renderer().render("ll");
  const auto lowest = [](const Picture& p) {
    int64_t last = -1;
    for (int64_t y = 0; y < p.height; ++y) last = row_ink(p, y) > 0 ? y : last;
    return last;
  };
  EXPECT_GT(lowest(underscore), lowest(l));
  EXPECT_GT(lowest(l), lowest(hyphen));
  EXPECT_EQ(row_ink(hyphen, 0), 0);
  EXPECT_NEAR(static_cast<double>(ink(ll)), 2.0 * static_cast<double>(ink(l)), 1.0) << "the same glyph twice";
  EXPECT_NEAR(static_cast<double>(ll.width), 2.0 * static_cast<double>(l.width), 1.0) << "the pen moves by fractions of a pixel";
  EXPECT_EQ(ink(renderer().render("   ")), 0);
}

TEST(Glyphs, SurviveEmptyAndOddText) {
  EXPECT_EQ(renderer().render("").width, 1);
  EXPECT_EQ(ink(renderer().render("\n\t\x01\x7f")), 0);
  EXPECT_GT(ink(renderer().render("\xff\xfe")), 0) << "replacement signs";
  EXPECT_EQ(renderer().render("\xff").pixels, renderer().render("\xEF\xBF\xBD").pixels) << "a byte that is no UTF-8 shows as U+FFFD";
  EXPECT_EQ(renderer().render("\xC0\xAF").pixels, renderer().render("\xFF\xFF").pixels) << "overlong forms are no UTF-8";
  EXPECT_EQ(renderer().render("\xED\xA0\x80").pixels, renderer().render("\xFF\xFF\xFF").pixels) << "nor are surrogates";
  EXPECT_GT(ink(renderer().render("\xF0\x9F\x98\x80")), 0) << "a character the font may lack";
  EXPECT_NE(renderer().render("é").pixels, renderer().render("e").pixels);
  EXPECT_EQ(renderer().render("abc\xE2\x82").pixels, renderer().render("abc\xFF\xFF").pixels) << "cut off inside a character";
}

TEST(Glyphs, CutFramesFromLeftToRight) {
  const Picture picture{5, 2, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}};
  EXPECT_EQ(cut_frames(picture, 2), (std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0}));
  EXPECT_EQ(cut_frames(picture, 5), picture.pixels);
  EXPECT_EQ(cut_frames(Picture{1, 2, {7, 8}}, 3), (std::vector<uint8_t>{7, 8, 0, 0, 0, 0}));
}

TEST(Glyphs, NameAMissingFont) {
  try {
    const GlyphRenderer none("/nowhere/font.ttf", kHeight);
    FAIL() << "opened a font that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kIo);
    EXPECT_NE(std::string(error.what()).find("/nowhere/font.ttf"), std::string::npos);
    EXPECT_NE(error.hint().find("fonts-dejavu-core"), std::string::npos);
  }
}

}  // namespace
}  // namespace entrain::modalities
