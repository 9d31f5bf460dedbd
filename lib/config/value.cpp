#include "config/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <sstream>

#include "base/endpoint.h"
#include "base/peer.h"
#include "base/text.h"

namespace roost {
namespace {

constexpr std::string_view kUnlimited = "unlimited";

Error bad_value(std::string_view text, std::string_view right) {
    return config_error({}, excerpt(text) + " is not " + std::string(right), {});
}

// The number that `text` begins with; what follows it is left in `text`. nullopt: no digits, or beyond 64 bits.
std::optional<std::uint64_t> take_number(std::string_view& text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return number;
}

std::optional<std::uint64_t> scaled(std::uint64_t number, std::uint64_t unit) {
    if (number > std::numeric_limits<std::uint64_t>::max() / unit) return std::nullopt;
    return number * unit;
}

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};

// NUMBER[UNIT] with one of `units`; the whole text must match.
template <std::size_t N>
std::optional<std::uint64_t> number_with_unit(std::string_view text, const std::array<Unit, N>& units) {
    const auto number = take_number(text);
    if (!number) return std::nullopt;
    for (const Unit& unit : units)
        if (lower(unit.name) == lower(text)) return scaled(*number, unit.factor);
    return std::nullopt;
}

constexpr std::array<Unit, 6> kSizeUnits{
    {{"", 1}, {"B", 1}, {"K", 1ULL << 10}, {"M", 1ULL << 20}, {"G", 1ULL << 30}, {"T", 1ULL << 40}}};
constexpr std::array<Unit, 5> kDurationUnits{
    {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
constexpr std::uint64_t kLongestMs = 3650ULL * 86'400'000;
constexpr std::uint64_t kMostId = std::numeric_limits<std::uint32_t>::max() - 1;  // the last one means "none"

}  // namespace

Result<bool> parse_boolean(std::string_view text) {
    if (text == "yes") return true;
    if (text == "no") return false;
    return bad_value(text, "yes or no");
}

Result<std::optional<std::uint64_t>> parse_size(std::string_view text) {
    if (text == kUnlimited) return std::optional<std::uint64_t>();
    const auto bytes = number_with_unit(text, kSizeUnits);
    if (!bytes) return bad_value(text, "a size: write bytes or 512K, 10M, 1G, 2T, or unlimited");
    return std::optional(*bytes);
}

Result<std::optional<std::uint64_t>> parse_count(std::string_view text) {
    if (text == kUnlimited) return std::optional<std::uint64_t>();
    std::string_view rest = text;
    const auto number = take_number(rest);
    if (!number || !rest.empty()) return bad_value(text, "a count: write a whole number, or unlimited");
    return std::optional(*number);
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
    const auto ms = number_with_unit(text, kDurationUnits);
    if (!ms || *ms > kLongestMs) return bad_value(text, "a duration: write 500ms, 30s, 5m, 36h or 7d, up to ten years");
    return std::chrono::milliseconds(static_cast<std::int64_t>(*ms));
}

Result<mode_t> parse_mode(std::string_view text) {
    mode_t mode = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
    if (error != std::errc() || end != text.data() + text.size() || mode > 0777)
        return bad_value(text, "a mode: write permission bits in octal, as 0700");
    return mode;
}

std::vector<std::string> parse_words(std::string_view text) {
    std::istringstream in{std::string(text)};
    std::vector<std::string> words;
    for (std::string word; in >> word;) words.push_back(std::move(word));
    return words;
}

std::uint64_t Allowance::of(std::uint64_t limit) const {
    if (!is_share) return amount;
    // In two steps, so that nothing overflows: amount <= 1000.
    return limit / 100 * amount + limit % 100 * amount / 100;
}

Result<Allowance> parse_allowance(std::string_view text) {
    constexpr std::uint64_t kMostPercent = 100;
    std::string_view rest = text;
    if (const auto number = take_number(rest); number && rest == "%" && *number <= kMostPercent)
        return Allowance{true, *number};
    const auto bytes = number_with_unit(text, kSizeUnits);
    if (!bytes) return bad_value(text, "an allowance: write a share up to 100%, or a size as 10M, or 0");
    return Allowance{false, *bytes};
}

Result<std::optional<std::uint32_t>> parse_id(std::string_view text) {
    if (text.empty()) return std::optional<std::uint32_t>();
    std::string_view rest = text;
    const auto id = take_number(rest);
    if (!id || !rest.empty() || *id > kMostId) return bad_value(text, "the number of a user or group: see id(1)");
    return std::optional(static_cast<std::uint32_t>(*id));
}

Result<std::optional<IdRange>> parse_id_range(std::string_view text) {
    if (text.empty()) return std::optional<IdRange>();
    std::string_view rest = text;
    const auto from = take_number(rest);
    if (from && rest.starts_with('-')) {
        rest.remove_prefix(1);
        const auto to = take_number(rest);
        if (to && rest.empty() && *from > 0 && *from <= *to && *to <= kMostId)
            return std::optional(IdRange{static_cast<std::uint32_t>(*from), static_cast<std::uint32_t>(*to)});
    }
    return bad_value(text, "a range of ids: write FROM-TO, as 5000-60000, FROM at least 1 and not above TO");
}

Result<Room> parse_room(std::string_view text) {
    const bool extra = text.starts_with('+');
    const std::string_view amount = text.substr(extra ? 1 : 0);
    if (amount == kUnlimited) return Room{extra, std::nullopt};
    const auto number = number_with_unit(amount, kSizeUnits);
    if (!number) return bad_value(text, "room: write 1G, 1000 or unlimited; or +100M, for so much more");
    return Room{extra, *number};
}

std::string Threshold::text() const {
    return std::string(of_messages ? "messages" : "storage") + (rising ? ">" : "<") + std::to_string(percent) + "%";
}

Result<std::vector<Threshold>> parse_thresholds(std::string_view text) {
    constexpr unsigned kMost = 1000;
    std::vector<Threshold> out;
    for (const std::string& word : parse_words(text)) {
        const std::size_t sign = word.find_first_of("<>");
        const std::string kind = word.substr(0, sign);
        Threshold threshold;
        const char* const begin = word.data() + (sign == std::string::npos ? word.size() : sign + 1);
        const char* const end = word.data() + word.size();
        const auto [stop, code] = std::from_chars(begin, end, threshold.percent);
        if ((kind != "storage" && kind != "messages") || code != std::errc() || stop + 1 != end || *stop != '%' ||
            threshold.percent == 0 || threshold.percent > kMost)
            return bad_value(word, "threshold: write storage>80% or messages>80% for rising usage, < for falling");
        threshold.of_messages = kind == "messages";
        threshold.rising = word[sign] == '>';
        out.push_back(threshold);
    }
    return out;
}

namespace {

Result<void> check_path(std::string_view text) {
    if (text.starts_with('/')) return {};
    return bad_value(text, "an absolute path: begin it with /");
}

// Whether every "%" begins a variable with a name from `names`, or is one of two.
Result<void> check_variables(std::string_view text, const std::vector<std::string>& names) {
    for (std::size_t at = text.find('%'); at != std::string_view::npos; at = text.find('%', at + 2)) {
        const std::string_view rest = text.substr(at + 1);
        const bool known = rest.starts_with('%') ||
                           std::any_of(names.begin(), names.end(),
                                       [&](const std::string& name) { return rest.starts_with("{" + name + "}"); });
        if (known) continue;
        std::string right = "a template: after % comes ";
        for (const std::string& name : names) right += "{" + name + "}, ";
        return bad_value(text, right + "or another %");
    }
    return {};
}

Result<void> check_pattern(std::string_view text) {
    if (text.empty() || text.ends_with('/')) return bad_value(text, "a path: end it without a slash");
    if (("/" + std::string(text) + "/").find("/../") != std::string::npos)
        return bad_value(text, "a path for mailboxes: '..' has no place in it");
    return check_variables(text, {"user", "local", "domain", "hash"});
}

Result<void> check_command(std::string_view text, std::string_view variables) {
    if (const auto words = parse_words(text); !words.empty() && !words.front().starts_with('/'))
        return bad_value(text, "a command: begin it with the absolute path of a program");
    return check_variables(text, parse_words(variables));
}

// Whether a reader took it. What its Error is about stays in the text: who gives the value puts the setting in that
// place.
template <class T>
Result<void> status(Result<T> parsed) {
    if (parsed) return {};
    Error error = std::move(parsed).error();
    if (!error.what.empty()) error.why = error.what + ": " + error.why;
    return error;
}

Result<void> check_positive(std::string_view text) {
    auto count = parse_count(text);
    if (count && *count == 0U) return bad_value(text, "1 at least: write a whole number, or unlimited");
    return status(std::move(count));
}

Result<void> check_patience(std::string_view text) {
    auto time = parse_duration(text);
    if (time && time->count() == 0) return bad_value(text, "longer than 0: write 500ms, 30s, 5m, 36h or 7d");
    return status(std::move(time));
}

Result<void> check_tcp_socket(std::string_view text) {
    auto endpoint = parse_endpoint(text);
    if (endpoint && endpoint->local()) return bad_value(text, "a TCP socket: write tcp:HOST:PORT");
    return status(std::move(endpoint));
}

}  // namespace

Result<void> check_value(Kind kind, std::string_view choices, std::string_view text) {
    for (const char c : text)
        if (is_control(c)) return bad_value(text, "allowed: it has a control character");
    switch (kind) {
        case Kind::text:
        case Kind::words:
            return {};
        case Kind::path:
            return text.empty() ? Result<void>() : check_path(text);
        case Kind::paths:
            for (const std::string& word : parse_words(text))
                if (auto checked = check_path(word); !checked) return checked;
            return {};
        case Kind::pattern:
            return check_pattern(text);
        case Kind::boolean:
            return status(parse_boolean(text));
        case Kind::size:
            return status(parse_size(text));
        case Kind::count:
            return status(parse_count(text));
        case Kind::positive:
            return check_positive(text);
        case Kind::duration:
            return status(parse_duration(text));
        case Kind::patience:
            return check_patience(text);
        case Kind::mode:
            return status(parse_mode(text));
        case Kind::allowance:
            return status(parse_allowance(text));
        case Kind::id:
            return status(parse_id(text));
        case Kind::command:
            return check_command(text, choices);
        case Kind::id_range:
            return status(parse_id_range(text));
        case Kind::thresholds:
            return status(parse_thresholds(text));
        case Kind::room:
            return status(parse_room(text));
        case Kind::sockets:
            for (const std::string& word : parse_words(text))
                if (auto checked = status(parse_endpoint(word)); !checked) return checked;
            return {};
        case Kind::tcp_socket:
            return text.empty() ? Result<void>() : check_tcp_socket(text);
        case Kind::peers:
            return status(PeerSet::parse(parse_words(text)));
        case Kind::choice:
            break;
    }
    for (const std::string& word : parse_words(choices))
        if (word == text) return {};
    return bad_value(text, "one of " + kind_name(kind, choices));
}

bool tells_users_apart(std::string_view pattern) {
    for (std::size_t at = pattern.find('%'); at != std::string_view::npos; at = pattern.find('%', at + 2)) {
        const std::string_view rest = pattern.substr(at);
        if (rest.starts_with("%{user}") || rest.starts_with("%{local}")) return true;
    }
    return false;
}

std::string kind_name(Kind kind, std::string_view choices) {
    switch (kind) {
        case Kind::text:
            return "text";
        case Kind::words:
            return "words";
        case Kind::path:
            return "path";
        case Kind::paths:
            return "paths";
        case Kind::pattern:
            return "template";
        case Kind::boolean:
            return "yes|no";
        case Kind::size:
            return "size";
        case Kind::count:
            return "count";
        case Kind::positive:
            return "positive";
        case Kind::duration:
            return "duration";
        case Kind::patience:
            return "patience";
        case Kind::mode:
            return "mode";
        case Kind::allowance:
            return "share|size";
        case Kind::id:
            return "id";
        case Kind::command:
            return "command";
        case Kind::id_range:
            return "FROM-TO";
        case Kind::thresholds:
            return "thresholds";
        case Kind::room:
            return "room";
        case Kind::sockets:
            return "sockets";
        case Kind::tcp_socket:
            return "TCP socket";
        case Kind::peers:
            return "clients";
        case Kind::choice:
            break;
    }
    std::string out;
    for (const std::string& word : parse_words(choices)) out += (out.empty() ? "" : "|") + word;
    return out;
}

std::string format_size(std::uint64_t bytes) {
    constexpr std::array<char, 5> kUnits{'B', 'K', 'M', 'G', 'T'};
    std::size_t unit = 0;
    std::uint64_t tenths = bytes > std::numeric_limits<std::uint64_t>::max() / 10 ? bytes : bytes * 10;
    while (tenths >= 10240 && unit + 1 < kUnits.size()) {
        tenths /= 1024;
        ++unit;
    }
    std::string out = std::to_string(tenths / 10);
    if (unit > 0) out += "." + std::to_string(tenths % 10);
    return out + kUnits[unit];
}

}  // namespace roost
