#include "dict/file_table.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace roost {
namespace {

constexpr char kEscape = '\x01';
constexpr std::array<std::pair<char, char>, 5> kEscapes{
    {{'\0', '0'}, {kEscape, '1'}, {'\t', 't'}, {'\r', 'r'}, {'\n', 'n'}}};

void append_escaped(std::string& out, std::string_view text) {
    for (const char c : text) {
        const auto* const found =
            std::find_if(kEscapes.begin(), kEscapes.end(), [&](const auto& escape) { return escape.first == c; });
        if (found == kEscapes.end())
            out += c;
        else
            out += {kEscape, found->second};
    }
}

std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != kEscape) {
            out += text[i];
            continue;
        }
        if (++i == text.size()) break;
        const auto* const found = std::find_if(kEscapes.begin(), kEscapes.end(),
                                               [&](const auto& escape) { return escape.second == text[i]; });
        out += found == kEscapes.end() ? text[i] : found->first;
    }
    return out;
}

// The next line of `text`, without its end, which is taken from it; nullopt: no whole line is left.
std::optional<std::string_view> take_line(std::string_view& text) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    text.remove_prefix(end + 1);
    return line;
}

}  // namespace

FileTable FileTable::parse(std::string_view text) {
    FileTable out;
    for (;;) {
        const auto key = take_line(text);
        const auto value = key ? take_line(text) : std::nullopt;
        if (!value) return out;
        out.values_[unescaped(*key)] = unescaped(*value);
    }
}

std::string FileTable::text() const {
    std::string out;
    for (const auto& [key, value] : values_) {
        append_escaped(out, key);
        out += '\n';
        append_escaped(out, value);
        out += '\n';
    }
    return out;
}

std::optional<std::string> FileTable::get(const std::string& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? std::optional<std::string>() : found->second;
}

bool FileTable::apply(const DictChange& change) {
    if (change.kind == DictChange::Kind::set) {
        values_[change.key] = change.value;
        return true;
    }
    const auto found = values_.find(change.key);
    if (found == values_.end()) return true;
    if (change.kind == DictChange::Kind::unset) {
        values_.erase(found);
        return true;
    }
    std::string& value = found->second;
    std::int64_t sum = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), sum);
    if (error != std::errc() || end != value.data() + value.size()) return false;
    if (__builtin_add_overflow(sum, change.diff, &sum)) return false;
    value = std::to_string(sum);
    return true;
}

}  // namespace roost
