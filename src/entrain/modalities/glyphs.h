#pragma once
// The modality `glyphs`: a line of text as a grey picture.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace entrain::modalities {

/// A grey picture, 0 (paper) to 255 (ink), column after column: pixel (x, y) is at x * height + y, y from the top.
struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> pixels;
};

/// Draws lines with one font at one size, by FreeType, unhinted. Not for several threads at once.
class GlyphRenderer {
 public:
  /// height: of the pictures, in pixels; ascent and descent of the font together fill it.
  /// Throws Error{kIo} where the font cannot be opened.
  GlyphRenderer(const std::string& font, int64_t height);
  ~GlyphRenderer();

  /// A line of UTF-8 on one baseline, without kerning. White space and control characters are blank; what the font does not have, and bytes that are
  /// not UTF-8, show as the font's box or replacement sign. The width is that of the text, at least 1.
  Picture render(std::string_view line) const;

 private:
  struct Font;
  std::unique_ptr<Font> font_;
};

/// Frames of `columns` columns each, one after the other, the last filled up with paper: at least one, of columns * height bytes.
std::vector<uint8_t> cut_frames(const Picture& picture, int64_t columns);

}  // namespace entrain::modalities
