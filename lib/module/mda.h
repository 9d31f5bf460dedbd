// The interface of an MDA module: one way to store mail.
#pragma once

#include "base/folder.h"
#include "base/result.h"
#include "mail/message.h"
#include "quota/limits.h"
#include "user/user.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace roost {

// Whether a user record has all that the module needs to deliver.
struct Readiness {
    std::vector<std::string> missing;  // keys that the allocation lacks; empty: complete
    bool complete() const { return missing.empty(); }
};

// A file or directory that a Durability settles. The descriptor belongs to the Pending.
struct SyncTarget {
    int fd;
    std::string path;  // for messages
};

// What must reach the disk, and when. Empty: the module commits in its own way, inside publish().
struct SyncPlan {
    std::vector<SyncTarget> before;  // file contents that must be safe before readers see them: fdatasync
    // What must be safe before the verdict: directories, first of all the one that the message is in, and files that
    // got their first name by publishing: fsync.
    std::vector<SyncTarget> after;
};

// What became of a delivery.
struct Receipt {
    Folder folder;             // where it went
    std::string path;          // the file, for logs
    std::uint64_t stored = 0;  // bytes it takes in the store
};

// One prepared delivery. Dropped unpublished, it leaves nothing behind. One thread at a time.
class Pending {
public:
    virtual ~Pending() = default;
    virtual const SyncPlan& plan() const = 0;
    // Makes the message visible to readers and counts it, in the account that the folder belongs to. Does no sync of
    // its own unless the plan is empty.
    virtual Result<Receipt> publish() = 0;
    // Takes back what publish() made visible, unless a reader has moved it already: it could not be made safe, so the
    // MTA will bring the message again. Called after a publish() that worked; with an empty plan never needed.
    virtual Result<void> withdraw() { return {}; }
    // What it takes to bring the message back after a crash, once it was published: Mda::restore is given it all.
    struct Redo {
        std::string user;
        std::string place;  // where publish() will put it, in the module's own words; no NUL
        std::string_view header;
        const Message* message = nullptr;  // null: there is no way, only syncing what plan() says makes it safe
    };
    // Valid as long as this.
    virtual Redo redo() const { return {}; }
    // The directory and name of a staged file that holds exactly the bytes to be stored, for a twin to link to;
    // nothing if the module has none.
    struct Staged {
        int dir_fd = -1;
        std::string name;
        int file_fd = -1;
    };
    virtual Staged staged() const { return {}; }
};

// What is to be delivered to one user.
struct Delivery {
    Folder folder;              // empty: INBOX
    bool create_folder = true;  // else a missing folder means INBOX
    std::string header;         // trace fields to put before the message's bytes
    // A delivery of the same message under preparation in the same module whose header is equal to this one's, or
    // null. It outlives this call, not the Pending that this call returns.
    const Pending* twin = nullptr;
    // Once published it is synced together with all of its volume, and until then something else brings it back after a
    // crash. A staged file then needs no name: one that is synced without a name can be lost although it has one by
    // then, since syncing a directory need not sync the files' own link counts.
    bool may_be_nameless = false;
};

// One way to store mail. Called by many threads at once. The User passed in is of the same Config that the module was
// made with. Exceptions are caught at the module boundary and become Errors.
class Mda {
public:
    virtual ~Mda() = default;
    // Looks at the record alone; no side effect, no I/O.
    virtual Result<Readiness> check(const User& user) = 0;
    // Makes the mailbox and returns what to remember of it. Safe to repeat after a crash at any point: a second call
    // finds and takes what the first one made. Durable when it returns.
    virtual Result<Settings> allocate(const User& user) = 0;
    // Undoes an allocation that lost the race against another one. Never removes mail: what is not empty stays.
    virtual Result<void> release(const User& user, const Settings& allocation) = 0;
    // The folder that a delivery meant for `wanted`, which is not INBOX, really goes to: INBOX if that one is missing
    // and not to be made, or cannot be made. The user need not be complete. No side effect.
    virtual Result<Folder> destination(const User& /*user*/, const Folder& wanted, bool /*create_folder*/) {
        return wanted;
    }
    // Writes the message where no reader sees it. The user is complete. A missing folder is made or replaced by INBOX
    // as `delivery` says; so is one that cannot be made. The message outlives what is returned.
    virtual Result<std::unique_ptr<Pending>> prepare(const User& user, const Delivery& delivery,
                                                     const Message& message) = 0;
    // After a crash: makes sure that a delivery that was published is whole in the mailbox, in whichever folder a
    // reader has moved it to. Returns whether it was missing or torn. Harmless if repeated. Durable when
    // settle_restored() has returned.
    virtual Result<bool> restore(const User& user, const std::string& /*place*/, const std::string& /*header*/,
                                 const Message& /*message*/) {
        return Error{Outcome::misconfigured, "a message for " + user.name(), "this MDA module cannot restore messages",
                     "set store.mda to the module that delivered it and start roostd once", 0};
    }
    virtual Result<void> settle_restored() { return {}; }
    // What the books of an account say, never a walk in the common case. `account`: empty for the mailbox without the
    // folders that folder_rules() counts apart or nowhere; else one that it counts apart, which need not exist. Where
    // they say that `coming` on top would exceed the account's limits and may be out of date, and where they were kept
    // under other rules, the module looks at the store before it answers. With nothing coming nobody is refused because
    // of the answer, so that a look some minutes ago is good enough.
    virtual Result<Usage> usage(const User& user, const Folder& account, const Usage& coming) = 0;
    // The truth of an account, by looking at the store; puts the books right.
    virtual Result<Usage> recount(const User& user, const Folder& account) = 0;
    // Removes the user's mailbox with all mail in it, for `roost user remove --purge`.
    virtual Result<void> purge(const User& user) = 0;
    // The directories that all of the above change anything in, for any user whose mailbox is where the configuration
    // file says, so that roostd can keep itself to them; nothing if the module cannot tell.
    virtual Result<std::optional<std::vector<std::string>>> directories() {
        return std::optional<std::vector<std::string>>();
    }
};

}  // namespace roost
