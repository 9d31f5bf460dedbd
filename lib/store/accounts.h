// What usage is counted against: a user's mailbox, folders counted apart, and domains.
#pragma once

#include "base/result.h"
#include "base/folder.h"
#include "quota/limits.h"
#include "quota/reservations.h"
#include "user/user.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace roost {

// One thing that has limits and a usage.
struct Account {
    enum class Kind { mailbox, folder, domain };
    Kind kind = Kind::mailbox;
    std::string name;  // names it for reservations and people: "alice@example.org", "alice@example.org/Spam",
                       // "@example.org"
    Folder folder;     // for Kind::folder
    Limits limits;     // what holds for the delivery at hand: with a named folder's extra room, if there is any
};

// Knows the accounts of users, and their usage by the authority that is configured. Any thread.
class Accounts {
public:
    virtual ~Accounts() = default;

    // The accounts that a message of `user` in `folder` counts against, in the order in which their turns are taken
    // (see Reservations): mailbox or folder first, the domain last. Accounts without limits are left out.
    virtual std::vector<Account> charged(const User& user, const Folder& folder) = 0;

    // What the account holds, as Mda::usage says it of a mailbox: never a walk in the common case.
    virtual Result<Usage> usage(const User& user, const Account& account, const Usage& coming) = 0;

    // Mail of `stored` bytes became visible in `folder` of `user`: counts it wherever the MDA module does not.
    virtual Result<void> count(const User& user, const Folder& folder, std::uint64_t stored) = 0;
};

}  // namespace roost
