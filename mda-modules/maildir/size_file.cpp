#include "size_file.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace roost::maildir {
namespace {

// A limit as maildirsize can say it: 0 is unlimited, and readers use signed numbers of 64 bits.
std::int64_t written(const std::optional<std::uint64_t>& limit) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    if (!limit) return 0;
    return static_cast<std::int64_t>(std::clamp<std::uint64_t>(*limit, 1, kMost));
}

// Takes a number from the front of `text`.
std::optional<std::int64_t> take_number(std::string_view& text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return number;
}

bool take_blanks(std::string_view& text) {
    std::size_t some = 0;
    while (some < text.size() && (text[some] == ' ' || text[some] == '\t')) ++some;
    text.remove_prefix(some);
    return some > 0;
}

std::string_view first_line(std::string_view text) { return text.substr(0, text.find('\n')); }

// Adds one line of data; Courier pads with blanks on the left.
bool add_line(std::string_view line, std::int64_t& bytes, std::int64_t& messages) {
    take_blanks(line);
    const auto more_bytes = take_number(line);
    if (!more_bytes || !take_blanks(line)) return false;
    const auto more_messages = take_number(line);
    take_blanks(line);
    if (!more_messages || !line.empty()) return false;
    return !__builtin_add_overflow(bytes, *more_bytes, &bytes) &&
           !__builtin_add_overflow(messages, *more_messages, &messages);
}

}  // namespace

std::string size_header(const Limits& limits) {
    std::string out;
    if (limits.storage || !limits.messages) out = std::to_string(written(limits.storage)) + "S";
    if (limits.messages) out += (out.empty() ? "" : ",") + std::to_string(written(limits.messages)) + "C";
    return out + "\n";
}

bool has_limits(std::string_view text, const Limits& limits) {
    std::string_view line = first_line(text);
    std::int64_t storage = 0;
    std::int64_t messages = 0;
    while (true) {
        const auto number = take_number(line);
        if (!number || line.empty()) return false;
        if (line.front() == 'S')
            storage = *number;
        else if (line.front() == 'C')
            messages = *number;
        else
            return false;
        line.remove_prefix(1);
        if (line.empty()) break;
        if (line.front() != ',') return false;
        line.remove_prefix(1);
    }
    return storage == written(limits.storage) && messages == written(limits.messages);
}

std::string size_line(std::int64_t bytes, std::int64_t messages) {
    return std::to_string(bytes) + " " + std::to_string(messages) + "\n";
}

std::optional<SizeFile> parse_size_file(std::string_view text, const Limits& limits) {
    if (!text.ends_with('\n') || !has_limits(text, limits)) return std::nullopt;
    text.remove_prefix(first_line(text).size() + 1);
    std::int64_t bytes = 0;
    std::int64_t messages = 0;
    SizeFile out;
    while (!text.empty()) {
        const std::string_view line = first_line(text);
        if (!add_line(line, bytes, messages)) return std::nullopt;
        text.remove_prefix(line.size() + 1);
        ++out.lines;
    }
    if (out.lines == 0 || bytes < 0 || messages < 0) return std::nullopt;
    out.used = {static_cast<std::uint64_t>(bytes), static_cast<std::uint64_t>(messages)};
    return out;
}

}  // namespace roost::maildir
