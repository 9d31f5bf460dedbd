#include "dict/escape.h"

#include <algorithm>
#include <array>

namespace roost {
namespace {

constexpr char kMark = '\x01';
struct Escape {
    char plain, escaped;
};
constexpr std::array<Escape, 5> kEscapes{{{'\0', '0'}, {kMark, '1'}, {'\t', 't'}, {'\r', 'r'}, {'\n', 'n'}}};

}  // namespace

std::string dict_escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const auto* found = std::find_if(kEscapes.begin(), kEscapes.end(), [&](Escape e) { return e.plain == c; });
        if (found != kEscapes.end()) out += kMark;
        out += found != kEscapes.end() ? found->escaped : c;
    }
    return out;
}

std::string dict_unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != kMark || ++i == text.size()) {
            if (i < text.size()) out += text[i];
            continue;
        }
        const auto* found =
            std::find_if(kEscapes.begin(), kEscapes.end(), [&](Escape e) { return e.escaped == text[i]; });
        out += found != kEscapes.end() ? found->plain : text[i];
    }
    return out;
}

}  // namespace roost
