// The settings table: every setting stands once in code, and parser, checks, `roost config show`, the sample file and
// the manual come from it.
#pragma once

#include "base/result.h"
#include "config/value.h"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace roost {

// Where a setting can be given, widest first; the nearest level to the user wins.
enum class Level { file, plan, domain, user };
std::string_view level_name(Level level);

// One row. All texts live as long as the program or the module.
struct Setting {
    // "section.name", as `[section] name = value` in roost.conf. A part NAME in the middle, as in "s.folder.NAME.size",
    // stands for the name of any folder but INBOX: one row for as many settings as are given.
    std::string_view key;
    Kind kind;
    std::string_view default_value;  // in the same grammar as any value
    Level narrowest;                 // file: roost.conf alone; user: every level down to the user record
    std::string_view help;           // whole sentences for sample file and manual; no line breaks
    std::string_view choices = {};   // see check_value
};

using SettingTable = std::span<const Setting>;

// If `key` is one of those that the row's key stands for, the folder's name in it, else nothing: "Lists/roost" for
// "s.folder.Lists/roost.size". Schema::check sees to it that it is folder_name() of a folder, so that no two keys mean
// the same.
std::optional<std::string_view> name_in_key(std::string_view row_key, std::string_view key);

// Values by key, as text.
using Settings = std::map<std::string, std::string, std::less<>>;

// All the tables that are in force: the program's own and those of the modules.
class Schema {
public:
    // Finds the table of a section that no table in force has, or an empty one: see `set_finder`.
    using Finder = std::function<SettingTable(std::string_view section)>;

    // Starts with the program's own settings.
    Schema();

    // Adds a module's table, which must outlive the schema. A key that is there already is an Error.
    Result<void> add(SettingTable table);

    // Asked for sections that are unknown otherwise, so that the settings of a module that is installed but not
    // selected can be checked too.
    void set_finder(Finder finder);

    // Null if there is no such key.
    const Setting* find(std::string_view key) const;

    // Checks one key and value for a level: known, allowed there, well formed. `where` begins the message
    // ("/etc/roost/roost.conf:12", "user alice@example.org").
    Result<void> check(std::string_view where, Level level, std::string_view key, std::string_view value) const;

    // Every setting in force, in the order of the tables.
    std::vector<const Setting*> all() const;

    // The keys of all of them; for one with NAME in its key, in its place those of `given` that it stands for.
    std::vector<std::string> keys(const std::set<std::string_view>& given) const;

private:
    void index(SettingTable table);

    std::vector<SettingTable> tables_;
    std::unordered_map<std::string_view, const Setting*> by_key_;  // of the tables
    std::vector<const Setting*> named_;                            // rows with a name in their key
    Finder finder_;
};

// The program's own settings: [users] [store] [delivery] [quota] [quota-clone] [lmtp] [log].
SettingTable core_settings();

}  // namespace roost
