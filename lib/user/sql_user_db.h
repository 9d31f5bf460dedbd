// The user database in SQL, and its administration.
#pragma once

#include "user/user_db.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace roost {

// One change to a level's settings: a value, or nothing to remove the key.
struct SettingChange {
    std::string key;
    std::optional<std::string> value;
};

struct DomainRecord {
    std::string name;
    std::string plan;  // may be empty
    Settings settings;
};

struct PlanRecord {
    std::string name;
    Settings settings;
};

// What `roost database show` tells.
struct DatabaseSummary {
    std::string path;  // of the SQLite file
    int schema = 0;    // version
    std::uint64_t users = 0;
    std::uint64_t mailboxes = 0;  // users that have an allocation
    std::uint64_t domains = 0;
    std::uint64_t plans = 0;
};

// A UserDb over SOCI. Any thread: lookups and administration come one after the other, what deliveries write is
// committed together where it comes at once, and neither waits for the other. Writers of other programs are waited for
// up to the busy time, then an Error says so. Keys and values are not checked here: see Schema::check and
// Cascade::make.
class SqlUserDb : public UserDb {
public:
    enum class Missing { fail, create };  // what to do about a database, or its tables, that are not there
    // `once`: the process looks a user up or two, then ends. `command`: a person started it, and what it wrote is in
    // the database's own file at its end, not in the log beside that, where nobody is in the way.
    enum class Use { lasting, once, command };

    // `url`: "sqlite:PATH". With Missing::fail a file that is not there or has no Roost tables is an Error that says
    // how to make it: an administrator's slip must not turn into "no such user". An older schema is upgraded, in one
    // transaction; a newer one is refused, and so is one that was put beside the write-ahead log of another: see
    // db/log_note.h.
    static Result<std::unique_ptr<SqlUserDb>> open(const std::string& url, Missing missing,
                                                   std::chrono::milliseconds busy_time, Use use = Use::lasting);
    ~SqlUserDb() override;

    // A name that is not in a database whose file has been replaced, overwritten or removed meanwhile is an Error.
    Result<std::optional<UserRecord>> find(std::string_view name) override;
    Result<bool> add_allocation(const UserRecord& seen, const Settings& allocation) override;
    Result<void> overwrite_allocation(std::string_view name, const Settings& allocation) override;
    Result<std::unique_ptr<Lock>> lock(std::string_view name, Deadline deadline) override;
    Result<std::uint32_t> own_number(std::string_view pool, std::string_view name, IdRange range) override;

    // Whether add_allocation() would find every path in `allocation` free. Changes nothing.
    Result<void> check_allocation(const UserRecord& seen, const Settings& allocation);

    // Administration. False: there is no such thing (or, for add_user, there is already).
    Result<bool> add_user(std::string_view name, const Settings& settings, bool enabled);
    Result<bool> change_user(std::string_view name, const std::vector<SettingChange>& changes,
                             std::optional<bool> enabled);
    // Removes the record; with `forget_numbers` also what own_number gave the user.
    Result<bool> remove_user(std::string_view name, bool forget_numbers);
    // In the order of names, `domain` empty: all. Memory stays constant. A record whose JSON is malformed comes as an
    // Error with its name, and the listing goes on. The callback returns false to stop. In a damaged database it may
    // leave users out or end in an Error, but it ends.
    Result<void> each_user(std::string_view domain,
                           const std::function<bool(std::string_view name, Result<UserRecord>)>& visit);

    // Domains and plans are made when something is first set on them. `plan`: empty removes it, nullopt leaves it.
    Result<void> change_domain(std::string_view name, const std::vector<SettingChange>& changes,
                               std::optional<std::string> plan);
    Result<bool> remove_domain(std::string_view name);
    Result<std::optional<DomainRecord>> find_domain(std::string_view name);
    Result<std::vector<DomainRecord>> domains();
    Result<void> change_plan(std::string_view name, const std::vector<SettingChange>& changes);
    Result<bool> remove_plan(std::string_view name);
    Result<std::optional<PlanRecord>> find_plan(std::string_view name);
    Result<std::vector<PlanRecord>> plans();
    // For the end of a process that serves: as Database::fold_log(), unless a thread is looking something up.
    void fold_log();
    // Reads the whole file, less than a second for a million users if it is in memory. An Error says what is damaged.
    Result<void> check_integrity();
    // Counts by looking at every row.
    Result<DatabaseSummary> summary();

private:
    class Impl;
    explicit SqlUserDb(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace roost
