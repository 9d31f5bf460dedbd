#include "dict/file_table.h"

#include <charconv>

#include "dict/escape.h"

namespace roost {
namespace {

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
        out.values_[dict_unescaped(*key)] = dict_unescaped(*value);
    }
}

std::string FileTable::text() const {
    std::string out;
    for (const auto& [key, value] : values_) {
        out += dict_escaped(key) + '\n';
        out += dict_escaped(value) + '\n';
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
