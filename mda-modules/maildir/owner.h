// Whom a mailbox belongs to, and acting as that user.
#pragma once

#include <sys/types.h>

#include <optional>

#include "base/result.h"
#include "user/user.h"

namespace roost::maildir {

struct Owner {
    uid_t uid;
    gid_t gid;
};

// The owner that the user's allocation names, or none: then everything belongs to the running user. Errors
// (misconfigured): an allocated uid that is no number, a uid that the running user cannot act as.
Result<std::optional<Owner>> owner_of(const User& user);

// The group of mailboxes whose owner is `uid`: maildir.gid, or a group of the same number.
gid_t group_for(const User& user, uid_t uid);

// While it lives, what this thread does to files it does as `owner` (setfsuid(2)), so that the kernel keeps it within
// what the mail user may do: whatever links that user planted, nothing of others is reached through them. Changes
// nothing for no owner. Must be destroyed by the thread that made it; must not be nested.
class ActAs {
public:
    static Result<ActAs> begin(const std::optional<Owner>& owner);
    ActAs(ActAs&& other) noexcept : before_(other.before_) { other.before_.reset(); }
    ActAs& operator=(ActAs&&) = delete;
    ActAs(const ActAs&) = delete;
    ActAs& operator=(const ActAs&) = delete;
    ~ActAs();

private:
    ActAs() = default;
    std::optional<Owner> before_;  // whom to act as again
};

}  // namespace roost::maildir
