// Folders with room or limits of their own.
#pragma once

#include "base/folder.h"
#include "quota/limits.h"

#include <vector>

namespace roost {

// What the quota.folder.NAME.* settings say of one folder. They hold for that folder, not for those below it.
struct FolderRule {
    enum class Counted {
        mailbox,  // with the mailbox, as every other folder
        apart,    // by itself: an account of its own
        nowhere,  // it is neither counted nor limited
    };
    Folder folder;
    Counted counted = Counted::mailbox;
    // Counted::mailbox: by how much a delivery into the folder may exceed the mailbox's limits, absent for any amount.
    // Counted::apart: what the folder may hold, absent for unlimited.
    std::optional<std::uint64_t> storage = 0;
    std::optional<std::uint64_t> messages = 0;
};

// All of a user's. A value.
class FolderRules {
public:
    FolderRules() = default;
    explicit FolderRules(std::vector<FolderRule> rules) : rules_(std::move(rules)) {}

    const std::vector<FolderRule>& all() const { return rules_; }
    // The folder's rule, or null.
    const FolderRule* find(const Folder& folder) const;
    FolderRule::Counted counted(const Folder& folder) const;
    // The limits that hold for a delivery into `folder`: of the account that it is counted in, with the folder's extra
    // room. `mailbox`: the user's own. The largest message, the grace and when-full are the user's for all folders.
    Limits limits(const Folder& folder, const Limits& mailbox) const;

private:
    std::vector<FolderRule> rules_;
};

// In the order of names. Pure.
FolderRules folder_rules(const Cascade& settings);

}  // namespace roost
