// The one table of outcomes: what a delivery, or any request, can end in, and what each party outside is told.
#pragma once

#include <cstddef>
#include <string_view>

namespace roost {

enum class Outcome {
    delivered,
    no_such_user,
    user_disabled,
    over_quota,           // the administrator wants a full mailbox to bounce
    over_quota_deferred,  // the administrator wants a full mailbox to be tried again
    message_too_large,
    malformed,      // the request itself is wrong: flags, addresses, protocol
    misconfigured,  // our configuration or a record is wrong; never the sender's fault
    store_full,     // the disk or its file system quota is full; not the user's mail quota
    trouble,        // anything else of ours
};
inline constexpr std::size_t kOutcomes = static_cast<std::size_t>(Outcome::trouble) + 1;

// One row of the table. The texts live as long as the program.
struct OutcomeRow {
    Outcome outcome;
    std::string_view name;      // for logs and JSON
    int reply_code;             // SMTP/LMTP reply code, RFC 5321 section 4.2.3
    std::string_view enhanced;  // enhanced status code, RFC 3463
    int exit_code;              // sysexits; 0, 67, 75 and 77 alone ever reach an MTA
};

// The row of an outcome. Any thread.
const OutcomeRow& row_of(Outcome outcome);

// True when the MTA should try again later.
bool is_temporary(Outcome outcome);

}  // namespace roost
