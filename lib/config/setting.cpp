#include "config/setting.h"

#include <algorithm>

#include "base/folder.h"
#include "base/nearest.h"
#include "base/text.h"

namespace roost {
namespace {

constexpr std::string_view kName = ".NAME.";

const Setting* find_in(SettingTable table, std::string_view key) {
    const auto row = std::find_if(table.begin(), table.end(),
                                  [&](const Setting& s) { return s.key == key || name_in_key(s.key, key); });
    return row == table.end() ? nullptr : &*row;
}

// The name in a key is written in one way only.
Result<void> check_name(const std::string& what, const Setting& setting, std::string_view key) {
    const auto name = name_in_key(setting.key, key);
    if (!name) return {};
    auto folder = parse_folder(*name);
    if (!folder) return config_error(what, folder.error().what + ": " + folder.error().why, folder.error().hint);
    if (folder->empty())
        return config_error(what, "INBOX has no limits of its own",
                            "the limits of the mailbox are quota.storage and "
                            "quota.messages");
    if (const std::string proper = folder_name(*folder); proper != *name)
        return config_error(what, "a folder has one name here, with / between its parts", "write " + proper);
    return {};
}

// "did you mean KEY? ", if some key is near.
std::string meant(const std::vector<const Setting*>& settings, std::string_view key) {
    std::vector<std::string_view> keys;
    keys.reserve(settings.size());
    for (const Setting* setting : settings) keys.push_back(setting->key);
    const std::string_view near = nearest(key, keys);
    return near.empty() ? std::string() : "did you mean " + std::string(near) + "? ";
}

}  // namespace

std::string_view level_name(Level level) {
    switch (level) {
        case Level::file:
            return "file";
        case Level::plan:
            return "plan";
        case Level::domain:
            return "domain";
        case Level::user:
            break;
    }
    return "user";
}

std::optional<std::string_view> name_in_key(std::string_view row_key, std::string_view key) {
    const auto at = row_key.find(kName);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view before = row_key.substr(0, at + 1);
    const std::string_view after = row_key.substr(at + kName.size() - 1);
    if (key.size() <= before.size() + after.size() || !key.starts_with(before) || !key.ends_with(after))
        return std::nullopt;
    return key.substr(before.size(), key.size() - before.size() - after.size());
}

Schema::Schema() : tables_{core_settings()} { index(tables_.front()); }

void Schema::index(SettingTable table) {
    for (const Setting& setting : table) {
        by_key_.emplace(setting.key, &setting);
        if (setting.key.find(kName) != std::string_view::npos) named_.push_back(&setting);
    }
}

Result<void> Schema::add(SettingTable table) {
    for (const Setting& setting : table)
        if (find(setting.key) != nullptr)
            return config_error("setting " + std::string(setting.key), "it is declared twice",
                                "two modules cannot share a section");
    if (table.empty()) return {};
    tables_.push_back(table);
    index(table);
    return {};
}

void Schema::set_finder(Finder finder) { finder_ = std::move(finder); }

const Setting* Schema::find(std::string_view key) const {
    if (const auto found = by_key_.find(key); found != by_key_.end()) return found->second;
    for (const Setting* setting : named_)
        if (name_in_key(setting->key, key)) return setting;
    if (!finder_) return nullptr;
    return find_in(finder_(key.substr(0, key.find('.'))), key);
}

Result<void> Schema::check(std::string_view where, Level level, std::string_view key, std::string_view value) const {
    constexpr std::size_t kShown = 80;
    const std::string what = std::string(where) + ": " + printable(key.substr(0, kShown));
    const Setting* setting = find(key);
    if (setting == nullptr)
        return config_error(what, "there is no such setting",
                            meant(all(), key) + "roost.conf(5) and \"roost config show\" list all");
    if (level > setting->narrowest)
        return config_error(what, "it cannot be set for a " + std::string(level_name(level)),
                            setting->narrowest == Level::file
                                ? "set it in roost.conf"
                                : "the narrowest level is the " + std::string(level_name(setting->narrowest)));
    auto named = check_name(what, *setting, key);
    if (!named) return named;
    auto checked = check_value(setting->kind, setting->choices, value);
    // A path that may be left out is left out by default.
    if (checked && setting->kind == Kind::path && value.empty() && !setting->default_value.empty())
        checked = config_error({}, "it is empty", "write an absolute path, or leave it out");
    if (checked && setting->kind == Kind::pattern && level != Level::user && !tells_users_apart(value))
        checked =
            config_error({}, excerpt(value) + " is one place for several users",
                         "put %{user}, or %{domain} and %{local}, into it; a user's own path is set for the user");
    if (checked) return {};
    Error error = std::move(checked).error();
    error.what = what;
    return error;
}

std::vector<const Setting*> Schema::all() const {
    std::vector<const Setting*> out;
    for (const SettingTable table : tables_)
        for (const Setting& setting : table) out.push_back(&setting);
    return out;
}

std::vector<std::string> Schema::keys(const std::set<std::string_view>& given) const {
    std::vector<std::string> out;
    for (const Setting* setting : all()) {
        if (setting->key.find(kName) == std::string_view::npos) {
            out.emplace_back(setting->key);
            continue;
        }
        for (const std::string_view key : given)
            if (name_in_key(setting->key, key)) out.emplace_back(key);
    }
    return out;
}

}  // namespace roost
