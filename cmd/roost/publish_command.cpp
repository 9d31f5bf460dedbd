// roost quota publish: the clone's reseeding, its drift and its orphans.
#include <iostream>
#include <set>
#include <unordered_map>

#include "base/text.h"
#include "commands.h"
#include "output.h"
#include "records.h"
#include "store/after_delivery.h"
#include "store/clone_feed.h"
#include "store/instance.h"
#include "terminal.h"
#include "usage_rows.h"

namespace roost::cli {
namespace {

constexpr std::size_t kBatch = 500;
// For another process that publishes: if it takes longer, it is roostd.
constexpr std::chrono::seconds kOtherPublisher(2);
// For an answer of the dict, or for all of its keys.
constexpr std::chrono::seconds kDictAnswer(30);
constexpr std::chrono::minutes kListing(30);

// The users that an invocation names.
struct Chosen {
    std::vector<std::string> names;
    std::string domain;  // if no names: empty for all
    bool nobody = false;

    // Whether a name that only the dict has is meant.
    bool covers(std::string_view name) const { return domain.empty() || name.ends_with("@" + domain); }
};

Result<Chosen> chosen_by(const Options& options) {
    const std::string what = "command quota publish";
    const int given = static_cast<int>(!options.operands.empty()) + static_cast<int>(options.domain.has_value()) +
                      static_cast<int>(options.all);
    if (given > 1) return usage_error(what, "NAME, --domain and --all exclude each other", "keep one");
    if (options.check && options.prune)
        return usage_error(what, "--check changes nothing, --prune does", "keep one of the two");
    if (given == 0 && !options.check && !options.prune)
        return usage_error(what, "it is not said whose", "give NAME ..., --domain DOMAIN or --all");
    Chosen out;
    out.nobody = given == 0 && options.prune;
    for (const std::string& operand : options.operands) {
        auto name = user_name(operand);
        if (!name) return std::move(name).error();
        out.names.push_back(*std::move(name));
    }
    if (options.domain) {
        auto domain = domain_name(*options.domain);
        if (!domain) return std::move(domain).error();
        out.domain = *std::move(domain);
    }
    return out;
}

Json usage_json(const std::optional<Usage>& usage) { return usage ? to_json(*usage) : Json(nullptr); }

std::string usage_line(const std::optional<Usage>& usage) {
    if (!usage) return "nothing";
    return std::to_string(usage->storage) + " bytes, " + std::to_string(usage->messages) + " messages";
}

// Publishes, removes and compares, for one invocation.
class Publication {
public:
    Publication(const Options& options, Chosen chosen, Instance& instance)
        : options_(options),
          chosen_(std::move(chosen)),
          instance_(instance),
          clone_(*instance.clone()),
          feed_({instance, clone_, nullptr, nullptr}),
          outbox_(instance.files(), std::string(instance.config().text("store.state"))),
          progress_(options.check ? "compared" : "published", options.quiet) {}

    Result<int> publish() {
        for (const std::string& name : chosen_.names) {
            auto record = instance_.db().find(name);
            if (!record) return std::move(record).error();
            if (!*record && !options_.prune) return no_such("user", name);
            batch_.push_back(name);
        }
        if (chosen_.names.empty() && !chosen_.nobody) {
            Result<void> sent;
            auto listed =
                instance_.db().each_user(chosen_.domain, [&](std::string_view name, const Result<UserRecord>&) {
                    batch_.emplace_back(name);
                    if (batch_.size() >= kBatch) sent = send();
                    return static_cast<bool>(sent);
                });
            if (!listed) return std::move(listed).error();
            if (!sent) return std::move(sent).error();
        }
        if (auto sent = send(); !sent) return std::move(sent).error();
        if (options_.prune && chosen_.names.empty()) {
            auto pruned = prune();
            if (!pruned) return std::move(pruned).error();
        }
        return status_;
    }

    Result<int> check() {
        Listing listing(options_.json);
        listing_ = &listing;
        for (const std::string& name : chosen_.names) {
            auto record = instance_.db().find(name);
            if (!record) return std::move(record).error();
            auto compared = *record ? compare(**std::move(record)) : look_for_orphan(name);
            if (!compared) return std::move(compared).error();
        }
        if (!chosen_.names.empty()) return status_;
        if (auto done = list_dict(); !done) return std::move(done).error();
        Result<void> done;
        auto listed = instance_.db().each_user(chosen_.domain, [&](std::string_view name, Result<UserRecord> record) {
            if (record) {
                done = compare(*std::move(record));
            } else {
                complain(std::move(record).error());
            }
            held_.erase(std::string(name));
            progress_.step();
            return static_cast<bool>(done) && static_cast<bool>(std::cout);
        });
        if (!listed) return std::move(listed).error();
        for (auto each = held_.begin(); done && each != held_.end(); ++each) done = look_for_orphan(each->first);
        if (!done) return std::move(done).error();
        return status_;
    }

private:
    // What the dict holds of a user, as far as it is a number.
    struct Held {
        std::optional<std::uint64_t> storage;
        std::optional<std::uint64_t> messages;
        std::optional<Usage> usage() const {
            return storage && messages ? std::optional(Usage{*storage, *messages}) : std::nullopt;
        }
    };

    void complain(const Error& error) {
        progress_.wipe();
        print_error(error);
        status_ = kFailure;
    }

    // What is read now must not be written over something newer: so this needs the right to write to the clone. A
    // roostd that has it publishes these users once more, after whatever it was about to write.
    Result<void> send() {
        if (batch_.empty()) return {};
        auto right = outbox_.drain(Deadline::in(beside_ ? std::chrono::seconds(0) : kOtherPublisher));
        if (!right) return std::move(right).error();
        beside_ = !right->has_value();
        CloneFeed::Report report = feed_.publish({batch_, false}, std::nullopt);
        if (report.error) return *std::move(report.error);
        if (beside_)
            if (auto added = outbox_.add(batch_); !added) return added;
        if (report.unreadable) {
            Error error = *std::move(report.unreadable);
            error.hint = "the usage of " + std::to_string(report.left.names.size()) +
                         " users was not published; try again when that is put right";
            complain(error);
        }
        for (std::size_t i = 0; i < batch_.size(); ++i) progress_.step();
        batch_.clear();
        return {};
    }

    // Users that the dict holds and the database does not have.
    Result<void> prune() {
        std::set<std::string> orphans;
        std::optional<Error> failed;
        for (const char* key : {kDictStorage, kDictMessages}) {
            auto listed = clone_.dict().each(
                key,
                [&](std::string_view user, std::string_view) {
                    if (!chosen_.covers(user)) return true;
                    auto record = instance_.db().find(user);
                    if (!record)
                        failed = std::move(record).error();
                    else if (!*record)
                        orphans.emplace(user);
                    return !failed;
                },
                Deadline::in(kListing));
            if (!listed) return listed;
            if (failed) return *std::move(failed);
        }
        for (const std::string& name : orphans) {
            if (options_.verbose) std::cout << "removed " << printable(name) << " from the clone\n";
            batch_.push_back(name);
            if (batch_.size() < kBatch) continue;
            if (auto sent = send(); !sent) return sent;
        }
        return send();
    }

    // All that the dict holds, where it can be asked for that.
    Result<void> list_dict() {
        for (const bool storage : {true, false}) {
            auto listed = clone_.dict().each(
                storage ? kDictStorage : kDictMessages,
                [&](std::string_view user, std::string_view value) {
                    if (!chosen_.covers(user)) return true;
                    Held& held = held_[std::string(user)];
                    (storage ? held.storage : held.messages) = clone_number(value);
                    return true;
                },
                Deadline::in(kListing));
            if (listed) continue;
            if (listed.error().outcome != Outcome::misconfigured) return listed;
            // Users are asked for one by one then.
            Error error = std::move(listed).error();
            error.hint = "users that only the dict has are not looked for";
            print_error(error);
            held_.clear();
            return {};
        }
        return {};
    }

    Result<void> compare(const UserRecord& record) {
        const std::string name = record.name;
        const auto listed = held_.find(name);
        std::optional<Usage> seen = listed == held_.end() ? std::nullopt : listed->second.usage();
        // Mail may have come between the two looks, so a difference is looked at again.
        for (const bool again : {false, true}) {
            if (again || listed == held_.end()) {
                auto read = clone_.read(name, Deadline::in(kDictAnswer));
                if (!read) return std::move(read).error();
                seen = *read;
            }
            auto entry = feed_.entry(record);
            if (!entry) {
                complain(entry.error());
                return {};
            }
            // What is not there stands for nothing.
            if (seen.value_or(Usage{}) == *entry->usage) return {};
            if (again) tell(name, seen ? "differs" : "missing", seen, entry->usage);
        }
        return {};
    }

    Result<void> look_for_orphan(const std::string& name) {
        auto record = instance_.db().find(name);
        if (!record) return std::move(record).error();
        if (*record) return {};
        auto seen = clone_.read(name, Deadline::in(kDictAnswer));
        if (!seen) return std::move(seen).error();
        if (*seen || held_.contains(name)) tell(name, "orphan", *seen, std::nullopt);
        return {};
    }

    void tell(const std::string& name, const char* drift, const std::optional<Usage>& clone,
              const std::optional<Usage>& authority) {
        progress_.wipe();
        status_ = kFailure;
        if (listing_->json()) {
            listing_->row(
                {{"name", name}, {"drift", drift}, {"clone", usage_json(clone)}, {"mailbox", usage_json(authority)}});
        } else {
            listing_->line(printable(name) + "\t" + drift + "\tclone: " + usage_line(clone) +
                           "\tmailbox: " + usage_line(authority));
        }
    }

    const Options& options_;
    Chosen chosen_;
    Instance& instance_;
    Clone& clone_;
    CloneFeed feed_;
    Outbox outbox_;
    Progress progress_;
    Listing* listing_ = nullptr;
    std::vector<std::string> batch_;
    std::unordered_map<std::string, Held> held_;
    bool beside_ = false;  // a roostd
    int status_ = kSuccess;
};

}  // namespace

Result<int> quota_publish(const Options& options) {
    auto chosen = chosen_by(options);
    if (!chosen) return std::move(chosen).error();
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto instance = Instance::open(*std::move(config));
    if (!instance) return std::move(instance).error();
    if ((*instance)->clone() == nullptr)
        return config_error("quota-clone.dict", "it is empty, so there is no clone", "set it to a dict's URI");
    Publication publication(options, *std::move(chosen), **instance);
    return options.check ? publication.check() : publication.publish();
}

}  // namespace roost::cli
