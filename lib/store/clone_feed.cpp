#include "store/clone_feed.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace roost {
namespace {

constexpr std::size_t kWitnesses = 8;
// For one batch. Nobody waits for it but the end of the process.
constexpr std::chrono::seconds kBatchTime(5);
constexpr std::size_t kSmallestBatch = 16;

}  // namespace

Result<Usage> usage_of(Instance& instance, const User& user) { return instance.accounts().mailbox(user, {}); }

void Witnesses::add(const std::string& user) {
    if (users_.size() < kWitnesses && !contains(user)) users_.push_back(user);
}

bool Witnesses::contains(const std::string& user) const {
    return std::find(users_.begin(), users_.end(), user) != users_.end();
}

Result<CloneEntry> CloneFeed::entry(UserRecord record) {
    std::string name = record.name;
    auto user = User::make(parts_.instance.config(), std::move(record));
    if (!user) return std::move(user).error();
    auto usage = usage_of(parts_.instance, *user);
    if (!usage) return std::move(usage).error();
    return CloneEntry{std::move(name), *usage};
}

void CloneFeed::gather(const std::string& name, Result<CloneEntry> entry, Report& report) {
    if (entry) {
        batch_.push_back(*std::move(entry));
    } else {
        report.left.names.push_back(name);
        if (!report.unreadable) report.unreadable = std::move(entry).error();
    }
}

Result<void> CloneFeed::commit(Report& report, std::optional<Deadline> deadline) {
    const Deadline end = deadline ? deadline->at_most(kBatchTime) : Deadline::in(kBatchTime);
    Witnesses* const witnesses = report.emptied ? nullptr : parts_.witnesses;
    for (const CloneEntry& entry : batch_) {
        if (witnesses == nullptr || !witnesses->contains(entry.user)) continue;
        auto before = parts_.clone.read(entry.user, end);
        if (!before) return std::move(before).error();
        if (!*before) report.emptied = true;
    }
    auto done = parts_.clone.publish(batch_, end);
    if (!done) {
        most_ = std::max(most_ / 2, kSmallestBatch);
        return done;
    }
    most_ = std::min(most_ * 2, kBatch);
    if (parts_.witnesses != nullptr) {
        for (const CloneEntry& entry : batch_) {
            if (entry.usage) {
                parts_.witnesses->add(entry.user);
            } else {
                parts_.witnesses->remove(entry.user);
            }
        }
    }
    batch_.clear();
    return {};
}

CloneFeed::Report CloneFeed::publish(const Outbox::Content& content, std::optional<Deadline> deadline) {
    Report report;
    report.left.everybody = content.everybody;
    batch_.clear();
    auto next = content.names.begin();
    while (next != content.names.end() && !report.error && !stopped() && !(deadline && deadline->expired())) {
        const auto begin = next;
        for (; next != content.names.end() && static_cast<std::size_t>(next - begin) < most_; ++next) {
            auto record = parts_.instance.db().find(*next);
            if (record) {
                gather(*next, *record ? entry(**std::move(record)) : CloneEntry{*next, std::nullopt}, report);
            } else if (record.error().outcome == Outcome::misconfigured) {
                gather(*next, std::move(record).error(), report);
            } else {
                report.error = std::move(record).error();
                break;
            }
        }
        if (!report.error)
            if (auto done = commit(report, deadline); !done) report.error = std::move(done).error();
        if (report.error) next = begin;
    }
    // Those that could not be read in a batch that failed are among both.
    std::vector<std::string>& left = report.left.names;
    if (next != content.names.end()) {
        std::vector<std::string> rest(next, content.names.end());
        std::erase_if(left,
                      [&](const std::string& name) { return std::find(rest.begin(), rest.end(), name) != rest.end(); });
        left.insert(left.end(), rest.begin(), rest.end());
    } else if (content.everybody && !deadline && !report.error) {
        publish_everybody(report);
    }
    return report;
}

void CloneFeed::publish_everybody(Report& report) {
    if (parts_.witnesses != nullptr) parts_.witnesses->clear();
    bool cut = false;
    auto listed = parts_.instance.db().each_user({}, [&](std::string_view name, Result<UserRecord> record) {
        if (record)
            gather(std::string(name), entry(*std::move(record)), report);
        else
            gather(std::string(name), std::move(record).error(), report);
        if (batch_.size() >= most_)
            if (auto done = commit(report, std::nullopt); !done) report.error = std::move(done).error();
        cut = stopped();
        return !report.error && !cut;
    });
    if (!listed && !report.error) report.error = std::move(listed).error();
    if (!report.error && !cut)
        if (auto done = commit(report, std::nullopt); !done) report.error = std::move(done).error();
    report.left.everybody = cut || report.error.has_value();
    batch_.clear();
}

}  // namespace roost
