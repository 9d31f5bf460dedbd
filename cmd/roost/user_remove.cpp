// roost user remove.
#include <array>
#include <cerrno>
#include <iostream>
#include <optional>
#include <thread>

#include "base/text.h"
#include "commands.h"
#include "output.h"
#include "records.h"
#include "store/after_delivery.h"
#include "store/forget_user.h"
#include "store/instance.h"
#include "terminal.h"

namespace roost::cli {
namespace {

constexpr std::chrono::seconds kPatience(60);

// What is kept of the user beside the mail.
void forget(const Config& config, const std::string& name) {
    Files files;
    for (const Error& error : forget_user(config, files, name)) print_error(error);
}

// The user's keys in the clone go as well.
void remove_from_clone(Config config, const std::string& name) {
    if (config.text("quota-clone.dict").empty()) return;
    auto instance = Instance::open(std::move(config), SqlUserDb::Use::once);
    if (instance) {
        publish_before_end(**instance, std::array{name});
    } else {
        Error error = std::move(instance).error();
        error.hint = "once that is put right, remove the user from the clone with \"roost quota publish --prune\"";
        print_error(error);
    }
}

Result<int> remove_record(const Options& options, const Config& config, const std::string& name) {
    auto db = open_database(config, SqlUserDb::Missing::fail);
    if (!db) return std::move(db).error();
    // Looked at for --verbose alone: a record that cannot be read must still be removable.
    const auto record = (*db)->find(name);
    // The numbers stay the user's own, as the mail does.
    auto removed = (*db)->remove_user(name, false);
    if (!removed) return std::move(removed).error();
    if (!*removed) return no_such("user", name);
    forget(config, name);
    remove_from_clone(config, name);
    if (!options.verbose) return kSuccess;
    std::cout << "removed " << name << '\n';
    if (record && *record && (*record)->allocation)
        std::cout << "the mail stays: " << to_line(*(*record)->allocation) << '\n';
    return kSuccess;
}

// Adds to an Error of a purge how things stand now.
Error half_done(Error error, const std::string& name) {
    error.hint += (error.hint.empty() ? "" : ", and ") +
                  ("run \"roost user remove --purge\" again: " + name + " stays, disabled, until it succeeds");
    return error;
}

// A delivery that began before may still put its message into the mailbox while that is being removed.
Result<void> purge_mailbox(Mda& mda, const User& user) {
    constexpr std::chrono::milliseconds kPause(20);
    const Deadline deadline = Deadline::in(kPatience);
    while (true) {
        auto purged = mda.purge(user);
        if (purged || purged.error().sys != ENOTEMPTY || deadline.expired()) return purged;
        std::this_thread::sleep_for(kPause);
    }
}

// Whether removing the one place would remove the other.
bool holds(const std::string& place, const std::string& other) {
    return other == place || other.starts_with(place + "/");
}

// An Error if somebody else's mailbox lies where this one is removed.
Result<void> check_alone(SqlUserDb& db, const UserRecord& own) {
    if (!own.allocation) return {};
    std::optional<Error> found;
    auto listed = db.each_user({}, [&](std::string_view name, const Result<UserRecord>& other) {
        if (name == own.name || !other || !other->allocation) return true;
        for (const auto& [key, place] : *own.allocation)
            for (const auto& [other_key, other_place] : *other->allocation)
                if (place.starts_with('/') && holds(place, other_place))
                    found = Error{Outcome::trouble, "the mailbox " + place + " of " + own.name,
                                  "that of " + std::string(name) + " lies there, too",
                                  "remove the user without --purge, or give the other one a mailbox of its own", 0};
        return !found;
    });
    if (!listed) return listed;
    return found ? Result<void>(*std::move(found)) : Result<void>();
}

// From when the record is disabled no new delivery begins, and none makes the mailbox anew while the lock is held. One
// that began earlier finds the mailbox gone, which is temporary trouble for it, and the user gone at the next try.
Result<int> purge(Instance& instance, const std::string& name) {
    SqlUserDb& db = instance.db();
    auto lock = db.lock(name, Deadline::in(kPatience));
    if (!lock) return std::move(lock).error();
    auto disabled = db.change_user(name, {}, false);
    if (!disabled) return std::move(disabled).error();
    if (!*disabled) return no_such("user", name);

    auto record = need_user(db, name);
    if (!record) return half_done(std::move(record).error(), name);
    const bool allocated = record->allocation.has_value() && !record->allocation->empty();
    auto user = User::make(instance.config(), *std::move(record));
    if (!user) return half_done(std::move(user).error(), name);
    auto ready = instance.mda().check(*user);
    if (!ready) return half_done(std::move(ready).error(), name);
    if (ready->complete()) {
        auto purged = purge_mailbox(instance.mda(), *user);
        if (!purged) return half_done(std::move(purged).error(), name);
    } else if (allocated) {
        return half_done(
            config_error("user " + name,
                         "its mailbox is not of the module " + std::string(instance.config().text("store.mda")) + ": " +
                             to_line(*user->record().allocation),
                         "choose the module that made it with -o store.mda=NAME"),
            name);
    }
    auto removed = db.remove_user(name, true);
    if (!removed) return half_done(std::move(removed).error(), name);
    forget(instance.config(), name);
    publish_before_end(instance, std::array{name});
    return kSuccess;
}

}  // namespace

Result<int> user_remove(const Options& options) {
    if (options.yes && !options.purge)
        return usage_error("option --yes", "only --purge asks", "leave --yes out, or add --purge");
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto name = user_name(options.operands.front());
    if (!name) return std::move(name).error();
    if (!options.purge) return remove_record(options, *config, *name);

    if (!options.yes && !can_ask())
        return usage_error("user remove --purge", "nobody is there to confirm it", "add --yes");
    auto instance = Instance::open(*std::move(config), SqlUserDb::Use::command);
    if (!instance) return std::move(instance).error();
    auto record = need_user((*instance)->db(), *name);
    if (!record) return std::move(record).error();
    if (auto alone = check_alone((*instance)->db(), *record); !alone) return std::move(alone).error();
    if (!options.yes && !ask("Remove " + printable(*name) + " and all its mail?"))
        return Error{Outcome::trouble, "user " + *name, "not confirmed", "nothing was changed", 0};
    auto purged = purge(**instance, *name);
    if (purged && options.verbose) std::cout << "removed " << *name << " and its mail\n";
    return purged;
}

}  // namespace roost::cli
