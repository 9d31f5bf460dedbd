// Warns of usage that has crossed thresholds: once, whichever process notices.
//
// What has been reached is remembered in STATE/warnings/users/NAME and STATE/warnings/domains/NAME, each a line of
// thresholds, there only while one is reached. Who changes one holds flock(2) LOCK_EX on STATE/warnings/lock, and puts
// a new file in its place.
#pragma once

#include "quota/warnings.h"
#include "store/command.h"
#include "store/instance.h"

#include <functional>
#include <string_view>
#include <vector>

namespace roost {

// Sees to it that a command is run.
using StartCommand = std::function<void(Command)>;

// Looks what the mailbox of user `name`, and its domain, hold, and gives those warnings that are due and that no
// process gave before: puts quota.warning-message into the mailbox, exempt from its limits, and calls `start` for
// quota.warning-command. What goes wrong with a warning is logged, and it counts as given. Returns what was given; an
// Error means that it could not be told. A user that is gone, or has no mailbox yet, has none. Any thread.
Result<std::vector<Warning>> warn(Instance& instance, std::string_view name, const StartCommand& start);

// For where nobody hears of an Error: it is logged.
void warn_after_delivery(Instance& instance, std::string_view name, const StartCommand& start);

}  // namespace roost
