#include "dict/sql_table.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace roost {
namespace {

// What PostgreSQL keeps of a name; the others keep more.
constexpr std::size_t kLongestName = 63;

bool is_name(std::string_view text) {
    return !text.empty() && text.size() <= kLongestName && is_utf8(text) &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return static_cast<unsigned char>(c) >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      (c >= '0' && c <= '9') || c == '_' || c == '$' || c == '-';
           });
}

std::string quoted(std::string_view name, char quote) { return quote + std::string(name) + quote; }

}  // namespace

Result<SqlTable> SqlTable::of(const DictUri& uri, char quote) {
    constexpr std::array<std::string_view, 4> kDefaults{"quota2", "username", "bytes", "messages"};
    std::array<std::string, 4> names;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const std::string name = uri.get(kSqlTableKeys[i], kDefaults[i]);
        const std::size_t dot = i == 0 ? name.find('.') : std::string::npos;
        const std::string_view last = std::string_view(name).substr(dot == std::string::npos ? 0 : dot + 1);
        if (!is_name(last) || (dot != std::string::npos && !is_name(name.substr(0, dot))))
            return uri.wrong(std::string(kSqlTableKeys[i]) + " is not a name of at most " +
                                 std::to_string(kLongestName) + " letters, digits, _, $ and -",
                             i == 0 ? "a table may be SCHEMA.TABLE" : "");
        if (dot != std::string::npos) names[i] = quoted(name.substr(0, dot), quote) + ".";
        names[i] += quoted(last, quote);
    }
    return SqlTable{names[0], names[1], {names[2], names[3]}};
}

std::string SqlTable::create() const {
    return "CREATE TABLE " + table + " (" + user + " VARCHAR(255) PRIMARY KEY, " + fields[0] +
           " BIGINT NOT NULL DEFAULT 0, " + fields[1] + " BIGINT NOT NULL DEFAULT 0)";
}

Result<std::size_t> sql_field(std::string_view key, const std::string& dict) {
    if (key == kDictStorage) return std::size_t(0);
    if (key == kDictMessages) return std::size_t(1);
    return config_error("cannot use the key " + printable(key) + " in the dict " + dict,
                        std::string("a table holds ") + kDictStorage + " and " + kDictMessages + " alone",
                        "use a redis:, file: or proxy: dict for other keys");
}

Result<SqlChange> SqlChange::of(const DictTransaction& transaction, const std::string& dict) {
    using Kind = Field::Kind;
    SqlChange out{transaction.user, {}};
    for (const DictChange& change : transaction.changes) {
        auto at = sql_field(change.key, dict);
        if (!at) return std::move(at).error();
        Field& field = out.fields[*at];
        if (change.kind == DictChange::Kind::set) {
            field.kind = Kind::set;
            const std::string& text = change.value;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), field.number);
            if (error != std::errc() || end != text.data() + text.size())
                return Error{Outcome::malformed,
                             "cannot write " + change.key + " to the dict " + dict,
                             "'" + printable(text) + "' is not a whole number",
                             {},
                             0};
        } else if (change.kind == DictChange::Kind::unset) {
            field = {Kind::clear, 0};
        } else if (field.kind != Kind::clear) {
            if (field.kind == Kind::keep) field = {Kind::add, 0};
            if (__builtin_add_overflow(field.number, change.diff, &field.number))
                return Error{Outcome::malformed,
                             "cannot add to " + change.key + " in the dict " + dict,
                             "the sum is more than 64 bits hold",
                             {},
                             0};
        }
    }
    return out;
}

}  // namespace roost
