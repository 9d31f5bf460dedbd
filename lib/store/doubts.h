// The volumes on which a sync has failed.
#pragma once

#include "base/result.h"
#include "module/mda.h"

#include <atomic>
#include <mutex>
#include <string>
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

}  // namespace roost
