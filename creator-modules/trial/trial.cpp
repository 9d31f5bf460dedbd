// Creator `trial`: allocates without waiting for anybody; who writes first has won.
#include "module/allocation.h"
#include "module/module.h"

namespace roost {
namespace {

class TrialCreator : public Creator {
public:
    Result<User> create(UserDb& db, Mda& mda, const User& seen, Deadline deadline) override {
        return allocate_if_unchanged(db, mda, seen, deadline);
    }
};

Result<std::unique_ptr<Creator>> make(const ModuleHost& /*host*/) {
    return std::unique_ptr<Creator>(std::make_unique<TrialCreator>());
}

constexpr ModuleInfo kInfo = {
    .abi = kModuleAbi,
    .kind = ModuleKind::creator,
    .name = "trial",
    .summary = "makes a mailbox without a lock: the loser of a race takes the winner's mailbox",
    .settings = {},
    .make_mda = nullptr,
    .make_creator = make,
};

}  // namespace
}  // namespace roost

ROOST_MODULE(roost::kInfo)
