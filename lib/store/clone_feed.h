// Brings usage from the authority into the clone.
#pragma once

#include "base/deadline.h"
#include "base/result.h"
#include "quota/clone.h"
#include "quota/outbox.h"
#include "store/instance.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace roost {

// What the authority says that the mailbox of `user` holds; zero for a user without a mailbox.
Result<Usage> usage_of(Instance& instance, const User& user);

// A few users whose keys are in the dict: if those of one are gone, the dict was emptied. One thread at a time.
class Witnesses {
public:
    // From when the user's keys were written or seen. Beyond a few users it does nothing.
    void add(const std::string& user);
    void remove(const std::string& user) { std::erase(users_, user); }
    void clear() { users_.clear(); }
    bool contains(const std::string& user) const;
    const std::vector<std::string>& users() const { return users_; }

private:
    std::vector<std::string> users_;
};

// Publishes usage in batches, in one thread. The parts must outlive it.
class CloneFeed {
public:
    struct Parts {
        Instance& instance;
        Clone& clone;
        Witnesses* witnesses = nullptr;           // if any, each is looked for before it is written again
        const std::atomic<bool>* stop = nullptr;  // set: no further batch
    };
    explicit CloneFeed(Parts parts) : parts_(parts) {}

    struct Report {
        Outbox::Content left;             // what is still to be published
        std::optional<Error> error;       // of the dict or of the user database; the rest was left for it
        std::optional<Error> unreadable;  // of one user whose usage cannot be had; all such users are left
        bool emptied = false;             // a witness's keys were gone
    };
    // Publishes what is named until the deadline, if there is one; everybody is left then, since that needs patience.
    Report publish(const Outbox::Content& content, std::optional<Deadline> deadline);

    // What the clone is to hold of a user.
    Result<CloneEntry> entry(UserRecord record);

private:
    // Entries on their way into one batch, and what becomes of them.
    void gather(const std::string& name, Result<CloneEntry> entry, Report& report);
    Result<void> commit(Report& report, std::optional<Deadline> deadline);
    void publish_everybody(Report& report);
    bool stopped() const { return parts_.stop != nullptr && *parts_.stop; }

    Parts parts_;
    std::vector<CloneEntry> batch_;
    std::size_t most_ = kBatch;  // entries of a batch; fewer after one that failed, since it may have been too slow
    static constexpr std::size_t kBatch = 500;
};

}  // namespace roost
