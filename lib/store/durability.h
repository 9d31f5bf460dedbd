// When deliveries are safe.
#pragma once

#include "base/files.h"
#include "module/mda.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace roost {

// What a Durability has done since it was made, for metrics: members / groups is the mean size of a group, members /
// syncs how many deliveries share one system call. Each counter only grows; read them without a lock, from any thread.
struct SyncStats {
    std::atomic<std::uint64_t> groups{0};   // groups settled, before and after publishing counted as one each
    std::atomic<std::uint64_t> members{0};  // the deliveries in them
    std::atomic<std::uint64_t> syncs{0};    // system calls that waited for the disk
};

class Doubts;

// Settles groups of prepared deliveries. An Error means that nothing of the group may be acknowledged. Any thread.
//
// A sync that fails puts its volume in doubt (see Doubts): from then on all that concerns that volume is an Error
// (trouble), until the program is started again.
class Durability {
public:
    // `stats`: to share with another Durability.
    explicit Durability(std::shared_ptr<SyncStats> stats = std::make_shared<SyncStats>()) : stats_(std::move(stats)) {}
    virtual ~Durability() = default;
    // Whether the volume that this delivery goes to is in doubt: an Error then, so that one delivery of a group can be
    // refused without the others. Costs nothing while no volume is.
    virtual Result<void> accepts(const Pending& /*delivery*/) { return {}; }
    virtual Result<void> before_publish(std::span<Pending* const> group) = 0;
    // For those of a group that were published.
    virtual Result<void> after_publish(std::span<Pending* const> group) = 0;
    // For each of a group that before_publish settled and that was not published, or was withdrawn: it is not
    // acknowledged, so a crash must not bring it back.
    virtual void forget(const Pending& /*delivery*/) {}
    // What Delivery::may_be_nameless says, for deliveries of this message.
    virtual bool lets_be_nameless(const Message& /*message*/) const { return false; }
    const SyncStats& stats() const { return *stats_; }

protected:
    // One more system call that waited for the disk.
    void count_sync() { stats_->syncs.fetch_add(1, std::memory_order_relaxed); }
    // One more group.
    void count_group(std::size_t members) {
        stats_->groups.fetch_add(1, std::memory_order_relaxed);
        stats_->members.fetch_add(members, std::memory_order_relaxed);
    }
    const std::shared_ptr<SyncStats> stats_;
};

// `delivery.durability = fsync`: files before publishing, directories after it, each once however often the group
// names it. Threads that sync at the same time share the disk's flushes: the kernel joins those that arrive while one
// runs. What a group names is therefore synced by several threads at once, too, from three targets on; a program that
// never has as many starts no thread.
// `doubts` and `stats`: to share with another Durability, or null.
std::unique_ptr<Durability> make_fsync_durability(Files& files, std::shared_ptr<Doubts> doubts = nullptr,
                                                  std::shared_ptr<SyncStats> stats = nullptr);

}  // namespace roost
