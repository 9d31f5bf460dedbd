// `delivery.durability = journal`: one flush for all that is under way, instead of several for each message.
#pragma once

#include "base/files.h"
#include "base/result.h"
#include "module/mda.h"
#include "store/doubts.h"
#include "store/durability.h"
#include "user/user_db.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace roost {

// Where a journal lies and how large it is.
struct JournalPlan {
    std::string dir;                                   // made if missing
    std::uint64_t segment_size = 32ULL * 1024 * 1024;  // of each, in the beginning
    unsigned segments = 3;
    std::chrono::milliseconds checkpoint{5000};  // the longest that mail stays in the journal alone
    // A segment that was filled, and whose mail was synced within `quick`, becomes twice as large, up to `largest`,
    // where that is a small part of the free room: a directory that got several messages is written once then.
    std::uint64_t largest = 128ULL * 1024 * 1024;
    std::chrono::milliseconds quick{1000};

    // Whether a segment can have this size.
    bool can_be(std::uint64_t size) const {
        std::uint64_t step = segment_size;
        while (step < size && step * 2 <= largest) step *= 2;
        return size == step;
    }
};

// What start-up found in a journal.
struct JournalRecovery {
    std::uint64_t deliveries = 0;  // that the journal had and were looked for in the store
    std::uint64_t restored = 0;    // of them, those that a crash had lost or torn
    std::uint64_t orphans = 0;     // of users that are gone
    std::uint64_t failed = 0;      // of them, those that could not be brought back
    std::uint64_t kept = 0;        // files that were put aside, since something in them could not be read or restored
};

// A directory with segments, see journal_format.h, and the right to use it: of one process at a time, an Error for
// others.
//
// Before publishing, the messages of a group are appended to the segment in use and made durable by one fdatasync(2),
// which all groups share that arrive while one runs. After publishing nothing is waited for: the mailboxes themselves
// reach the disk behind the verdict. A checkpoint, when a segment is full and every `checkpoint`, syncs the file
// systems that its messages lie on, then frees the segment. What the plan's directories say is kept up by syncfs(2),
// which reports lost data since Linux 5.8.
//
// Deliveries whose module knows no way to bring them back (Pending::redo), and messages of more than kLargest bytes,
// are settled by fsync; so are all, once the journal cannot be written or no segment will be free any more.
class Journal {
public:
    static constexpr std::uint64_t kLargest = 256UL * 1024;

    // Locks the directory.
    static Result<Journal> open(Files& files, JournalPlan plan);

    // Looks for every delivery that the segments hold, and has the module bring back what is missing or torn; then
    // frees the segments. A damaged one, or one that was cut short, is kept as damaged-N; what could not be brought
    // back is kept in kept-N, a segment of its own, and looked for again at the next start. To be called before
    // anything else is delivered. Logs what it does.
    Result<JournalRecovery> recover(const Config& config, UserDb& db, Mda& mda);

    // For a user who was removed: drops from what earlier starts kept in a journal's directory, if there is one, what
    // is the user's, lest another one who gets the name gets the mail. Of a journal that is in use, too.
    static Result<void> forget_kept(Files& files, const std::string& dir, const std::string& user);

    // Allocates the segments and begins. After recover(). What is made makes a last checkpoint when it is destroyed.
    // `doubts`: of the volumes that deliveries go to.
    Result<std::unique_ptr<Durability>> start(std::shared_ptr<Doubts> doubts) &&;

private:
    Journal(Files& files, JournalPlan plan) : files_(files), plan_(std::move(plan)) {}

    Files& files_;
    JournalPlan plan_;
    Fd dir_;
    Fd lock_;
    std::uint64_t generation_ = 0;  // the highest in use so far
};

}  // namespace roost
