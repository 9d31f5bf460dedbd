// The interface of a creator module: who may allocate when many try at once.
#pragma once

#include "base/deadline.h"
#include "base/result.h"
#include "module/mda.h"
#include "user/user_db.h"

namespace roost {

// Runs the allocation of one user and writes the outcome into the user database. Many processes, machines and threads
// may call it for the same user at once; all get the same, complete user back. Exceptions are caught at the module
// boundary and become Errors.
class Creator {
public:
    virtual ~Creator() = default;
    // `seen`: a user that Mda::check called incomplete. Returns the complete one. Errors: the user is gone
    // (no_such_user), the deadline, whatever database and Mda report.
    virtual Result<User> create(UserDb& db, Mda& mda, const User& seen, Deadline deadline) = 0;
};

}  // namespace roost
