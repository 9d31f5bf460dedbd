#include "store/durability.h"

#include <sys/stat.h>

#include <set>
#include <utility>

namespace roost {
namespace {

class FsyncDurability : public Durability {
public:
    explicit FsyncDurability(Files& files) : files_(files) {}

    Result<void> before_publish(std::span<Pending* const> group) override {
        return settle(group, &SyncPlan::before, &Files::sync_data);
    }
    Result<void> after_publish(std::span<Pending* const> group) override {
        return settle(group, &SyncPlan::after, &Files::sync);
    }

private:
    using Sync = Result<void> (Files::*)(int, std::string_view);

    Result<void> settle(std::span<Pending* const> group, std::vector<SyncTarget> SyncPlan::*targets, Sync sync) {
        std::set<std::pair<dev_t, ino_t>> done;
        for (const Pending* pending : group) {
            for (const SyncTarget& target : pending->plan().*targets) {
                if (group.size() > 1 || (pending->plan().*targets).size() > 1) {
                    struct stat st {};
                    if (::fstat(target.fd, &st) == 0 && !done.emplace(st.st_dev, st.st_ino).second) continue;
                }
                auto synced = (files_.*sync)(target.fd, target.path);
                if (!synced) return synced;
            }
        }
        return {};
    }

    Files& files_;
};

}  // namespace

std::unique_ptr<Durability> make_fsync_durability(Files& files) { return std::make_unique<FsyncDurability>(files); }

}  // namespace roost
