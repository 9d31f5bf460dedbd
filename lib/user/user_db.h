// The user database as delivery and modules see it.
#pragma once

#include "base/deadline.h"
#include "base/result.h"
#include "user/user.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace roost {

// Holding one keeps every other holder of the same name out, in every process and machine that shares the database.
// Destroying it, or the holder's death, frees it.
class Lock {
public:
    virtual ~Lock() = default;
};

// "No such user" is an answer (nullopt); "could not ask" is an Error, temporary for the MTA. Any thread.
class UserDb {
public:
    virtual ~UserDb() = default;

    // `name` in any case; matched whole, without looking for a detail.
    virtual Result<std::optional<UserRecord>> find(std::string_view name) = 0;
    // Writes the allocation if the record's version and allocation are still those of `seen`; false: they are not, or
    // the record is gone. Durable when it returns. An Error (misconfigured) if a new path in it is another user's
    // already, whose name differs in the domain alone: that is what a template without %{domain} makes of two names. A
    // path that the user's own settings name is the administrator's will.
    virtual Result<bool> add_allocation(const UserRecord& seen, const Settings& allocation) = 0;
    // Writes the allocation whatever is there; an Error if the user is gone, or a path is another user's as above.
    // Durable when it returns.
    virtual Result<void> overwrite_allocation(std::string_view name, const Settings& allocation) = 0;
    // Waits until the deadline for the user's lock; an Error if another holder kept it.
    virtual Result<std::unique_ptr<Lock>> lock(std::string_view name, Deadline deadline) = 0;
    // A number in [from, to] that is `name`'s own within `pool`, the same at every call and nobody else's, until the
    // user is purged. Durable when it returns. An Error (misconfigured) when the range is exhausted or the number that
    // the name holds lies outside the range.
    virtual Result<std::uint32_t> own_number(std::string_view pool, std::string_view name, IdRange range) = 0;
};

}  // namespace roost
