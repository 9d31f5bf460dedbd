// The steps that creators are made of.
#pragma once

#include "base/deadline.h"
#include "base/result.h"
#include "module/mda.h"
#include "user/user_db.h"

namespace roost {

// The user as the database has it now. An Error (no_such_user) if the record is gone.
Result<User> find_again(UserDb& db, const User& seen);

// Lets the module make the mailbox, and returns the whole allocation to write: what the module says, beside what the
// record holds already of other modules.
Result<Settings> allocate_missing(Mda& mda, const User& user);

// Allocates for an incomplete `user` and writes that only if nobody changed the record since it was read; otherwise
// takes the mailbox that somebody else wrote and releases its own, or, if only other columns changed, tries again with
// the new record until the deadline. Returns the complete user; `user` may be complete already. Any thread.
Result<User> allocate_if_unchanged(UserDb& db, Mda& mda, User user, Deadline deadline);

}  // namespace roost
