// What usage is counted against: a user's mailbox, folders counted apart, and domains. Admission and counting go by all
// of it.
#pragma once

#include "base/files.h"
#include "base/folder.h"
#include "base/result.h"
#include "module/mda.h"
#include "quota/domain_books.h"
#include "quota/limits.h"
#include "quota/reservations.h"
#include "store/dict_counters.h"
#include "store/unified.h"
#include "user/user.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// One thing that has limits and a usage.
struct Account {
    enum class Kind { mailbox, folder, domain };
    Kind kind = Kind::mailbox;
    std::string name;  // names it for reservations: "alice@example.org", "alice@example.org/Spam", "@example.org"
    Folder folder;     // for Kind::folder
    Limits limits;     // what holds for the delivery at hand: with a folder's extra room, if it has some
    Usage elsewhere;   // what the user's other services hold of it
};

// Knows the accounts of users and their usage, and lets mail in by them. Any thread.
class Accounts {
public:
    // Calls back with every user of a domain, as SqlUserDb::each_user.
    using EachUser = std::function<Result<void>(
        std::string_view domain, const std::function<bool(std::string_view name, Result<UserRecord>)>& visit)>;
    // They must outlive it.
    struct Parts {
        const Config& config;
        Mda& mda;
        Files& files;
        Reservations& reservations;
        EachUser each_user;
        Dict* authority = nullptr;  // whose counters are the authority; null: the mailboxes are
        Dict* unified = nullptr;    // in which other services report their usage; null: none do
    };
    explicit Accounts(Parts parts);

    // What the user's other services hold of the limits that they share with the mail; nothing if they share none.
    std::optional<Unified::Elsewhere> services(const User& user);

    // The accounts that a message of `user` in `folder` counts against, in the order in which their turns are taken:
    // mailbox or folder, then the domain. Accounts without limits on usage are left out; what is counted nowhere has
    // none.
    std::vector<Account> charged(const User& user, const Folder& folder);

    // What the account holds, as Mda::usage says it of a mailbox: never a walk in the common case, however many users
    // a domain has. What other services hold is not in it.
    Result<Usage> usage(const User& user, const Account& account, const Usage& coming);
    // What the mailbox of `user` holds by the authority; zero if it is not made yet.
    Result<Usage> mailbox(const User& user, const Usage& coming);

    // What all users of a domain hold.
    Result<Usage> domain(const std::string& name, const Limits& limits, const Usage& coming = {});
    // What the authority says of a mailbox that is made, or of a domain, right or wrong; nothing if it says nothing.
    Result<std::optional<Usage>> peek(const User& user);
    Result<std::optional<Usage>> peek_domain(const std::string& name);

    // What is said of a message at the door.
    struct Admission {
        Outcome outcome = Outcome::delivered;
        std::string text;  // why not, for people
    };
    // Promised room for one message, in each account that it counts against.
    using Room = std::vector<Reservations::Reservation>;

    // May a message that takes `stored` bytes in the store, `size` bytes as it came, go to `folder` of `user`? What is
    // on its way counts. If so and `room` is given, it is filled.
    Result<Admission> admit(const User& user, const Folder& folder, std::uint64_t stored, std::uint64_t size,
                            Room* room);

    // Publishes a message that was admitted, and counts it wherever the MDA module does not; gives the room back.
    // Errors leave nothing visible.
    Result<Receipt> publish(const User& user, Room& room, Pending& pending);

    // A published message was taken back, or a reader was faster: nobody knows.
    void withdrawn(const User& user);

    // Counts what is in the store, and puts the books and the authority right. `account`: as Mda::usage has it, a
    // folder counted apart or empty for the mailbox.
    Result<Usage> recount(const User& user, const Folder& account);

    // Whether settle() may have something to do.
    bool settles() const { return counters_ || unified_; }
    // After a delivery, behind its verdict: counts a user anew whom a delivery could not be added to, and tells the
    // user's other services what the mail holds. Failures are logged, or left for the next time.
    void settle(const User& user);

    // Whom a delivery could not be added to while the dict was away, so that they are to be counted anew: users, and
    // domains with "@" in front.
    Result<std::vector<std::string>> doubts() const;
    // Counts one of them anew. `user`: null for a domain, and for a user that is gone. False: its mailbox, or that of
    // one of the domain's users, cannot be counted now, which is logged. An Error: the dict cannot be asked.
    Result<bool> settle_doubt(const std::string& name, const User* user);

    // Writes what another service of the user holds; absent figures stay as they are. An Error (misconfigured) without
    // a dict for it.
    Result<void> report(const User& user, const std::string& service, std::optional<std::uint64_t> storage,
                        std::optional<std::uint64_t> messages);

    // The limits of a user's domain.
    static Limits domain_limits(const Cascade& settings);
    // Sums what the domain's users hold, and sets its books.
    Result<Usage> recount_domain(const std::string& domain);

private:
    void share(const User& user, const Usage& held);
    Result<Usage> holding(const User& user);
    Result<Usage> sum(const std::string& domain);

    Parts parts_;
    DomainBooks domain_books_;
    std::optional<DictCounters> counters_;  // if a dict is the authority
    std::optional<Unified> unified_;
};

}  // namespace roost
