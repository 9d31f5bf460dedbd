#include "quota/folder_rules.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

namespace roost {
namespace {

constexpr std::string_view kStorage = "quota.folder.NAME.storage";
constexpr std::string_view kMessages = "quota.folder.NAME.messages";
constexpr std::string_view kIgnore = "quota.folder.NAME.ignore";

std::string key_of(std::string_view row_key, const std::string& name) {
    constexpr std::string_view kName = "NAME";
    return std::string(row_key).replace(row_key.find(kName), kName.size(), name);
}

FolderRule rule_of(const Cascade& settings, const std::string& name) {
    FolderRule rule;
    rule.folder = *parse_folder(name);  // checked when the key was read
    const Room storage = settings.room(key_of(kStorage, name));
    const Room messages = settings.room(key_of(kMessages, name));
    if (settings.flag(key_of(kIgnore, name))) {
        rule.counted = FolderRule::Counted::nowhere;
    } else if (storage.extra && messages.extra) {
        rule.storage = storage.amount;
        rule.messages = messages.amount;
    } else {
        rule.counted = FolderRule::Counted::apart;
        rule.storage = storage.extra ? std::nullopt : storage.amount;
        rule.messages = messages.extra ? std::nullopt : messages.amount;
    }
    return rule;
}

// The sum, or unlimited if either is or if it overflows.
std::optional<std::uint64_t> sum(const std::optional<std::uint64_t>& limit, const std::optional<std::uint64_t>& extra) {
    if (!limit || !extra || *limit > std::numeric_limits<std::uint64_t>::max() - *extra) return std::nullopt;
    return *limit + *extra;
}

}  // namespace

const FolderRule* FolderRules::find(const Folder& folder) const {
    const auto rule =
        std::find_if(rules_.begin(), rules_.end(), [&](const FolderRule& r) { return r.folder == folder; });
    return rule == rules_.end() ? nullptr : &*rule;
}

FolderRule::Counted FolderRules::counted(const Folder& folder) const {
    const FolderRule* rule = find(folder);
    return rule == nullptr ? FolderRule::Counted::mailbox : rule->counted;
}

Limits FolderRules::limits(const Folder& folder, const Limits& mailbox) const {
    Limits out = mailbox;
    const FolderRule* rule = find(folder);
    if (rule == nullptr) return out;
    switch (rule->counted) {
        case FolderRule::Counted::mailbox:
            out.storage = sum(mailbox.storage, rule->storage);
            out.messages = sum(mailbox.messages, rule->messages);
            break;
        case FolderRule::Counted::apart:
            out.storage = rule->storage;
            out.messages = rule->messages;
            break;
        case FolderRule::Counted::nowhere:
            out.storage.reset();
            out.messages.reset();
            break;
    }
    return out;
}

FolderRules folder_rules(const Cascade& settings) {
    std::set<std::string, std::less<>> names = settings.names(kStorage);
    names.merge(settings.names(kMessages));
    names.merge(settings.names(kIgnore));
    std::vector<FolderRule> rules;
    rules.reserve(names.size());
    for (const std::string& name : names) rules.push_back(rule_of(settings, name));
    return FolderRules(std::move(rules));
}

}  // namespace roost
