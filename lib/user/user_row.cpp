// From rows to records.
#include "base/text.h"
#include "user/settings_json.h"
#include "user/sql_user_impl.h"

#include <charconv>
#include <cstdint>

namespace roost {
namespace {

Result<Settings> settings_of(const std::string& label, std::string_view column, const Column& json) {
    if (!json) return Settings{};
    return parse_settings(label + ", column " + std::string(column), json.text);
}

Result<std::int64_t> number_of(const std::string& label, std::string_view column, const Column& value) {
    std::int64_t number = 0;
    const char* const end = value.text.data() + value.text.size();
    const auto read = std::from_chars(value.text.data(), end, number);
    if (value && read.ec == std::errc() && read.ptr == end) return number;
    return config_error(label + ", column " + std::string(column),
                        value ? "'" + printable(value.text) + "' is not a whole number" : "it is NULL",
                        "put it right with SQL; see roost-users(5)");
}

// `own_domain` compares d.name with the domain of the user u.
std::string query(std::string_view own_domain, std::string_view rest) {
    return "SELECT u.name, u.enabled, u.settings, u.allocation, u.version, d.settings, d.plan, p.name, p.settings "
           "FROM users u LEFT JOIN domains d ON " +
           std::string(own_domain) + " LEFT JOIN plans p ON p.name = d.plan " + std::string(rest);
}

}  // namespace

std::string find_query() { return query("d.name = :domain", "WHERE u.name = :name"); }

std::string list_query() {
    // What rtrim takes off is what stands behind the last "@".
    return query(
        "instr(u.name, '@') AND "
        "d.name = substr(u.name, 1 + length(rtrim(u.name, replace(u.name, '@', ''))))",
        "WHERE u.name > :after AND (:any OR substr(u.name, -length(:suffix)) = :suffix COLLATE NOCASE) "
        "ORDER BY u.name LIMIT :batch");
}

bool is_usable_name(std::string_view name) {
    for (const char c : name)
        if (is_control(c)) return false;
    return !name.empty() && is_utf8(name);
}

Result<void> check_name(std::string_view kind, std::string_view name) {
    if (is_usable_name(name)) return {};
    return config_error(std::string(kind) + " '" + printable(name) + "'",
                        name.empty() ? "the name is empty" : "the name has a control character or is not UTF-8",
                        "choose another name");
}

std::string_view domain_of(std::string_view name) {
    const auto at = name.rfind('@');
    return at == std::string_view::npos ? std::string_view{} : name.substr(at + 1);
}

std::string user_label(std::string_view name) { return "user " + printable(name); }

Result<UserRecord> record_of(const UserRow& row) {
    UserRecord record;
    record.name = lower(row.name.text);
    record.domain = domain_of(record.name);
    const std::string user = user_label(record.name);
    const std::string domain = "domain " + printable(record.domain);
    if (auto usable = check_name("user", record.name); !usable) return std::move(usable).error();

    auto enabled = number_of(user, "enabled", row.enabled);
    if (!enabled) return std::move(enabled).error();
    record.enabled = *enabled != 0;
    auto version = number_of(user, "version", row.version);
    if (!version) return std::move(version).error();
    record.version = *version;

    auto settings = settings_of(user, "settings", row.settings);
    if (!settings) return std::move(settings).error();
    record.settings = std::move(*settings);
    if (row.allocation) {
        auto allocation = settings_of(user, "allocation", row.allocation);
        if (!allocation) return std::move(allocation).error();
        record.allocation = std::move(*allocation);
        record.allocation_text = row.allocation.text;
    }

    auto domain_settings = settings_of(domain, "settings", row.domain_settings);
    if (!domain_settings) return std::move(domain_settings).error();
    record.domain_settings = std::move(*domain_settings);
    if (!row.plan || row.plan.text.empty()) return record;

    record.plan = lower(row.plan.text);
    const std::string plan = "plan " + printable(record.plan);
    // Passing over it would lift the limits that somebody meant to set.
    if (!row.known_plan)
        return config_error(domain, "its " + plan + " does not exist", "make it: roost plan set " + record.plan);
    auto plan_settings = settings_of(plan, "settings", row.plan_settings);
    if (!plan_settings) return std::move(plan_settings).error();
    record.plan_settings = std::move(*plan_settings);
    return record;
}

}  // namespace roost
