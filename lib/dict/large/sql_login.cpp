#include "dict/large/sql_login.h"

#include <algorithm>

#include "base/text.h"

namespace roost {
namespace {

constexpr std::uint64_t kLeastSeconds = 2;
constexpr std::uint64_t kMostSeconds = 3600;

}  // namespace

std::vector<std::string_view> sql_server_keys(std::span<const std::string_view> more) {
    std::vector<std::string_view> keys(kSqlLoginKeys.begin(), kSqlLoginKeys.end());
    keys.insert(keys.end(), more.begin(), more.end());
    keys.insert(keys.end(), kSqlTableKeys.begin(), kSqlTableKeys.end());
    return keys;
}

std::string sql_option(std::string_view key, std::string_view value) {
    std::string out = std::string(key) + "='";
    for (const char c : value) {
        if (c == '\'' || c == '\\') out += '\\';
        out += c;
    }
    return out + "' ";
}

Result<SqlConnectTime> SqlConnectTime::of(const DictUri& uri) {
    auto most = uri.number("connect_timeout", kMostSeconds, kLeastSeconds, kMostSeconds);
    if (!most) return std::move(most).error();
    return SqlConnectTime(*most);
}

std::string SqlConnectTime::seconds(Deadline deadline) const {
    const auto left = static_cast<std::uint64_t>((deadline.remaining().count() + 999) / 1000);
    return std::to_string(std::clamp(left, kLeastSeconds, most_));
}

std::string sql_first_line(std::string_view text) {
    text = text.substr(0, text.find('\n'));
    return printable(trim(text));
}

}  // namespace roost
