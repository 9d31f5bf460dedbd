#include "store/accounts.h"

#include <limits>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "quota/folder_rules.h"

namespace roost {
namespace {

std::string too_large_text(const Limits& limits, std::uint64_t size) {
    return "the message has " + std::to_string(size) + " bytes, the limit is " + std::to_string(*limits.message);
}

std::string place_of(const Account& account) {
    switch (account.kind) {
        case Account::Kind::mailbox:
            break;
        case Account::Kind::folder:
            return "the folder " + printable(folder_name(account.folder));
        case Account::Kind::domain:
            return "the domain " + printable(std::string_view(account.name).substr(1));
    }
    return "the mailbox";
}

std::string full_text(const Account& account, const Usage& used) {
    const Limits& limits = account.limits;
    std::string text = place_of(account) + " is full:";
    if (limits.storage)
        text += " " + std::to_string(used.storage) + " of " + std::to_string(*limits.storage) + " bytes";
    if (limits.storage && limits.messages) text += ",";
    if (limits.messages)
        text += " " + std::to_string(used.messages) + " of " + std::to_string(*limits.messages) + " messages";
    if (account.elsewhere != Usage{}) text += ", other services included";
    return text;
}

// The largest number stands for all that are larger.
std::uint64_t sum_of(std::uint64_t a, std::uint64_t b) {
    std::uint64_t out = 0;
    return __builtin_add_overflow(a, b, &out) ? std::numeric_limits<std::uint64_t>::max() : out;
}

Usage operator+(const Usage& a, const Usage& b) {
    return {sum_of(a.storage, b.storage), sum_of(a.messages, b.messages)};
}

std::string account_of_domain(std::string_view domain) { return "@" + std::string(domain); }

}  // namespace

Accounts::Accounts(Parts parts)
    : parts_(std::move(parts)), domain_books_(parts_.files, std::string(parts_.config.text("store.state"))) {
    const std::string state(parts_.config.text("store.state"));
    if (parts_.authority != nullptr) counters_.emplace(*parts_.authority, parts_.files, state);
    if (parts_.unified == nullptr) return;
    std::vector<std::string> services = parse_words(parts_.config.text("quota.unified.services"));
    std::erase(services, parts_.config.text("quota.unified.name"));
    unified_.emplace(*parts_.unified, parts_.files, state, services, parts_.config.duration("quota.unified.max-age"));
}

Limits Accounts::domain_limits(const Cascade& settings) {
    Limits out;
    out.storage = settings.size("domain-quota.storage");
    out.messages = settings.count("domain-quota.messages");
    out.defer_when_full = settings.text("quota.when-full") == "defer";
    return out;
}

std::optional<Unified::Elsewhere> Accounts::services(const User& user) {
    if (!unified_ || !user.settings().flag("quota.unified")) return std::nullopt;
    return unified_->elsewhere(user.name());
}

std::vector<Account> Accounts::charged(const User& user, const Folder& folder) {
    using Counted = FolderRule::Counted;
    std::vector<Account> out;
    const FolderRules rules = folder_rules(user.settings());
    const Counted counted = rules.counted(folder);
    if (counted == Counted::nowhere) return out;
    Account own;
    own.name = user.name();
    own.limits = rules.limits(folder, limits_of(user.settings()));
    if (counted == Counted::apart) {
        own.kind = Account::Kind::folder;
        own.folder = folder;
        own.name += "/" + folder_name(folder);
    }
    if (needs_usage(own.limits)) {
        if (own.kind == Account::Kind::mailbox) {
            if (const auto said = services(user)) {
                own.elsewhere = said->usage;
                if (said->trouble)
                    log(LogLevel::warning,
                        user.name() +
                            (said->remembered ? ": the last known usage of other services counts: "
                                              : ": the usage of other services is not known and does not count: ") +
                            said->trouble->text());
            }
        }
        out.push_back(std::move(own));
    }
    const Limits limits = domain_limits(user.settings());
    if (!user.domain().empty() && needs_usage(limits))
        out.push_back({Account::Kind::domain, account_of_domain(user.domain()), {}, limits, {}});
    return out;
}

Result<Usage> Accounts::usage(const User& user, const Account& account, const Usage& coming) {
    switch (account.kind) {
        case Account::Kind::mailbox:
            break;
        case Account::Kind::folder: {
            auto ready = parts_.mda.check(user);
            if (!ready) return std::move(ready).error();
            return ready->complete() ? parts_.mda.usage(user, account.folder, coming) : Usage{};
        }
        case Account::Kind::domain:
            return domain(std::string(user.domain()), account.limits, coming);
    }
    return mailbox(user, coming);
}

Result<Usage> Accounts::domain(const std::string& name, const Limits& limits, const Usage& coming) {
    const auto sum_up = [&] { return sum(name); };
    if (counters_) return counters_->usage(account_of_domain(name), sum_up);
    return domain_books_.usage(name, limits, coming, sum_up);
}

Result<std::optional<Usage>> Accounts::peek(const User& user) {
    if (counters_) return counters_->peek(user.name());
    auto usage = parts_.mda.usage(user, {}, {});
    if (!usage) return std::move(usage).error();
    return std::optional(*usage);
}

Result<std::optional<Usage>> Accounts::peek_domain(const std::string& name) {
    return counters_ ? counters_->peek(account_of_domain(name)) : domain_books_.peek(name);
}

Result<Usage> Accounts::mailbox(const User& user, const Usage& coming) {
    auto ready = parts_.mda.check(user);
    if (!ready) return std::move(ready).error();
    if (!ready->complete()) return Usage{};
    if (counters_) return counters_->usage(user.name(), [&] { return parts_.mda.recount(user, {}); });
    return parts_.mda.usage(user, {}, coming);
}

Result<Usage> Accounts::recount(const User& user, const Folder& account) {
    const auto look = [&] { return parts_.mda.recount(user, account); };
    if (!account.empty()) return look();
    auto counted = counters_ ? counters_->recount(user.name(), look) : look();
    if (counted) share(user, *counted);
    return counted;
}

Result<std::vector<std::string>> Accounts::doubts() const {
    return counters_ ? counters_->doubts() : std::vector<std::string>();
}

Result<bool> Accounts::settle_doubt(const std::string& name, const User* user) {
    auto asked = counters_->peek(name);
    if (!asked) return std::move(asked).error();
    Result<void> done;
    if (user != nullptr) {
        auto ready = parts_.mda.check(*user);
        if (!ready)
            done = std::move(ready).error();
        else if (!ready->complete())
            done = counters_->remove(name);
        else
            done = counters_->settle(name, [&] { return parts_.mda.recount(*user, {}); });
    } else {
        done = name.starts_with('@') ? counters_->settle(name, [&] { return sum(name.substr(1)); })
                                     : counters_->remove(name);
    }
    if (!done) log(LogLevel::warning, name + " cannot be counted anew now: " + done.error().text());
    return static_cast<bool>(done);
}

void Accounts::settle(const User& user) {
    if (!unified_ && !(counters_ && counters_->doubted(user.name()))) return;
    auto held = mailbox(user, {});
    if (held) {
        share(user, *held);
    } else {
        log(LogLevel::debug, user.name() + ": " + held.error().text());
    }
}

// Tells other services what the mail holds.
void Accounts::share(const User& user, const Usage& held) {
    if (!unified_ || !user.settings().flag("quota.unified")) return;
    const std::string name(parts_.config.text("quota.unified.name"));
    if (auto done = unified_->report(user.name(), name, held.storage, held.messages); !done)
        log(LogLevel::warning, user.name() + ": other services see the mail's usage later: " + done.error().text());
}

// What one user holds of what counts in the domain.
Result<Usage> Accounts::holding(const User& user) {
    auto total = mailbox(user, {});
    if (!total) return total;
    const FolderRules rules = folder_rules(user.settings());
    for (const FolderRule& rule : rules.all()) {
        if (rule.counted != FolderRule::Counted::apart) continue;
        auto folder = usage(user, {Account::Kind::folder, {}, rule.folder, {}, {}}, {});
        if (!folder) return folder;
        *total = *total + *folder;
    }
    return total;
}

// A user whose record cannot be read has no usage that could be known, and its mail is not delivered; one whose mailbox
// cannot be read now ends the sum.
Result<Usage> Accounts::sum(const std::string& domain) {
    Usage total;
    std::optional<Error> failed;
    auto listed = parts_.each_user(domain, [&](std::string_view name, Result<UserRecord> record) {
        auto user = record ? User::make(parts_.config, *std::move(record)) : Result<User>(std::move(record).error());
        if (!user) {
            log(LogLevel::warning,
                "domain " + domain + ": summed without user " + std::string(name) + ": " + user.error().text());
            return true;
        }
        auto used = holding(*user);
        if (used) {
            total = total + *used;
        } else {
            failed = std::move(used).error();
        }
        return !failed;
    });
    if (!listed) return std::move(listed).error();
    if (failed) return *std::move(failed);
    return total;
}

Result<Usage> Accounts::recount_domain(const std::string& domain) {
    const auto sum_up = [&] { return sum(domain); };
    if (counters_) return counters_->recount(account_of_domain(domain), sum_up);
    return domain_books_.recount(domain, sum_up);
}

Result<Accounts::Admission> Accounts::admit(const User& user, const Folder& folder, std::uint64_t stored,
                                            std::uint64_t size, Room* room) {
    Limits alone;
    alone.message = user.settings().size("quota.message");
    if (const Outcome outcome = roost::admit({}, alone, stored, size); outcome != Outcome::delivered)
        return Admission{outcome, too_large_text(alone, size)};
    std::vector<Reservations::Turn> turns;
    for (const Account& account : charged(user, folder)) {
        const Reservations::Turn& turn = turns.emplace_back(parts_.reservations.turn(account.name));
        const Usage ahead = turn.coming() + account.elsewhere;
        Usage used;
        Outcome outcome = Outcome::delivered;
        // Before anybody is refused, the books have to be sure. Beyond the mailbox's limits, in a folder's extra room,
        // they would look at the store for each message otherwise.
        for (const Usage& coming : {Usage{}, ahead + Usage{stored, 1}}) {
            auto books = usage(user, account, coming);
            if (!books) return std::move(books).error();
            used = ahead + *books;
            outcome = roost::admit(used, account.limits, stored, size);
            if (outcome == Outcome::delivered) break;
        }
        if (outcome != Outcome::delivered) return Admission{outcome, full_text(account, used)};
    }
    if (room != nullptr)
        for (Reservations::Turn& turn : turns) room->push_back(turn.reserve({stored, 1}));
    return Admission{};
}

Result<Receipt> Accounts::publish(const User& user, Room& room, Pending& pending) {
    std::vector<Reservations::Turn> turns;
    for (const Reservations::Reservation& reservation : room) turns.push_back(reservation.turn());
    const std::string domain(user.domain());
    std::vector<std::string> names;  // the domain first
    if (counters_ && !domain.empty()) names.push_back(account_of_domain(domain));
    if (counters_) names.push_back(user.name());
    auto counters_turn = counters_ ? std::optional(counters_->begin(names)) : std::nullopt;
    std::optional<DomainBooks::Turn> domain_turn;
    if (!counters_ && !domain.empty() && needs_usage(domain_limits(user.settings()))) {
        auto begun = domain_books_.begin(domain);
        if (!begun) return std::move(begun).error();
        domain_turn.emplace(*std::move(begun));
    }
    auto receipt = pending.publish();
    if (receipt) {
        const auto counted = folder_rules(user.settings()).counted(receipt->folder);
        if (counted != FolderRule::Counted::nowhere) {
            if (counters_turn) {
                if (counted == FolderRule::Counted::apart) names.pop_back();  // the user's
                if (!names.empty()) counters_turn->add(names, {receipt->stored, 1});
            } else if (domain_turn) {
                domain_turn->enter(receipt->stored);
            } else if (!domain.empty()) {
                if (auto gone = domain_books_.forget(domain); !gone) log(LogLevel::warning, gone.error().text());
            }
        }
    }
    for (std::size_t i = 0; i < room.size(); ++i) room[i].counted(turns[i]);
    room.clear();
    return receipt;
}

Result<void> Accounts::report(const User& user, const std::string& service, std::optional<std::uint64_t> storage,
                              std::optional<std::uint64_t> messages) {
    if (!unified_)
        return config_error("no service can report usage", "quota.unified.dict is empty",
                            "set it to the URI of the dict that the services share");
    return unified_->report(user.name(), service, storage, messages);
}

// The books of a domain say too much now, until they are summed next.
void Accounts::withdrawn(const User& user) {
    if (!counters_) return;
    counters_->doubt(user.name());
    if (!user.domain().empty()) counters_->doubt(account_of_domain(user.domain()));
}

}  // namespace roost
