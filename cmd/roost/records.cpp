#include "records.h"

#include <algorithm>

#include "base/text.h"
#include "mail/address.h"
#include "store/instance.h"

namespace roost::cli {
namespace {

constexpr std::size_t kLongestName = 255;

bool is_plain(std::string_view name) {
    return !name.empty() && name.size() <= kLongestName && is_utf8(name) &&
           std::none_of(name.begin(), name.end(), [](char c) { return is_control(c) || c == ' '; });
}

// What was typed is at fault, not a file.
Error typed_wrong(Error error) {
    error.outcome = Outcome::malformed;
    return error;
}

Result<void> refuse_twice(const Changes& changes, const std::string& where, std::string_view key) {
    const bool twice =
        (key == "enabled" && changes.enabled) || (key == "plan" && changes.plan) ||
        std::any_of(changes.settings.begin(), changes.settings.end(), [&](const auto& c) { return c.key == key; });
    if (!twice) return {};
    return usage_error(where + ": " + printable(key), "it is given twice", "keep one of the two");
}

}  // namespace

Result<Config> read_config(const Options& options) { return load_config(options.config_path, options.overrides); }

Result<std::unique_ptr<SqlUserDb>> open_database(const Config& config, SqlUserDb::Missing missing) {
    return SqlUserDb::open(std::string(config.text("users.database")), missing, config.duration("users.busy-time"),
                           SqlUserDb::Use::command);
}

Result<std::string> user_name(std::string_view typed) {
    auto address = parse_address(typed);
    if (!address) return typed_wrong(std::move(address).error());
    if (!is_utf8(address->text()))
        return usage_error("user '" + printable(address->text()) + "'", "the name is not UTF-8", "choose another name");
    return address->text();
}

Result<std::string> domain_name(std::string_view typed) {
    if (is_plain(typed) && typed.find('@') == std::string_view::npos) return lower(typed);
    return usage_error("domain '" + printable(typed) + "'", "this is no domain name", "write it as example.org");
}

Result<std::string> plan_name(std::string_view typed) {
    if (is_plain(typed)) return lower(typed);
    return usage_error("plan '" + printable(typed) + "'", "this is no name for a plan",
                       "write a word without blanks, of at most " + std::to_string(kLongestName) + " bytes");
}

Error no_such(std::string_view what, std::string_view name) {
    const std::string kind(what);
    return {Outcome::no_such_user, kind + " " + printable(name), "there is no such " + kind,
            "\"roost " + kind + " list\" lists all", 0};
}

Result<UserRecord> need_user(UserDb& db, std::string_view name) {
    auto record = db.find(name);
    if (!record) return std::move(record).error();
    if (!*record) return no_such("user", name);
    return **std::move(record);
}

Result<Changes> read_assignments(const Schema& schema, Level level, const std::string& where,
                                 std::span<const std::string> operands) {
    Changes out;
    for (const std::string& operand : operands) {
        const std::size_t equals = operand.find('=');
        if (equals == std::string::npos || equals == 0)
            return usage_error(where + ": " + printable(operand), "it is not key=value", "write quota.storage=1G");
        const std::string key = operand.substr(0, equals);
        const std::string value(trim(std::string_view(operand).substr(equals + 1)));
        auto once = refuse_twice(out, where, key);
        if (!once) return std::move(once).error();
        if (level == Level::user && key == "enabled") {
            auto enabled = parse_boolean(value);
            if (!enabled) {
                Error error = typed_wrong(std::move(enabled).error());
                error.what = where + ": enabled";
                return error;
            }
            out.enabled = *enabled;
        } else if (level == Level::domain && key == "plan") {
            auto plan = value.empty() ? Result<std::string>(value) : plan_name(value);
            if (!plan) return std::move(plan).error();
            out.plan = *std::move(plan);
        } else {
            auto checked = schema.check(where, level, key, value);
            if (!checked) return typed_wrong(std::move(checked).error());
            out.settings.push_back({key, value});
        }
    }
    return out;
}

Result<Changes> read_keys(const Schema& schema, Level level, const std::string& where, const Settings& present,
                          std::span<const std::string> operands) {
    Changes out;
    for (const std::string& key : operands) {
        auto once = refuse_twice(out, where, key);
        if (!once) return std::move(once).error();
        if (level == Level::user && key == "enabled") {
            out.enabled = true;
        } else if (level == Level::domain && key == "plan") {
            out.plan.emplace();
        } else {
            if (present.find(key) == present.end() && schema.find(key) == nullptr)
                return typed_wrong(schema.check(where, level, key, {}).error());
            out.settings.push_back({key, std::nullopt});
        }
    }
    return out;
}

}  // namespace roost::cli
