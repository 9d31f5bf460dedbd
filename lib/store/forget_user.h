// What is kept of users beside their mail and their records.
#pragma once

#include "base/files.h"
#include "base/result.h"
#include "config/config.h"

#include <string>
#include <vector>

namespace roost {

// For a user who was removed from the user database: forgets which warnings were given, what other services held, that
// the user was to be counted anew, the counters in the dict of quota.dict and what the mail held in that of
// quota.unified.dict, and the mail that the journal keeps because it could not be brought back; and has the domain
// summed anew. The clone is not its business. Returns what went wrong, without which the rest was done; a dict that is
// away now is seen to by roostd, or by a recount of all, once it is back.
std::vector<Error> forget_user(const Config& config, Files& files, const std::string& name);

}  // namespace roost
