// Creator `none`: allocates and writes, come what may.
#include "module/allocation.h"
#include "module/module.h"

namespace roost {
namespace {

class NoneCreator : public Creator {
public:
    Result<User> create(UserDb& db, Mda& mda, const User& seen, Deadline /*deadline*/) override {
        const auto allocation = allocate_missing(mda, seen);
        if (!allocation) return allocation.error();
        if (const auto written = db.overwrite_allocation(seen.name(), *allocation); !written) return written.error();
        return find_again(db, seen);
    }
};

Result<std::unique_ptr<Creator>> make(const ModuleHost& /*host*/) {
    return std::unique_ptr<Creator>(std::make_unique<NoneCreator>());
}

constexpr ModuleInfo kInfo = {
    .abi = kModuleAbi,
    .kind = ModuleKind::creator,
    .name = "none",
    .summary = "makes a mailbox without coordination: for a single writer, or where the name alone tells the place",
    .settings = {},
    .make_mda = nullptr,
    .make_creator = make,
};

}  // namespace
}  // namespace roost

ROOST_MODULE(roost::kInfo)
