// The front end: record in, message in, verdict out.
#pragma once

#include "base/deadline.h"
#include "mail/envelope.h"
#include "mail/message.h"
#include "module/creator.h"
#include "module/mda.h"
#include "store/durability.h"
#include "user/user_db.h"

#include <string>
#include <vector>

namespace roost {

// What one recipient is told.
struct Verdict {
    Outcome outcome = Outcome::trouble;
    std::string text;      // for people: why, and what to do; without the enhanced code
    std::string user;      // the record that was found; empty if none
    Receipt receipt;       // if delivered
    bool created = false;  // this delivery made the mailbox
};

// Where a recipient's mail goes, as far as the user database tells.
struct Route {
    User user;
    std::string detail;  // what was split off the address
};

// A found recipient's route, or why there is none.
struct Routing {
    std::optional<Route> route;
    Verdict verdict;  // if there is no route
};

// Delivers messages. Holds references to its parts, which must outlive it. Any thread.
class MailStore {
public:
    struct Parts {
        const Config& config;
        UserDb& db;
        Mda& mda;
        Creator& creator;
        Durability& durability;
    };
    explicit MailStore(Parts parts) : parts_(parts) {}

    // Whether one recipient's temporary failure may stand beside another one's success.
    enum class Together {
        no,   // each recipient has a reply of its own (LMTP)
        yes,  // one exit status for all: on temporary trouble before anything is visible, nothing is delivered, so that
              // the MTA's next try duplicates nothing
    };

    // One verdict per recipient, in order. A repeated recipient is delivered once and answered each time. A delivered
    // verdict means that the message survives a power cut.
    std::vector<Verdict> deliver(const Envelope& envelope, const Message& message, Deadline deadline,
                                 Together together);

    // Looks a recipient up: the whole address first, then without its detail. No side effect.
    Routing route(const Recipient& recipient);

    // The folder that a delivery is meant for, with a warning text where the name asked for is unusable.
    struct Target {
        Folder folder;
        std::string warning;
    };
    static Target target(const Recipient& recipient, const Route& route);

private:
    Parts parts_;
};

}  // namespace roost
