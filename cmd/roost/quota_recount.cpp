// roost quota recount: the books put right by looking at the store, or held against it.
#include <algorithm>
#include <charconv>
#include <functional>
#include <iostream>
#include <memory>
#include <thread>

#include "base/text.h"
#include "commands.h"
#include "crew.h"
#include "dry_run.h"
#include "output.h"
#include "quota_domains.h"
#include "records.h"
#include "scope.h"
#include "store/instance.h"
#include "store/settle.h"
#include "terminal.h"
#include "usage_rows.h"

namespace roost::cli {
namespace {

constexpr unsigned kMostJobs = 256;

Result<unsigned> jobs_of(const Options& options) {
    if (!options.jobs) return std::clamp(std::thread::hardware_concurrency(), 1U, kMostJobs);
    unsigned jobs = 0;
    const char* end = options.jobs->data() + options.jobs->size();
    const auto read = std::from_chars(options.jobs->data(), end, jobs);
    if (read.ec != std::errc() || read.ptr != end || jobs == 0 || jobs > kMostJobs)
        return usage_error("--jobs",
                           "'" + printable(*options.jobs) + "' is no number from 1 to " + std::to_string(kMostJobs),
                           "write --jobs 4");
    return jobs;
}

// What was found of one account.
struct Found {
    Folder account;
    std::optional<Usage> books;  // as they were; nothing if nobody asked, or if they could not be read
    Usage store;
    bool differs() const { return books && *books != store; }
};

// What was found of one user, as far as it went.
struct Finding {
    std::optional<User> user;
    std::vector<Found> accounts;
    std::optional<Error> error;
};

// The same of a user's account or of a domain, for people and programs. `name` with "@" in front is a domain's.
std::string line(const std::string& name, const Found& found) {
    const auto said = [](const Usage& usage) {
        return std::to_string(usage.storage) + " bytes, " + std::to_string(usage.messages) + " messages";
    };
    const std::string account = found.account.empty() ? name : name + "/" + folder_name(found.account);
    return printable(account) + "\tbooks: " + said(found.books.value_or(Usage{})) + "\tstore: " + said(found.store);
}

Json json(const std::string& name, const Found& found) {
    Json out{{"name", name}};
    if (!found.account.empty()) out["folder"] = folder_name(found.account);
    out["books"] = to_json(found.books.value_or(Usage{}));
    out["store"] = to_json(found.store);
    return out;
}

// What is done to one account.
using Look = std::function<Result<Found>(const User& user, const Folder& account)>;

// What the authority or, for a folder, the module's books say; nothing if they say nothing.
Result<std::optional<Usage>> books_of(Accounts& accounts, Mda& mda, const User& user, const Folder& account) {
    if (account.empty()) return accounts.peek(user);
    auto usage = mda.usage(user, account, {});
    if (!usage) return std::move(usage).error();
    return std::optional(*usage);
}

// Puts the books of one account right. `look`: whether to ask first what they said.
Result<Found> put_right(Instance& instance, const User& user, const Folder& account, bool look) {
    Found out{account, {}, {}};
    if (look)
        // Books that cannot be read are no reason not to put them right.
        if (auto books = books_of(instance.accounts(), instance.mda(), user, account)) out.books = *books;
    auto truth = instance.accounts().recount(user, account);
    if (!truth) return std::move(truth).error();
    out.store = *truth;
    return out;
}

// Holds the books of one account against the store; `mda` touches nothing. Mail that comes in between looks like a
// difference, so one counts only if the books said the same before and after. Counters that are not there yet are
// counted when they are needed.
Result<Found> hold_against(Accounts& accounts, Mda& mda, const User& user, const Folder& account) {
    constexpr int kLooks = 5;
    Found out{account, {}, {}};
    for (int look = 0; look < kLooks; ++look) {
        auto before = books_of(accounts, mda, user, account);
        if (!before) return std::move(before).error();
        auto truth = mda.recount(user, account);
        if (!truth) return std::move(truth).error();
        auto after = books_of(accounts, mda, user, account);
        if (!after) return std::move(after).error();
        out.books = *before;
        out.store = *truth;
        if (!out.differs() || *before == *after) break;
    }
    return out;
}

class Recount {
public:
    Recount(const Options& options, Instance& instance, Look look)
        : options_(options),
          instance_(instance),
          look_(std::move(look)),
          progress_(options.check ? "checked" : "recounted", options.quiet) {
        if (options.json || options.verbose || options.check) listing_ = std::make_unique<Listing>(options.json);
    }

    // `domain`: what is done to a domain, of which the visited users hold so much.
    using LookAtDomain = std::function<Result<Found>(const std::string& name, const Usage& held)>;
    Result<int> run(const Scope& scope, unsigned jobs, const LookAtDomain& domain) {
        Crew<Result<UserRecord>, Finding> crew(
            jobs, [this](Result<UserRecord> record) { return find(std::move(record)); },
            [this](const Finding& finding) { tell(finding); });
        auto listed = each_in(instance_.db(), scope, [&](Result<UserRecord> record) {
            crew.add(std::move(record));
            return static_cast<bool>(std::cout);
        });
        crew.finish();
        if (!listed) return std::move(listed).error();
        for (const std::string& name : scope.domains) {
            auto added = domains_.add(instance_.db(), instance_.config(), name);
            if (!added) return std::move(added).error();
        }
        for (const auto& [name, seen] : domains_.all()) {
            if (!scope.has_domain(name)) continue;
            auto found = domain(name, seen.held);
            if (!found) return std::move(found).error();
            tell("@" + name, *found);
        }
        return status_;
    }

private:
    Finding find(Result<UserRecord> record) {
        Finding out;
        if (!record) {
            out.error = std::move(record).error();
            return out;
        }
        auto user = User::make(instance_.config(), *std::move(record));
        if (!user) {
            out.error = std::move(user).error();
            return out;
        }
        out.user = *std::move(user);
        auto made = has_mailbox(instance_.mda(), *out.user);
        if (!made) {
            out.error = std::move(made).error();
            return out;
        }
        if (!*made) return out;
        for (const Folder& account : accounts_of(*out.user)) {
            auto found = look_(*out.user, account);
            if (!found) {
                out.error = std::move(found).error();
                return out;
            }
            out.accounts.push_back(*std::move(found));
        }
        return out;
    }

    void tell(const Finding& finding) {
        if (finding.error) {
            progress_.wipe();
            print_error(*finding.error);
            status_ = kFailure;
        }
        Usage held;
        for (const Found& found : finding.accounts) {
            held.storage += found.store.storage;
            held.messages += found.store.messages;
            tell(finding.user->name(), found);
        }
        if (finding.user) domains_.add(*finding.user, held);
        progress_.step();
    }

    void tell(const std::string& name, const Found& found) {
        if (options_.check && !found.differs()) return;
        if (options_.check) status_ = kFailure;
        if (!listing_) return;
        progress_.wipe();
        if (options_.json) {
            listing_->row(json(name, found));
        } else {
            listing_->line(line(name, found));
        }
    }

    const Options& options_;
    Instance& instance_;
    Look look_;
    Progress progress_;
    std::unique_ptr<Listing> listing_;
    DomainsSeen domains_;
    int status_ = kSuccess;
};

Result<int> put_right(const Options& options, const Scope& scope, unsigned jobs, Instance& instance) {
    const bool look = options.json || options.verbose;
    Accounts& accounts = instance.accounts();
    Recount recount(options, instance,
                    [&](const User& user, const Folder& account) { return put_right(instance, user, account, look); });
    auto status = recount.run(scope, jobs, [&](const std::string& name, const Usage& /*held*/) -> Result<Found> {
        auto books = accounts.peek_domain(name);
        auto truth = accounts.recount_domain(name);
        if (!truth) return std::move(truth).error();
        return Found{{}, books ? *books : std::nullopt, *truth};
    });
    if (!status || !scope.all) return status;
    // What is left: users that are gone, and domains without limits.
    auto doubts = accounts.doubts();
    if (!doubts) return std::move(doubts).error();
    for (const std::string& name : *doubts) {
        auto settled = settle_doubt(instance, name);
        if (!settled) return std::move(settled).error();
        if (!*settled) status = kFailure;
    }
    return status;
}

Result<int> check(const Options& options, const Scope& scope, unsigned jobs, Instance& instance) {
    auto made = DryRun::make(instance.config(), instance.db());
    if (!made) return std::move(made).error();
    DryRun& dry = **made;
    Reservations none;
    Accounts accounts({instance.config(), dry.mda(), dry.files(), none, {}, instance.authority(), nullptr});
    Recount recount(options, instance, [&](const User& user, const Folder& account) {
        return hold_against(accounts, dry.mda(), user, account);
    });
    return recount.run(scope, jobs, [&](const std::string& name, const Usage& held) -> Result<Found> {
        auto books = accounts.peek_domain(name);
        if (!books) return std::move(books).error();
        return Found{{}, *books, held};
    });
}

}  // namespace

Result<int> quota_recount(const Options& options) {
    auto scope = Scope::of(options, "quota recount", false);
    if (!scope) return std::move(scope).error();
    auto jobs = jobs_of(options);
    if (!jobs) return std::move(jobs).error();
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto instance = Instance::open(*std::move(config));
    if (!instance) return std::move(instance).error();
    return options.check ? check(options, *scope, *jobs, **instance) : put_right(options, *scope, *jobs, **instance);
}

}  // namespace roost::cli
