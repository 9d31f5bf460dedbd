#include "store/durability.h"

#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "store/doubts.h"
#include "store/helpers.h"

namespace roost {
namespace {

// How many syncs of one group wait for the disk at once. With each one more the disk's flushes are shared by more; at
// 16, fifty recipients wait for about as long as one.
constexpr std::size_t kHelpers = 16;
// Groups up to this size are not worth starting a thread for.
constexpr std::size_t kAlone = 2;

class FsyncDurability : public Durability {
public:
    FsyncDurability(Files& files, std::shared_ptr<Doubts> doubts, std::shared_ptr<SyncStats> stats)
        : Durability(std::move(stats)), files_(files), doubts_(std::move(doubts)) {}

    Result<void> accepts(const Pending& delivery) override {
        for (const auto* targets : {&delivery.plan().before, &delivery.plan().after})
            for (const SyncTarget& target : *targets)
                if (auto sound = doubts_->check(target); !sound) return sound;
        return {};
    }
    Result<void> before_publish(std::span<Pending* const> group) override {
        for (const Pending* pending : group)
            if (auto accepted = accepts(*pending); !accepted) return accepted;
        return settle(group, &SyncPlan::before, &Files::sync_data);
    }
    Result<void> after_publish(std::span<Pending* const> group) override {
        return settle(group, &SyncPlan::after, &Files::sync);
    }

private:
    using Sync = Result<void> (Files::*)(int, std::string_view);

    Result<void> settle(std::span<Pending* const> group, std::vector<SyncTarget> SyncPlan::*list, Sync sync) {
        const std::vector<const SyncTarget*> targets = distinct(group, list);
        if (targets.empty()) return {};
        std::vector<Result<void>> results(targets.size());
        const auto part = [&](std::size_t i) { results[i] = settle_one(*targets[i], sync); };
        if (targets.size() > kAlone || (targets.size() > 1 && helpers_.started())) {
            helpers_.run(targets.size(), part);
        } else {
            for (std::size_t i = 0; i < targets.size(); ++i) part(i);
        }
        count_group(group.size());
        for (Result<void>& result : results)
            if (!result) return std::move(result);
        return {};
    }

    Result<void> settle_one(const SyncTarget& target, Sync sync) {
        auto done = (files_.*sync)(target.fd, target.path);
        count_sync();
        if (!done) return doubts_->add(target, std::move(done).error());
        // Another thread's sync may have been told of the data that ours has lost.
        return doubts_->check(target);
    }

    // What the group names, each file and directory once.
    static std::vector<const SyncTarget*> distinct(std::span<Pending* const> group,
                                                   std::vector<SyncTarget> SyncPlan::*list) {
        std::vector<const SyncTarget*> targets;
        for (const Pending* pending : group)
            for (const SyncTarget& target : pending->plan().*list) targets.push_back(&target);
        if (targets.size() < 2) return targets;
        std::set<std::pair<dev_t, ino_t>> seen;
        const auto repeated = [&](const SyncTarget* target) {
            struct stat st {};
            return ::fstat(target->fd, &st) == 0 && !seen.emplace(st.st_dev, st.st_ino).second;
        };
        targets.erase(std::remove_if(targets.begin(), targets.end(), repeated), targets.end());
        return targets;
    }

    Files& files_;
    std::shared_ptr<Doubts> doubts_;
    Helpers helpers_{kHelpers};
};

}  // namespace

std::unique_ptr<Durability> make_fsync_durability(Files& files, std::shared_ptr<Doubts> doubts,
                                                  std::shared_ptr<SyncStats> stats) {
    if (!doubts) doubts = std::make_shared<Doubts>();
    if (!stats) stats = std::make_shared<SyncStats>();
    return std::make_unique<FsyncDurability>(files, std::move(doubts), std::move(stats));
}

}  // namespace roost
