#include "dict/redis_keys.h"

#include "base/text.h"

namespace roost {
namespace {

constexpr std::string_view kPrivate = "priv/";
constexpr std::string_view kShared = "shared/";
constexpr char kSeparator = '/';

std::string escaped_user(std::string_view user) {
    if (user.find(kSeparator) == std::string_view::npos) return std::string(user);
    std::string out;
    for (const char c : user) {
        if (c == kSeparator)
            out += "\\-";
        else if (c == '\\')
            out += "\\\\";
        else
            out += c;
    }
    return out;
}

std::string unescaped_user(std::string_view name) {
    std::string out;
    bool had_separator = false;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const char next = name[i] == '\\' && i + 1 < name.size() ? name[i + 1] : '\0';
        if (next == '-') {
            out += kSeparator;
            had_separator = true;
            ++i;
        } else if (next == '\\') {
            out += '\\';
            ++i;
        } else {
            out += name[i];
        }
    }
    return had_separator ? out : std::string(name);
}

// For a pattern of SCAN: text that matches itself alone.
std::string literal(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (std::string_view("*?[]^\\").find(c) != std::string_view::npos) out += '\\';
        out += c;
    }
    return out;
}

}  // namespace

Result<std::string> redis_key(std::string_view prefix, std::string_view user, std::string_view key) {
    std::string out(prefix);
    if (key.starts_with(kPrivate) && !user.empty()) {
        out += escaped_user(user) + kSeparator;
        out += key.substr(kPrivate.size());
    } else if (key.starts_with(kShared)) {
        out += key.substr(kShared.size());
    } else {
        return config_error("the key '" + printable(key) + "'", "it is neither of a user nor shared",
                            "begin it with priv/, of a user, or shared/");
    }
    return out;
}

std::string redis_pattern(std::string_view prefix, std::string_view key) {
    return literal(prefix) + "?*" + kSeparator + literal(key.substr(kPrivate.size()));
}

std::optional<std::string> redis_user(std::string_view prefix, std::string_view key, std::string_view name) {
    const std::string end = kSeparator + std::string(key.substr(kPrivate.size()));
    if (!name.starts_with(prefix) || !name.ends_with(end) || name.size() <= prefix.size() + end.size())
        return std::nullopt;
    const std::string_view user = name.substr(prefix.size(), name.size() - prefix.size() - end.size());
    if (user.find(kSeparator) != std::string_view::npos) return std::nullopt;
    return unescaped_user(user);
}

std::uint16_t redis_slot(std::string_view name) {
    const std::size_t open = name.find('{');
    const std::size_t close = open == std::string_view::npos ? open : name.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) name = name.substr(open + 1, close - open - 1);
    unsigned crc = 0;  // CRC-16/XMODEM, as the cluster specification says
    for (const char c : name) {
        crc ^= static_cast<unsigned>(static_cast<unsigned char>(c)) << 8U;
        for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000U) != 0 ? crc << 1U ^ 0x1021U : crc << 1U;
        crc &= 0xffffU;
    }
    return static_cast<std::uint16_t>(crc % 16384);
}

}  // namespace roost
