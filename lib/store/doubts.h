// The volumes on which a sync has failed.
#pragma once

#include "base/files.h"
#include "base/result.h"
#include "module/mda.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace roost {

// A sync that fails for another reason than a full disk tells that the kernel has dropped data, and it tells so only
// once: from then on the volume (st_dev) is in doubt until the program is started again. Any thread.
class Doubts {
public:
    // An Error if the file's volume is in doubt. Costs nothing while no volume is.
    Result<void> check(const SyncTarget& target);
    // Puts the file's volume in doubt, and logs the first failure on it, unless the disk was merely full. Returns what
    // the MTA is told.
    Error add(const SyncTarget& target, Error error);

private:
    struct Volume {
        dev_t device;
        std::string first;  // what failed first, and why
        int sys;
    };
    std::atomic<bool> any_{false};
    std::mutex mutex_;
    std::vector<Volume> volumes_;
};

// Files whose failing syncs put the volume in doubt, whoever syncs: no module has to take care of that. On a volume in
// doubt every sync is an Error. Any thread.
class WatchedFiles final : public Files {
public:
    explicit WatchedFiles(std::shared_ptr<Doubts> doubts) : doubts_(std::move(doubts)) {}

    Result<void> sync_data(int fd, std::string_view path) override;
    Result<void> sync(int fd, std::string_view path) override;
    Result<void> sync_volume(int fd, std::string_view path) override;

    // How many syncs have failed.
    std::uint64_t failures() const { return failures_.load(std::memory_order_relaxed); }

private:
    Result<void> judge(Result<void> done, int fd, std::string_view path);

    const std::shared_ptr<Doubts> doubts_;
    std::atomic<std::uint64_t> failures_{0};
};

}  // namespace roost
