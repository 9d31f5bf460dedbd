// Locks on users by name, beside the user database.
#pragma once

#include "base/deadline.h"
#include "user/user_db.h"

#include <memory>
#include <string>
#include <string_view>

namespace roost {

// Locks `name` in the file `path`, which is made if need be, with the owner and group of `owner_like` if the process
// may choose. Waits until the deadline; then an Error names the user. Two names may share a lock, so nobody may hold
// two. Works between threads and processes of all machines that see the file; any thread.
//
// An open-file-description lock (fcntl(2)) on one byte: nothing to clean up, and the kernel frees it with its holder.
Result<std::unique_ptr<Lock>> lock_user(const std::string& path, const std::string& owner_like, std::string_view name,
                                        Deadline deadline);

}  // namespace roost
