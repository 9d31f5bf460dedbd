// What is made right about usage behind the verdicts of deliveries.
#pragma once

#include "store/instance.h"

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

namespace roost {

// Accounts::settle for a user by name, if there is anything to settle. Failures are logged.
void settle_usage(Instance& instance, const std::string& user);

// Accounts::settle_doubt for a name that Accounts::doubts told. False: it cannot be settled now, which is logged. An
// Error: nobody can, since the dict or the user database is in trouble.
Result<bool> settle_doubt(Instance& instance, const std::string& name);

// Settles all doubts once the dict can be asked, a few at a time, in one thread that has other things to do.
class Settler {
public:
    using Clock = std::chrono::steady_clock;

    // Goes on for a moment if it is time to; `stop`: not with the next one. Returns when to call it again.
    Clock::time_point work(Instance& instance, const std::atomic<bool>& stop);

private:
    std::vector<std::string> names_;  // that are left of the last look
    std::size_t settled_ = 0;         // of that look
    std::size_t unsettled_ = 0;
    Clock::time_point next_;
    std::chrono::milliseconds backoff_{0};
};

}  // namespace roost
