#include "base/text.h"

#include <algorithm>

namespace roost {
namespace {

// How many bytes of well-formed UTF-8 begin `text`: 1 to 4, or 0 (RFC 3629 section 4).
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const auto tail = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
        return i < text.size() && byte(i) >= low && byte(i) <= high;
    };
    const unsigned first = byte(0);
    if (first < 0x80) return 1;
    if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
    if (first >= 0xe0 && first <= 0xef) {
        const unsigned low = first == 0xe0 ? 0xa0 : 0x80;
        const unsigned high = first == 0xed ? 0x9f : 0xbf;
        return tail(1, low, high) && tail(2) ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        const unsigned low = first == 0xf0 ? 0x90 : 0x80;
        const unsigned high = first == 0xf4 ? 0x8f : 0xbf;
        return tail(1, low, high) && tail(2) && tail(3) ? 4 : 0;
    }
    return 0;
}

// Whether the character that begins `text` shows as no character but changes how others do: a control character of the
// second set, of which some are commands to a terminal, and those that turn the direction of writing.
bool is_hidden_control(std::string_view text) {
    const auto begins = [&](std::string_view prefix, unsigned low, unsigned high) {
        if (text.size() <= prefix.size() || !text.starts_with(prefix)) return false;
        const auto last = static_cast<unsigned char>(text[prefix.size()]);
        return last >= low && last <= high;
    };
    return begins("\xc2", 0x80, 0x9f) || begins("\xe2\x80", 0x8e, 0x8f) || begins("\xe2\x80", 0xa8, 0xae) ||
           begins("\xe2\x81", 0xa6, 0xa9) || begins("\xd8", 0x9c, 0x9c);
}

bool is_plain(char c) { return c >= 0x20 && c < 0x7f; }

}  // namespace

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

std::string_view trim(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

std::string excerpt(std::string_view text) {
    constexpr std::size_t kShown = 80;
    return "'" + printable(text.substr(0, kShown)) + (text.size() > kShown ? "...'" : "'");
}

std::string printable(std::string_view text) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        // Nearly all of it, nearly always.
        const auto* const end = std::find_if_not(text.begin(), text.end(), is_plain);
        const auto plain = static_cast<std::size_t>(end - text.begin());
        out += text.substr(0, plain);
        text.remove_prefix(plain);
        if (text.empty()) break;
        const std::size_t length = is_control(text[0]) || is_hidden_control(text) ? 0 : utf8_length(text);
        if (length == 0) {
            const auto byte = static_cast<unsigned char>(text[0]);
            out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return out;
}

std::string path_component(std::string_view value) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    if (value.empty()) return "@";
    if (value == "@") return "%40";
    std::string out;
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (is_control(c) || c == '/' || c == '%' || (c == '.' && out.empty()))
            out += {'%', kHex[byte >> 4], kHex[byte & 15]};
        else
            out += c;
    }
    return out;
}

std::string path_component_value(std::string_view component) {
    if (component == "@") return {};
    std::string out;
    for (std::size_t i = 0; i < component.size(); ++i) {
        constexpr std::string_view kHex = "0123456789ABCDEF";
        if (component[i] != '%' || i + 2 >= component.size()) {
            out += component[i];
            continue;
        }
        out += static_cast<char>(kHex.find(component[i + 1]) << 4U | kHex.find(component[i + 2]));
        i += 2;
    }
    return out;
}

}  // namespace roost
