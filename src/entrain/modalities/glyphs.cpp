#include "entrain/modalities/glyphs.h"

#include <ft2build.h>
#include FT_FREETYPE_H

#include <algorithm>

#include "entrain/base/error.h"

namespace entrain::modalities {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

/// Takes one code point off the front of a text; bytes that are no UTF-8 give kReplacement one by one.
char32_t take_code_point(std::string_view& text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t n = first < 0x80 ? 1 : first >= 0xC2 && first < 0xE0 ? 2 : first >= 0xE0 && first < 0xF0 ? 3 : first >= 0xF0 && first < 0xF5 ? 4 : 0;
  char32_t code = n == 1 ? first : first & (0xFF >> (n + 1));
  bool valid = n > 0 && text.size() >= n;
  for (size_t i = 1; valid && i < n; ++i) {
    valid = (byte(i) & 0xC0) == 0x80;
    code = code << 6 | (byte(i) & 0x3F);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  valid = valid && code >= kSmallest[n] && code <= 0x10FFFF && !(code >= 0xD800 && code < 0xE000);
  text.remove_prefix(valid ? n : 1);
  return valid ? code : kReplacement;
}

}  // namespace

struct GlyphRenderer::Font {
  FT_Library library = nullptr;
  FT_Face face = nullptr;
  int64_t height = 0, baseline = 0;
  ~Font() {
    if (face != nullptr) FT_Done_Face(face);
    if (library != nullptr) FT_Done_FreeType(library);
  }
  /// Sets the loaded glyph's pixels into the picture, the pen standing at that column; what lies outside is cut off.
  void stamp(Picture& picture, int64_t pen) const {
    const FT_GlyphSlot glyph = face->glyph;
    for (unsigned row = 0; row < glyph->bitmap.rows; ++row) {
      const int64_t y = baseline - glyph->bitmap_top + static_cast<int64_t>(row);
      if (y < 0 || y >= height) continue;
      for (unsigned column = 0; column < glyph->bitmap.width; ++column) {
        const int64_t x = pen + glyph->bitmap_left + static_cast<int64_t>(column);
        if (x < 0 || x >= picture.width) continue;
        uint8_t& pixel = picture.pixels[static_cast<size_t>(x * height + y)];
        pixel = std::max(pixel, glyph->bitmap.buffer[static_cast<int64_t>(row) * glyph->bitmap.pitch + column]);
      }
    }
  }
};

GlyphRenderer::GlyphRenderer(const std::string& font, int64_t height) : font_(std::make_unique<Font>()) {
  ENTRAIN_CHECK(height >= 8 && height <= 256, "height of a line " + std::to_string(height));
  if (FT_Init_FreeType(&font_->library) != 0) throw Error(ErrorKind::kIo, "FreeType cannot be started");
  if (FT_New_Face(font_->library, font.c_str(), 0, &font_->face) != 0 || !FT_IS_SCALABLE(font_->face)) {
    throw Error(ErrorKind::kIo, "cannot open the font " + font, "install it (Debian: fonts-dejavu-core), or name another in modalities.font");
  }
  const FT_Face face = font_->face;
  const double extent = static_cast<double>(face->ascender - face->descender), em = static_cast<double>(face->units_per_EM);
  const auto size = static_cast<FT_UInt>(std::max(1.0, static_cast<double>(height) * em / extent));
  FT_Set_Pixel_Sizes(face, 0, size);
  font_->height = height;
  font_->baseline = height * face->ascender / (face->ascender - face->descender);
}

GlyphRenderer::~GlyphRenderer() = default;

Picture GlyphRenderer::render(std::string_view line) const {
  const FT_Face face = font_->face;
  struct Placed {
    FT_UInt glyph;
    int64_t pen;
    bool blank;
  };
  std::vector<Placed> placed;
  int64_t pen = 0;  // in 1/64 pixel
  while (!line.empty()) {
    char32_t code = take_code_point(line);
    if (code < 0x20 || code == 0x7F) code = ' ';
    const FT_UInt glyph = FT_Get_Char_Index(face, code);
    if (FT_Load_Glyph(face, glyph, FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP) != 0) continue;
    placed.push_back({glyph, pen / 64, code == ' '});
    pen += face->glyph->advance.x;
  }
  Picture picture{std::max<int64_t>(1, (pen + 63) / 64), font_->height, {}};
  picture.pixels.assign(static_cast<size_t>(picture.width * picture.height), 0);
  for (const Placed& p : placed) {
    if (p.blank || FT_Load_Glyph(face, p.glyph, FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP | FT_LOAD_RENDER) != 0) continue;
    font_->stamp(picture, p.pen);
  }
  return picture;
}

std::vector<uint8_t> cut_frames(const Picture& picture, int64_t columns) {
  ENTRAIN_CHECK(columns >= 1, "columns of a frame " + std::to_string(columns));
  const int64_t n_frames = std::max<int64_t>(1, (picture.width + columns - 1) / columns);
  std::vector<uint8_t> frames = picture.pixels;  // columns lie one after the other already
  frames.resize(static_cast<size_t>(n_frames * columns * picture.height), 0);
  return frames;
}

}  // namespace entrain::modalities
