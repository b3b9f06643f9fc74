#pragma once
// Text and numbers as a page shows them. Every function returns HTML that is safe between tags and inside quoted attributes.

#include <string>
#include <string_view>

namespace entrain::lab {

/// &, <, >, " and ' escaped; bytes that are no UTF-8, and control characters other than tab and line ends, become U+FFFD.
std::string html_text(std::string_view text);

/// "−0.0123": a real minus sign, `decimals` digits after the point. A value that is not finite is "−∞", "∞" or "–" for NaN.
std::string html_number(double value, int decimals = 4);
/// The same with a sign always, but for a value that rounds to 0.
std::string html_signed(double value, int decimals = 4);
/// "0.0312"; "< 0.0001" below that.
std::string html_p_value(double p);
/// A count in words of its size: "512", "12,400", "1.25 M", "3.2 × 10<sup>13</sup>".
std::string html_amount(double value);
/// "1.6 × 10<sup>13</sup>", or "–" for 0.
std::string html_scientific(double value);
/// "48 s", "12.5 min", "3.2 h".
std::string html_duration(double seconds);

}  // namespace entrain::lab
