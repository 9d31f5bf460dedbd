// roost user add, set, unset, show, list, allocate.
#include <iostream>

#include "base/text.h"
#include "commands.h"
#include "output.h"
#include "records.h"
#include "store/instance.h"

namespace roost::cli {
namespace {

constexpr std::chrono::seconds kAllocateTime(60);

std::span<const std::string> after_name(const Options& options) { return std::span(options.operands).subspan(1); }

Json to_json(const UserRecord& record) {
    return {{"name", record.name},
            {"enabled", record.enabled},
            {"domain", record.domain},
            {"plan", record.plan},
            {"settings", cli::to_json(record.settings)},
            {"allocation", record.allocation ? cli::to_json(*record.allocation) : Json(nullptr)},
            {"version", record.version}};
}

// The columns beside the name, for --verbose.
std::string to_details(const UserRecord& record) {
    return std::string(record.enabled ? "enabled" : "disabled") + "\t" +
           (record.allocation ? to_line(*record.allocation) : "no mailbox yet") + "\t" + to_line(record.settings);
}

}  // namespace

Result<int> user_add(const Options& options) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto name = user_name(options.operands.front());
    if (!name) return std::move(name).error();
    auto changes = read_assignments(config->schema(), Level::user, "user " + *name, after_name(options));
    if (!changes) return std::move(changes).error();
    auto db = open_database(*config, SqlUserDb::Missing::create);
    if (!db) return std::move(db).error();

    Settings settings;
    for (SettingChange& change : changes->settings) settings[change.key] = *std::move(change.value);
    auto added = (*db)->add_user(*name, settings, changes->enabled.value_or(true));
    if (!added) return std::move(added).error();
    if (!*added)
        return config_error("user " + *name, "there is such a user already", "change it with \"roost user set\"");
    if (options.verbose) std::cout << "added " << *name << '\n';
    return kSuccess;
}

Result<int> user_set(const Options& options) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto name = user_name(options.operands.front());
    if (!name) return std::move(name).error();
    auto changes = read_assignments(config->schema(), Level::user, "user " + *name, after_name(options));
    if (!changes) return std::move(changes).error();
    auto db = open_database(*config, SqlUserDb::Missing::fail);
    if (!db) return std::move(db).error();

    auto changed = (*db)->change_user(*name, changes->settings, changes->enabled);
    if (!changed) return std::move(changed).error();
    if (!*changed) return no_such("user", *name);
    if (options.verbose) std::cout << "changed " << *name << '\n';
    return kSuccess;
}

Result<int> user_unset(const Options& options) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto name = user_name(options.operands.front());
    if (!name) return std::move(name).error();
    auto db = open_database(*config, SqlUserDb::Missing::fail);
    if (!db) return std::move(db).error();
    auto record = need_user(**db, *name);
    if (!record) return std::move(record).error();
    auto changes = read_keys(config->schema(), Level::user, "user " + *name, record->settings, after_name(options));
    if (!changes) return std::move(changes).error();

    auto changed = (*db)->change_user(*name, changes->settings, changes->enabled);
    if (!changed) return std::move(changed).error();
    if (!*changed) return no_such("user", *name);
    if (options.verbose) std::cout << "changed " << *name << '\n';
    return kSuccess;
}

Result<int> user_show(const Options& options) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto name = user_name(options.operands.front());
    if (!name) return std::move(name).error();
    auto db = open_database(*config, SqlUserDb::Missing::fail);
    if (!db) return std::move(db).error();
    auto record = need_user(**db, *name);
    if (!record) return std::move(record).error();

    if (options.json) {
        print_json(to_json(*record));
        return kSuccess;
    }
    print_field("user", record->name);
    print_field("enabled", record->enabled ? "yes" : "no");
    print_field("domain", record->domain.empty() ? "none" : record->domain);
    print_field("plan", record->plan.empty() ? "none" : record->plan);
    print_field("mailbox", record->allocation ? "" : "none yet; the first mail makes it");
    if (record->allocation) print_settings(*record->allocation);
    print_field("settings", record->settings.empty() ? "none of its own" : "");
    print_settings(record->settings);
    return kSuccess;
}

Result<int> user_list(const Options& options) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto domain = options.domain ? domain_name(*options.domain) : Result<std::string>(std::string());
    if (!domain) return std::move(domain).error();
    auto db = open_database(*config, SqlUserDb::Missing::fail);
    if (!db) return std::move(db).error();

    int status = kSuccess;
    Listing listing(options.json);
    auto listed = (*db)->each_user(*domain, [&](std::string_view name, Result<UserRecord> record) {
        if (!record) {
            print_error(record.error());
            status = kFailure;
        } else if (options.json) {
            listing.row(to_json(*record));
        } else {
            listing.line(printable(name) + (options.verbose ? "\t" + to_details(*record) : ""));
        }
        return static_cast<bool>(std::cout);
    });
    if (!listed) return std::move(listed).error();
    return status;
}

Result<int> user_allocate(const Options& options) {
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto name = user_name(options.operands.front());
    if (!name) return std::move(name).error();
    auto instance = Instance::open(*std::move(config), SqlUserDb::Use::command);
    if (!instance) return std::move(instance).error();
    auto record = need_user((*instance)->db(), *name);
    if (!record) return std::move(record).error();
    auto user = User::make((*instance)->config(), *std::move(record));
    if (!user) return std::move(user).error();

    auto ready = (*instance)->mda().check(*user);
    if (!ready) return std::move(ready).error();
    if (!ready->complete()) {
        user = (*instance)->creator().create((*instance)->db(), (*instance)->mda(), *user, Deadline::in(kAllocateTime));
        if (!user) return std::move(user).error();
    } else if (auto there = (*instance)->mda().usage(*user, Folder(), Usage()); !there) {
        return std::move(there).error();
    }
    if (options.verbose && user->record().allocation) std::cout << to_line(*user->record().allocation) << '\n';
    return kSuccess;
}

}  // namespace roost::cli
