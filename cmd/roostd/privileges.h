// What the process may do beside what its user may: as little as it needs.
#pragma once

#include "base/result.h"

namespace roost {

// Gives up for good, in this thread and all that it starts from now on: every capability that roostd has no use for
// (see capabilities(7); kept are those that roostd(8) names, for root, and binding low ports, for anybody who has it),
// supplementary groups if it is root, so that a thread that acts as a mail user has that user's group alone, and
// gaining any by executing a program (no_new_privs). Call it before there are other threads. Errors (misconfigured):
// the kernel refused.
Result<void> give_up_privileges();

}  // namespace roost
