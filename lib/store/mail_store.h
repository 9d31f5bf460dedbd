// The front end: record in, message in, verdict out.
#pragma once

#include "base/deadline.h"
#include "mail/envelope.h"
#include "mail/message.h"
#include "module/creator.h"
#include "module/mda.h"
#include "store/accounts.h"
#include "store/durability.h"
#include "user/user_db.h"

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace roost {

// Where the time of a delivery went, waiting included. Parts that recipients share are told to each.
struct Spent {
    std::chrono::microseconds lookup{0};  // finding the user and, at a first mail, making the mailbox
    std::chrono::microseconds store{0};   // counting, writing, publishing
    std::chrono::microseconds sync{0};    // making it safe
};

// What one recipient is told.
struct Verdict {
    Outcome outcome = Outcome::trouble;
    std::string text;              // for people: why, and what to do; without the enhanced code
    std::string user;              // the record that was found; empty if none
    Receipt receipt;               // if delivered
    bool created = false;          // this delivery made the mailbox
    bool creation_failed = false;  // it tried to
    bool again = false;            // the recipient was given before: that one's verdict, told once more
    bool with_others = false;      // nothing is wrong with this one: another one's failure holds it up
    bool watched = false;  // if delivered: its usage is to be looked at afterwards, for a warning or for other services
    Spent spent;
};

// Where a recipient's mail goes, as far as the user database tells.
struct Route {
    User user;
    std::string detail;  // what was split off the address
};

// A found recipient's route, or why there is none.
struct Routing {
    std::optional<Route> route;
    Verdict verdict;  // if there is no route; `spent` always
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
        Accounts& accounts;
    };
    explicit MailStore(Parts parts) : parts_(parts) {}

    // Whether one recipient's temporary failure may stand beside another one's success.
    enum class Together {
        no,   // each recipient has a reply of its own (LMTP)
        yes,  // one exit status for all: on temporary trouble nothing is delivered, and what is visible already is
              // taken back, so that the MTA's next try duplicates nothing
    };

    // Looks a recipient up: the whole address first, then without its detail. No side effect.
    Routing route(const Recipient& recipient);

    // Whether the limits would let in a message now that takes so many octets on its way (0: not known yet; RFC 1870
    // section 5 counts line ends as CRLF), to the folder that the detail asks for: `delivered`, or the verdict to
    // refuse with. Deliveries in flight count. Reads the books; makes nothing.
    Verdict judge(const Route& route, std::uint64_t declared);

    // One verdict per recipient, in order. A repeated recipient is delivered once and answered each time. A delivered
    // verdict means that the message survives a power cut. `routings`: what route() said of each of the envelope's
    // recipients, moments ago.
    std::vector<Verdict> deliver(const Envelope& envelope, std::vector<Routing> routings, const Message& message,
                                 Deadline deadline, Together together, std::function<void()> publishing = {});
    // The same, for recipients that nobody looked up before. `publishing` is called when something is about to become
    // visible.
    std::vector<Verdict> deliver(const Envelope& envelope, const Message& message, Deadline deadline, Together together,
                                 std::function<void()> publishing = {});

    // Puts a message of our own into the INBOX of a user who has a mailbox, whatever the limits say. Safe from a power
    // cut when it returns.
    Result<Receipt> put(const User& user, const Message& message);

    // The folder that a delivery is meant for, with a warning text where the name asked for is unusable.
    struct Target {
        Folder folder;
        std::string warning;
    };
    static Target target(const Recipient& recipient, const Route& route);

    // Where the mail for that folder really goes; see Mda::destination.
    Result<Folder> destination(const Route& route, const Folder& wanted);

private:
    Routing find_route(const Recipient& recipient);

    Parts parts_;
};

}  // namespace roost
