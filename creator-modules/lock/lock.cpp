// Creator `lock`: one allocation at a time, under the user's lock in the database.
#include "module/allocation.h"
#include "module/module.h"

namespace roost {
namespace {

class LockCreator : public Creator {
public:
    Result<User> create(UserDb& db, Mda& mda, const User& seen, Deadline deadline) override {
        const auto lock = db.lock(seen.name(), deadline);
        if (!lock) return lock.error();
        auto user = find_again(db, seen);  // the one who held the lock before may have made the mailbox
        if (!user) return user;
        // The lock keeps other creators out, but not an administrator who changes the record.
        return allocate_if_unchanged(db, mda, *std::move(user), deadline);
    }
};

Result<std::unique_ptr<Creator>> make(const ModuleHost& /*host*/) {
    return std::unique_ptr<Creator>(std::make_unique<LockCreator>());
}

constexpr ModuleInfo kInfo = {
    .abi = kModuleAbi,
    .kind = ModuleKind::creator,
    .name = "lock",
    .summary = "makes a mailbox under the user's lock: for any number of processes and machines",
    .settings = {},
    .make_mda = nullptr,
    .make_creator = make,
};

}  // namespace
}  // namespace roost

ROOST_MODULE(roost::kInfo)
