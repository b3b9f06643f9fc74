#include "entrain/lab/html.h"

#include <cmath>
#include <cstdint>

#include "entrain/base/format.h"

namespace entrain::lab {
namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";
constexpr const char* kMinus = "\xE2\x88\x92";
constexpr const char* kDash = "\xE2\x80\x93";
constexpr const char* kTimesTen = "\xE2\x80\xAF\xC3\x97\xE2\x80\xAF" "10";  // narrow spaces around the sign
constexpr const char* kThinSpace = "\xE2\x80\xAF";

/// Length of the UTF-8 sequence at the front of `text`, 0 where there is none (RFC 3629: no overlong forms, no surrogates).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto follows = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!follows(1) || !follows(2) || (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3) || (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) return 0;
    return 4;
  }
  return 0;
}

/// Puts the real minus sign in; a rounded zero has none.
std::string with_minus(std::string digits) {
  if (digits.empty() || digits.front() != '-') return digits;
  digits.erase(0, 1);
  return digits.find_first_not_of("0.") == std::string::npos ? digits : kMinus + digits;
}

std::string not_finite(double value) { return std::isnan(value) ? kDash : value > 0 ? "\xE2\x88\x9E" : std::string(kMinus) + "\xE2\x88\x9E"; }

}  // namespace

std::string html_text(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const char c = text.front();
    if (length != 1) {
      out += length ? text.substr(0, length) : std::string_view(kReplacement);
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if ((c >= 0 && c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F) {
      out += kReplacement;
    } else {
      out += c;
    }
    text.remove_prefix(length ? length : 1);
  }
  return out;
}

std::string html_number(double value, int decimals) {
  if (!std::isfinite(value)) return not_finite(value);
  return with_minus(format("%.*f", decimals, value));
}

std::string html_signed(double value, int decimals) {
  if (!std::isfinite(value)) return not_finite(value);
  const std::string digits = html_number(value, decimals);
  return value > 0 && digits.find_first_not_of("0.") != std::string::npos ? "+" + digits : digits;
}

std::string html_p_value(double p) {
  if (std::isfinite(p) && p < 0.0001) return "&lt;" + std::string(kThinSpace) + "0.0001";
  return html_number(p);
}

std::string html_scientific(double value) {
  if (!std::isfinite(value)) return not_finite(value);
  if (value == 0) return kDash;
  const std::string text = format("%.1e", value);  // -d.de+dd
  const size_t e = text.find('e');
  return with_minus(text.substr(0, e)) + kTimesTen + "<sup>" + with_minus(std::to_string(std::stoi(text.substr(e + 1)))) + "</sup>";
}

std::string html_amount(double value) {
  if (!std::isfinite(value)) return not_finite(value);
  const double size = std::abs(value);
  if (size >= 999.95e9) return html_scientific(value);
  if (size >= 999.95e6) return html_number(value * 1e-9, 2) + kThinSpace + "G";
  if (size >= 999950) return html_number(value * 1e-6, 2) + kThinSpace + "M";
  std::string digits = html_number(value, size == std::floor(size) || size >= 100 ? 0 : 2);
  if (size >= 9999.5) digits.insert(digits.size() - 3, ",");
  return digits;
}

std::string html_duration(double seconds) {
  if (!std::isfinite(seconds)) return not_finite(seconds);
  if (seconds >= 2 * 3600) return html_number(seconds / 3600, 1) + kThinSpace + "h";
  if (seconds >= 300) return html_number(seconds / 60, 1) + kThinSpace + "min";
  return html_number(seconds, seconds < 10 ? 2 : 0) + kThinSpace + "s";
}

}  // namespace entrain::lab
