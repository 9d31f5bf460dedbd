#include "store/accounts.h"

#include <optional>
#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace roost {
namespace {

std::string too_large_text(const Limits& limits, std::uint64_t size) {
    return "the message has " + std::to_string(size) + " bytes, the limit is " + std::to_string(*limits.message);
}

std::string full_text(const Account& account, const Usage& used) {
    const Limits& limits = account.limits;
    std::string text = account.kind == Account::Kind::domain
                           ? "the domain " + printable(std::string_view(account.name).substr(1))
                           : std::string("the mailbox");
    text += " is full:";
    if (limits.storage)
        text += " " + std::to_string(used.storage) + " of " + std::to_string(*limits.storage) + " bytes";
    if (limits.storage && limits.messages) text += ",";
    if (limits.messages)
        text += " " + std::to_string(used.messages) + " of " + std::to_string(*limits.messages) + " messages";
    return text;
}

void add(Usage& sum, const Usage& more) {
    sum.storage += more.storage;
    sum.messages += more.messages;
}

}  // namespace

Accounts::Accounts(Parts parts)
    : parts_(std::move(parts)), domain_books_(parts_.files, std::string(parts_.config.text("store.state"))) {}

Limits Accounts::domain_limits(const Cascade& settings) {
    Limits out;
    out.storage = settings.size("domain-quota.storage");
    out.messages = settings.count("domain-quota.messages");
    out.defer_when_full = settings.text("quota.when-full") == "defer";
    return out;
}

std::vector<Account> Accounts::charged(const User& user, const Folder& /*folder*/) const {
    std::vector<Account> out;
    const auto charge = [&](Account account) {
        if (needs_usage(account.limits)) out.push_back(std::move(account));
    };
    charge({Account::Kind::mailbox, user.name(), limits_of(user.settings())});
    if (!user.domain().empty())
        charge({Account::Kind::domain, "@" + std::string(user.domain()), domain_limits(user.settings())});
    return out;
}

Result<Usage> Accounts::usage(const User& user, const Account& account, const Usage& coming) {
    if (account.kind == Account::Kind::mailbox) return holding(user, coming);
    const std::string domain(user.domain());
    return domain_books_.usage(domain, account.limits, coming, [&] { return sum(domain); });
}

Result<Usage> Accounts::holding(const User& user, const Usage& coming) {
    auto ready = parts_.mda.check(user);
    if (!ready) return std::move(ready).error();
    if (!ready->complete()) return Usage{};
    return parts_.mda.usage(user, {}, coming);
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
        auto used = holding(*user, {});
        if (used) {
            add(total, *used);
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
    return domain_books_.recount(domain, [&] { return sum(domain); });
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
        Usage used = turn.coming();
        auto books = usage(user, account, {used.storage + stored, used.messages + 1});
        if (!books) return std::move(books).error();
        add(used, *books);
        const Outcome outcome = roost::admit(used, account.limits, stored, size);
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
    std::optional<DomainBooks::Turn> domain_turn;
    if (!domain.empty() && needs_usage(domain_limits(user.settings()))) {
        auto begun = domain_books_.begin(domain);
        if (!begun) return std::move(begun).error();
        domain_turn.emplace(*std::move(begun));
    }
    auto receipt = pending.publish();
    if (receipt && domain_turn) {
        domain_turn->enter(receipt->stored);
    } else if (receipt && !domain.empty()) {
        if (auto gone = domain_books_.forget(domain); !gone) log(LogLevel::warning, gone.error().text());
    }
    for (std::size_t i = 0; i < room.size(); ++i) room[i].counted(turns[i]);
    room.clear();
    return receipt;
}

}  // namespace roost
