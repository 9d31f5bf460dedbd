#include "module/allocation.h"

#include "base/log.h"

#include <algorithm>
#include <utility>

namespace roost {
namespace {

// The allocations that a creator made before it knew who wins.
class Attempts {
public:
    void add(const Settings& allocation) {
        if (std::find(made_.begin(), made_.end(), allocation) == made_.end()) made_.push_back(allocation);
    }

    // Releases those that are not the winner's. The module sees the winner, so that it spares what both share. Mail
    // can be delivered even if that fails, so it is no Error.
    void release_losers(Mda& mda, const User& winner) const {
        for (const Settings& allocation : made_) {
            if (winner.record().allocation == allocation) continue;
            if (const auto released = mda.release(winner, allocation); !released)
                log(LogLevel::warning, released.error().text());
        }
    }

private:
    std::vector<Settings> made_;
};

// The user as the database has it now, without asking.
Result<User> with_allocation(const User& user, const Settings& allocation) {
    UserRecord record = user.record();
    record.allocation = allocation;
    record.allocation_text.clear();  // never read, so nobody adds to this record without looking again
    ++record.version;
    return User::make(user.settings().config(), std::move(record));
}

}  // namespace

Result<User> find_again(UserDb& db, const User& seen) {
    auto record = db.find(seen.name());
    if (!record) return std::move(record).error();
    if (!*record)
        return Error{Outcome::no_such_user,
                     "mailbox of " + seen.name() + " not made",
                     "the user was removed from the database meanwhile",
                     {}};
    return User::make(seen.settings().config(), **std::move(record));
}

Result<Settings> allocate_missing(Mda& mda, const User& user) {
    auto made = mda.allocate(user);
    if (!made || !user.record().allocation) return made;
    made->insert(user.record().allocation->begin(), user.record().allocation->end());
    return made;
}

Result<User> allocate_if_unchanged(UserDb& db, Mda& mda, User user, Deadline deadline) {
    Attempts attempts;
    for (bool added = false;;) {
        const auto ready = mda.check(user);
        if (!ready) return ready.error();
        if (ready->complete()) break;
        if (added)
            return config_error("mailbox of " + user.name() + " not made",
                                "the module's allocation lacks " + ready->missing.front(),
                                "this is a fault in the module that store.mda names");
        if (deadline.expired())
            return Error{Outcome::trouble, "mailbox of " + user.name() + " not made",
                         "its record kept changing until the deadline", "find out which program keeps writing it"};

        const auto allocation = allocate_missing(mda, user);
        if (!allocation) return allocation.error();
        attempts.add(*allocation);
        const auto written = db.add_allocation(user.record(), *allocation);
        if (!written) return written.error();
        added = *written;
        auto now = added ? with_allocation(user, *allocation) : find_again(db, user);
        if (!now) return now;
        user = *std::move(now);
    }
    attempts.release_losers(mda, user);
    return user;
}

}  // namespace roost
