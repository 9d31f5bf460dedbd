// roost quota show and recount.
#include <functional>
#include <iostream>

#include "base/text.h"
#include "commands.h"
#include "config/value.h"
#include "dry_run.h"
#include "output.h"
#include "quota/limits.h"
#include "quota_domains.h"
#include "records.h"
#include "store/instance.h"
#include "terminal.h"

namespace roost::cli {
namespace {

// The users that an invocation names.
struct Selection {
    std::optional<std::string> user;
    std::string domain;  // if no user: empty for all
};

Result<Selection> selection_of(const Options& options, bool all_by_default) {
    const int given = static_cast<int>(!options.operands.empty()) + static_cast<int>(options.domain.has_value()) +
                      static_cast<int>(options.all);
    if (given > 1) return usage_error("command quota", "NAME, --domain and --all exclude each other", "keep one");
    if (given == 0 && !all_by_default)
        return usage_error("command quota recount", "it is not said whose", "give NAME, --domain DOMAIN or --all");
    Selection out;
    if (!options.operands.empty()) {
        auto name = user_name(options.operands.front());
        if (!name) return std::move(name).error();
        out.user = *std::move(name);
    } else if (options.domain) {
        auto domain = domain_name(*options.domain);
        if (!domain) return std::move(domain).error();
        out.domain = *std::move(domain);
    }
    return out;
}

// Calls `visit` for each selected user. An Error of one user is printed, and the others go on. The status tells.
Result<int> each_selected(SqlUserDb& db, const Config& config, const Selection& selection, Progress& progress,
                          const std::function<Result<int>(const User&)>& visit) {
    int status = kSuccess;
    const auto one = [&](Result<UserRecord> record) -> Result<int> {
        if (!record) return std::move(record).error();
        auto user = User::make(config, *std::move(record));
        if (!user) return std::move(user).error();
        return visit(*user);
    };
    if (selection.user) return one(need_user(db, *selection.user));
    auto listed = db.each_user(selection.domain, [&](std::string_view, Result<UserRecord> record) {
        auto done = one(std::move(record));
        if (!done) {
            progress.wipe();
            print_error(done.error());
        }
        if (!done || *done != kSuccess) status = kFailure;
        progress.step();
        return static_cast<bool>(std::cout);
    });
    if (!listed) return std::move(listed).error();
    return status;
}

Json to_json(const Usage& usage) { return {{"storage", usage.storage}, {"messages", usage.messages}}; }

// What the authority says; nothing for a user without a mailbox.
Result<std::optional<Usage>> usage_of(Mda& mda, Accounts& accounts, const User& user) {
    auto ready = mda.check(user);
    if (!ready) return std::move(ready).error();
    if (!ready->complete()) return std::optional<Usage>();
    auto usage = accounts.mailbox(user, {});
    if (!usage) return std::move(usage).error();
    return std::optional(*usage);
}

// `name`: a user's, or "@" and a domain's.
void show_row(Listing& listing, const std::string& name, const Limits& limits, const std::optional<Usage>& usage) {
    if (listing.json()) {
        Json row{{"name", name}};
        if (name.starts_with('@')) {
            row["domain"] = true;
        } else {
            row["mailbox"] = usage.has_value();
        }
        row["usage"] = to_json(usage.value_or(Usage{}));
        row["limits"] = {{"storage", cli::to_json(limits.storage)}, {"messages", cli::to_json(limits.messages)}};
        if (!name.starts_with('@')) row["limits"]["message"] = cli::to_json(limits.message);
        listing.row(row);
        return;
    }
    std::string line = printable(name) + "\t";
    if (!usage) {
        listing.line(line + "no mailbox yet");
        return;
    }
    constexpr std::uint64_t kWhole = 100;
    line += format_size(usage->storage) + " of " + size_text(limits.storage);
    if (limits.storage && *limits.storage > 0) {
        const double share = static_cast<double>(usage->storage) / static_cast<double>(*limits.storage);
        line += " (" + std::to_string(static_cast<std::uint64_t>(share * kWhole)) + "%)";
    }
    line += "\t" + std::to_string(usage->messages) + " of " +
            (limits.messages ? std::to_string(*limits.messages) : std::string("unlimited")) + " messages";
    listing.line(line);
}

std::string difference_line(const std::string& name, const Usage& books, const Usage& truth) {
    return printable(name) + "\tbooks: " + std::to_string(books.storage) + " bytes, " + std::to_string(books.messages) +
           " messages\tstore: " + std::to_string(truth.storage) + " bytes, " + std::to_string(truth.messages) +
           " messages";
}

Json difference_json(const std::string& name, const Usage& books, const Usage& truth) {
    return {{"name", name}, {"books", to_json(books)}, {"store", to_json(truth)}};
}

void show_difference(Listing& listing, const std::string& name, const Usage& books, const Usage& truth) {
    if (listing.json()) {
        listing.row(difference_json(name, books, truth));
    } else {
        listing.line(difference_line(name, books, truth));
    }
}

// Puts the books right and tells, if asked to, where they differed.
Result<int> recount(const Options& options, const Selection& selection, Config config) {
    auto opened = Instance::open(std::move(config));
    if (!opened) return std::move(opened).error();
    Instance& instance = **opened;
    Accounts& accounts = instance.accounts();
    Progress progress("recounted", options.quiet);
    std::optional<Listing> listing;
    if (options.json || options.verbose) listing.emplace(options.json);
    DomainsSeen domains;
    const auto told = [&](const std::string& name, const Usage& books, const Usage& truth) {
        if (!listing) return;
        progress.wipe();
        show_difference(*listing, name, books, truth);
    };
    auto status =
        each_selected(instance.db(), instance.config(), selection, progress, [&](const User& user) -> Result<int> {
            domains.add(user);
            auto ready = instance.mda().check(user);
            if (!ready) return std::move(ready).error();
            if (!ready->complete()) return kSuccess;
            // Books that cannot be read are no reason not to put them right.
            auto books = accounts.peek(user);
            auto truth = accounts.recount(user, {});
            if (!truth) return std::move(truth).error();
            told(user.name(), books ? books->value_or(Usage{}) : Usage{}, *truth);
            return kSuccess;
        });
    if (!status || selection.user) return status;
    if (auto added = domains.add(instance.db(), instance.config(), selection.domain); !added)
        return std::move(added).error();
    for (const auto& [name, domain] : domains.all()) {
        auto books = accounts.peek_domain(name);
        auto truth = accounts.recount_domain(name);
        if (!truth) return std::move(truth).error();
        told("@" + name, books ? books->value_or(Usage{}) : Usage{}, *truth);
    }
    return status;
}

// Prints whose books differ from the store, and changes nothing.
Result<int> check_books(const Options& options, const Selection& selection, Config config) {
    auto opened = Instance::open(std::move(config));
    if (!opened) return std::move(opened).error();
    Instance& instance = **opened;
    auto made = DryRun::make(instance.config(), instance.db());
    if (!made) return std::move(made).error();
    DryRun& dry = **made;
    Reservations none;
    Accounts accounts({instance.config(), dry.mda(), dry.files(), none, {}, instance.authority(), nullptr});
    Progress progress("checked", options.quiet);
    Listing listing(options.json);
    DomainsSeen domains;
    const auto compare = [&](const std::string& name, const Usage& books, const Usage& truth) {
        if (books == truth) return kSuccess;
        progress.wipe();
        show_difference(listing, name, books, truth);
        return kFailure;
    };
    auto status =
        each_selected(instance.db(), instance.config(), selection, progress, [&](const User& user) -> Result<int> {
            auto ready = dry.mda().check(user);
            if (!ready) return std::move(ready).error();
            if (!ready->complete()) return kSuccess;
            auto books = accounts.peek(user);
            if (!books) return std::move(books).error();
            auto truth = dry.mda().recount(user, {});
            if (!truth) return std::move(truth).error();
            domains.add(user, *truth);
            // Counters that are not there yet are counted when they are needed.
            return *books ? compare(user.name(), **books, *truth) : kSuccess;
        });
    if (!status || selection.user) return status;
    for (const auto& [name, domain] : domains.all()) {
        auto books = accounts.peek_domain(name);
        if (!books) return std::move(books).error();
        if (*books && compare("@" + name, **books, domain.held) != kSuccess) status = kFailure;
    }
    return status;
}

}  // namespace

Result<int> quota_show(const Options& options) {
    auto selection = selection_of(options, true);
    if (!selection) return std::move(selection).error();
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto opened = Instance::open(*std::move(config));
    if (!opened) return std::move(opened).error();
    Instance& instance = **opened;
    Progress progress("looked at", true);
    Listing listing(options.json);
    DomainsSeen domains;
    auto status =
        each_selected(instance.db(), instance.config(), *selection, progress, [&](const User& user) -> Result<int> {
            domains.add(user);
            auto usage = usage_of(instance.mda(), instance.accounts(), user);
            if (!usage) return std::move(usage).error();
            show_row(listing, user.name(), limits_of(user.settings()), *usage);
            return kSuccess;
        });
    if (!status || selection->user) return status;
    if (auto added = domains.add(instance.db(), instance.config(), selection->domain); !added)
        return std::move(added).error();
    for (const auto& [name, domain] : domains.all()) {
        auto usage = instance.accounts().domain(name, domain.limits);
        if (!usage) return std::move(usage).error();
        show_row(listing, "@" + name, domain.limits, *usage);
    }
    return status;
}

Result<int> quota_recount(const Options& options) {
    auto selection = selection_of(options, false);
    if (!selection) return std::move(selection).error();
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    if (options.check) return check_books(options, *selection, *std::move(config));
    return recount(options, *selection, *std::move(config));
}

}  // namespace roost::cli
