#include "usage_rows.h"

namespace roost::cli {

std::vector<Folder> accounts_of(const User& user) {
    std::vector<Folder> out{{}};
    const FolderRules rules = folder_rules(user.settings());
    for (const FolderRule& rule : rules.all())
        if (rule.counted == FolderRule::Counted::apart) out.push_back(rule.folder);
    return out;
}

Result<bool> has_mailbox(Mda& mda, const User& user) {
    auto ready = mda.check(user);
    if (!ready) return std::move(ready).error();
    return ready->complete();
}

Json to_json(const Usage& usage) { return {{"storage", usage.storage}, {"messages", usage.messages}}; }

}  // namespace roost::cli
