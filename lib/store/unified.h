// What a user's other services hold of the room that they share with the mail.
#pragma once

#include "base/files.h"
#include "base/state_files.h"
#include "dict/dict.h"
#include "quota/limits.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace roost {

// Each service of a user has its usage under priv/quota/storage/SERVICE and priv/quota/messages/SERVICE in a dict, as
// decimal numbers; a missing one is 0. The sum of a user is remembered in STATE/unified/NAME, one line: when it was
// asked for in seconds since 1970, bytes, and a count, with blanks between. For some seconds it answers in the dict's
// place; when the dict cannot be asked, for `max_age`. After that the services count as holding nothing. Any thread.
class Unified {
public:
    // The dict must outlive it. `services`: all but mail.
    Unified(Dict& dict, Files& files, const std::string& state, const std::vector<std::string>& services,
            std::chrono::milliseconds max_age);

    struct Elsewhere {
        Usage usage;                   // what counts
        std::optional<Error> trouble;  // the dict cannot be asked, so that
        bool remembered = false;       // this is what was known last, or nothing
    };
    // Waits for the dict half a second at most. Logs nothing of trouble.
    Elsewhere elsewhere(const std::string& user);
    // Writes what a service, or the mail, holds; absent figures stay as they are. Waits as long.
    Result<void> report(const std::string& user, const std::string& service, std::optional<std::uint64_t> storage,
                        std::optional<std::uint64_t> messages);
    // Forgets a user that is gone, and unsets what `service` holds. Waits as long.
    Result<void> forget(const std::string& user, const std::string& service);

private:
    struct Known {
        std::int64_t asked = 0;  // seconds since 1970
        Usage usage;
    };
    std::optional<Known> remembered(const std::string& user);

    Dict& dict_;
    StateFiles known_;
    std::vector<std::string> keys_;  // of storage and messages by turns
    std::chrono::milliseconds max_age_;
};

}  // namespace roost
