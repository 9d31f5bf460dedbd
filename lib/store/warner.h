// Warns of usage that has crossed thresholds: once, whichever process notices.
//
// What has been told is remembered in STATE/warnings/users/NAME and STATE/warnings/domains/NAME, there only while some
// threshold is reached: a line with the thresholds that messages have told of, and, where commands have told of others,
// a second one with theirs. Who changes one holds flock(2) LOCK_EX on STATE/warnings/lock, and puts a new file in its
// place.
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

struct Warned {
    std::vector<Warning> given;
    bool failed = false;  // some of it, to be tried again
};

// Looks what the mailbox of user `name`, and its domain, hold, and gives those warnings that are due and that no
// process gave before: puts quota.warning-message into the mailbox, exempt from its limits, and calls `start` for
// quota.warning-command. What goes wrong with a warning is logged, and it is due again at the next look; so it is after
// a command that failed. An Error means that it could not be told what is due. A user that is gone, or has no mailbox
// yet, has no warnings. Any thread.
Result<Warned> warn(Instance& instance, std::string_view name, const StartCommand& start);

// Forgets what a user that is gone was warned of. `state`: the state directory.
Result<void> forget_warnings(Files& files, const std::string& state, const std::string& user);

// For where nobody hears of an Error: it is logged.
void warn_after_delivery(Instance& instance, std::string_view name, const StartCommand& start);

}  // namespace roost
