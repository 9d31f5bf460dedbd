// What usage is counted against: a user's mailbox and its domain. Admission and counting go by all of it.
#pragma once

#include "base/files.h"
#include "base/folder.h"
#include "base/result.h"
#include "module/mda.h"
#include "quota/domain_books.h"
#include "quota/limits.h"
#include "quota/reservations.h"
#include "user/user.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// One thing that has limits and a usage.
struct Account {
    enum class Kind { mailbox, domain };
    Kind kind = Kind::mailbox;
    std::string name;  // names it for reservations: "alice@example.org", "@example.org"
    Limits limits;     // what holds for the delivery at hand
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
    };
    explicit Accounts(Parts parts);

    // The accounts that a message of `user` in `folder` counts against, in the order in which their turns are taken:
    // the domain last. Accounts without limits on usage are left out.
    std::vector<Account> charged(const User& user, const Folder& folder) const;

    // What the account holds, as Mda::usage says it of a mailbox: never a walk in the common case, however many users
    // a domain has. Zero for a mailbox that is not made yet.
    Result<Usage> usage(const User& user, const Account& account, const Usage& coming);

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

    // The limits of a user's domain.
    static Limits domain_limits(const Cascade& settings);
    // Sums what the domain's users hold, and sets its books.
    Result<Usage> recount_domain(const std::string& domain);

private:
    // What one user holds of what counts in its domain.
    Result<Usage> holding(const User& user, const Usage& coming);
    Result<Usage> sum(const std::string& domain);

    Parts parts_;
    DomainBooks domain_books_;
};

}  // namespace roost
