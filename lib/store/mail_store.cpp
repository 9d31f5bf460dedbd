#include "store/mail_store.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "mail/address.h"
#include "mail/header.h"

namespace roost {
namespace {

Verdict refused(Outcome outcome, std::string text, std::string user = {}) {
    Verdict verdict;
    verdict.outcome = outcome;
    verdict.text = std::move(text);
    verdict.user = std::move(user);
    return verdict;
}

Verdict failed(const Error& error, std::string user = {}) {
    return refused(error.outcome, error.text(), std::move(user));
}

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
    return name.data();
}

using Clock = std::chrono::steady_clock;

// Adds the time since it was made to a Spent's part.
class Stopwatch {
public:
    explicit Stopwatch(std::chrono::microseconds& part) : part_(part) {}
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;
    ~Stopwatch() { part_ += std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin_); }

private:
    std::chrono::microseconds& part_;
    Clock::time_point begin_ = Clock::now();
};

// One recipient on the way through a delivery.
struct Work {
    const Recipient* recipient = nullptr;
    std::optional<User> user;
    Delivery delivery;
    Accounts::Room room;
    std::unique_ptr<Pending> pending;
    std::optional<std::size_t> same_as;  // index of the recipient that this one repeats
    Verdict verdict;

    bool alive() const { return user.has_value() && verdict.outcome == Outcome::delivered; }
    void fail(const Error& error) { end(failed(error)); }
    // This recipient's delivery ends here.
    void end(Verdict why) {
        why.user = std::move(verdict.user);
        why.created = verdict.created;
        why.watched = verdict.watched;
        why.creation_failed = verdict.creation_failed;
        why.spent = verdict.spent;
        verdict = std::move(why);
        pending.reset();
    }
};

// One message to some recipients, step by step: see DESIGN's life of a message. Each step leaves a verdict with the
// recipients that it ends, and goes on with the others.
class DeliveryRun {
public:
    DeliveryRun(const MailStore::Parts& parts, const Envelope& envelope, const Message& message, Deadline deadline,
                MailStore::Together together, std::function<void()> publishing)
        : parts_(parts),
          envelope_(envelope),
          message_(message),
          deadline_(deadline),
          together_(together == MailStore::Together::yes),
          publishing_(std::move(publishing)) {}

    std::vector<Verdict> run(std::vector<Routing> routings) {
        work_.reserve(routings.size());
        for (std::size_t i = 0; i < routings.size(); ++i) find(envelope_.recipients[i], std::move(routings[i]));
        complete();
        admit();
        prepare();
        if (nobody_shall_get_it()) {
            // Nothing is visible yet; what was prepared goes.
            for (Work& work : work_)
                if (work.alive()) work.end(held_up());
        } else {
            commit();
        }
        std::vector<Verdict> verdicts;
        for (Work& work : work_) {
            verdicts.push_back(work.same_as ? work_[*work.same_as].verdict : work.verdict);
            verdicts.back().again = work.same_as.has_value();
        }
        return verdicts;
    }

private:
    void find(const Recipient& recipient, Routing routing) {
        Work work;
        work.recipient = &recipient;
        work.verdict = std::move(routing.verdict);
        if (!routing.route) {
            work_.push_back(std::move(work));
            return;
        }
        MailStore::Target target = MailStore::target(recipient, *routing.route);
        if (!target.warning.empty()) log(LogLevel::warning, target.warning);
        work.delivery.folder = std::move(target.folder);
        work.user = std::move(routing.route->user);
        work.delivery.create_folder = work.user->settings().flag("delivery.create-folders");
        work.verdict.outcome = Outcome::delivered;  // unless a later step says otherwise
        work.verdict.user = work.user->name();
        work.verdict.watched = parts_.accounts.settles() || !work.user->settings().text("quota.warning").empty() ||
                               !work.user->settings().text("domain-quota.warning").empty();
        work_.push_back(std::move(work));
        look_for_repeat(work_.size() - 1);
    }

    // A user is given a message once in each folder.
    void look_for_repeat(std::size_t at) {
        Work& work = work_[at];
        for (std::size_t i = 0; i < at && !work.same_as; ++i)
            if (work_[i].user && work_[i].user->name() == work.user->name() &&
                work_[i].delivery.folder == work.delivery.folder)
                work.same_as = i;
        if (work.same_as) work.user.reset();
    }

    // Where the message really goes, which says whose limits it meets.
    void settle_folder(Work& work) {
        if (work.delivery.folder.empty()) return;
        auto folder = parts_.mda.destination(*work.user, work.delivery.folder, work.delivery.create_folder);
        if (!folder) return work.fail(folder.error());
        if (*folder == work.delivery.folder) return;
        if (work.delivery.create_folder)
            log(LogLevel::warning, work.user->name() + ": the folder " + folder_name(work.delivery.folder) +
                                       " cannot be made: delivering to INBOX");
        work.delivery.folder = *std::move(folder);
    }

    void complete() {
        for (Work& work : work_) {
            if (!work.alive()) continue;
            const Stopwatch watch(work.verdict.spent.lookup);
            auto ready = parts_.mda.check(*work.user);
            if (!ready) {
                work.fail(ready.error());
            } else if (!ready->complete()) {
                auto created = parts_.creator.create(parts_.db, parts_.mda, *work.user, deadline_);
                if (created) {
                    work.user = *std::move(created);
                    work.verdict.created = true;
                } else {
                    work.verdict.creation_failed = true;
                    work.fail(created.error());
                }
            }
        }
    }

    void admit() {
        for (std::size_t at = 0; at < work_.size(); ++at) {
            Work& work = work_[at];
            if (!work.alive()) continue;
            const Stopwatch watch(work.verdict.spent.store);
            settle_folder(work);
            look_for_repeat(at);
            if (!work.alive()) continue;
            work.delivery.header = header_for(*work.recipient);
            const std::uint64_t stored = work.delivery.header.size() + message_.size();
            auto admission =
                parts_.accounts.admit(*work.user, work.delivery.folder, stored, message_.size(), &work.room);
            if (!admission) {
                work.fail(admission.error());
            } else if (admission->outcome != Outcome::delivered) {
                work.end(refused(admission->outcome, std::move(admission->text)));
            }
        }
    }

    void prepare() {
        const bool may_be_nameless = parts_.durability.lets_be_nameless(message_);
        for (Work& work : work_) {
            if (!work.alive()) continue;
            const Stopwatch watch(work.verdict.spent.store);
            bool alone = true;
            for (const Work& other : work_) {
                if (&other == &work || !other.alive() || other.delivery.header != work.delivery.header) continue;
                alone = false;
                if (other.pending) work.delivery.twin = other.pending.get();
            }
            // Its twins need a name to link to.
            work.delivery.may_be_nameless = may_be_nameless && alone;
            auto pending = parts_.mda.prepare(*work.user, work.delivery, message_);
            if (pending) {
                work.pending = *std::move(pending);
            } else {
                work.fail(pending.error());
            }
        }
    }

    // The recipients that are still on their way, and their prepared deliveries in the same order.
    struct Group {
        std::vector<Work*> works;
        std::vector<Pending*> pendings;
    };
    Group group() {
        Group out;
        for (Work& work : work_) {
            if (!work.alive() || !work.pending) continue;
            out.works.push_back(&work);
            out.pendings.push_back(work.pending.get());
        }
        return out;
    }

    bool nobody_shall_get_it() const {
        return together_ && std::any_of(work_.begin(), work_.end(),
                                        [](const Work& work) { return is_temporary(work.verdict.outcome); });
    }

    static Verdict held_up() {
        Verdict out = refused(Outcome::trouble, "not delivered, since another recipient's delivery failed for now");
        out.with_others = true;
        return out;
    }

    // Makes the group safe and visible. When a sync of the whole group fails, nobody knows what reached the disk: each
    // recipient is told to try again.
    void commit() {
        Group before = group();
        auto settled = settle(before, &Durability::before_publish);
        if (settled && publishing_) publishing_();
        for (Work* work : before.works) {
            if (settled) {
                publish(*work);
            } else {
                work->fail(settled.error());
            }
        }
        Group after = group();
        if (nobody_shall_get_it()) return take_back(after, held_up());
        settled = settle(after, &Durability::after_publish);
        if (!settled) take_back(after, failed(settled.error()));
    }

    // What is visible goes, so that the next try doubles nothing. What publish() itself has committed stays.
    void take_back(const Group& group, const Verdict& why) {
        for (Work* work : group.works) {
            if (work->pending->plan().after.empty()) continue;
            if (auto gone = work->pending->withdraw(); !gone) log(LogLevel::warning, gone.error().text());
            parts_.durability.forget(*work->pending);
            parts_.accounts.withdrawn(*work->user);
            work->end(why);
        }
    }

    using Settle = Result<void> (Durability::*)(std::span<Pending* const>);
    Result<void> settle(const Group& group, Settle how) {
        std::chrono::microseconds spent{0};
        Result<void> done;
        {
            const Stopwatch watch(spent);
            done = (parts_.durability.*how)(group.pendings);
        }
        for (Work* work : group.works) work->verdict.spent.sync += spent;
        return done;
    }

    void publish(Work& work) {
        const Stopwatch watch(work.verdict.spent.store);
        auto receipt = parts_.accounts.publish(*work.user, work.room, *work.pending);
        if (receipt) {
            work.verdict.receipt = *std::move(receipt);
        } else {
            parts_.durability.forget(*work.pending);
            work.fail(receipt.error());
        }
    }

    std::string header_for(const Recipient& recipient) {
        std::string header;
        const TraceInfo& trace = message_.trace();
        if (envelope_.sender && !trace.return_path && parts_.config.flag("delivery.return-path"))
            header += return_path_field(*envelope_.sender);
        if (!trace.delivered_to && parts_.config.flag("delivery.delivered-to"))
            header += delivered_to_field(recipient.delivered_to.value_or(recipient.address));
        if (parts_.config.flag("delivery.received")) {
            if (received_.empty())
                received_ = received_field(host_name(), envelope_.session, {}, std::chrono::system_clock::now());
            header += received_;
        }
        return header;
    }

    const MailStore::Parts& parts_;
    const Envelope& envelope_;
    const Message& message_;
    Deadline deadline_;
    const bool together_;
    const std::function<void()> publishing_;
    std::vector<Work> work_;
    std::string received_;  // one for all recipients, so that their copies can be equal
};

}  // namespace

std::vector<Verdict> MailStore::deliver(const Envelope& envelope, std::vector<Routing> routings, const Message& message,
                                        Deadline deadline, Together together, std::function<void()> publishing) {
    return DeliveryRun(parts_, envelope, message, deadline, together, std::move(publishing)).run(std::move(routings));
}

std::vector<Verdict> MailStore::deliver(const Envelope& envelope, const Message& message, Deadline deadline,
                                        Together together, std::function<void()> publishing) {
    std::vector<Routing> routings;
    routings.reserve(envelope.recipients.size());
    for (const Recipient& recipient : envelope.recipients) routings.push_back(route(recipient));
    return deliver(envelope, std::move(routings), message, deadline, together, std::move(publishing));
}

Result<Receipt> MailStore::put(const User& user, const Message& message) {
    Delivery delivery;
    delivery.header = return_path_field("");
    auto pending = parts_.mda.prepare(user, delivery, message);
    if (!pending) return std::move(pending).error();
    const std::array<Pending*, 1> group{pending->get()};
    if (auto settled = parts_.durability.before_publish(group); !settled) return std::move(settled).error();
    Accounts::Room nothing;
    auto receipt = parts_.accounts.publish(user, nothing, **pending);
    if (receipt) {
        auto settled = parts_.durability.after_publish(group);
        if (settled) return receipt;
        receipt = std::move(settled).error();
        if (auto gone = (*pending)->withdraw(); !gone) log(LogLevel::warning, gone.error().text());
    }
    parts_.durability.forget(**pending);
    return receipt;
}

Verdict MailStore::judge(const Route& route, std::uint64_t size) {
    const std::string& name = route.user.name();
    auto folder = destination(route, target({}, route).folder);
    if (!folder) return failed(folder.error(), name);
    auto admission = parts_.accounts.admit(route.user, *folder, std::max<std::uint64_t>(size, 1), size, nullptr);
    if (!admission) return failed(admission.error(), name);
    return refused(admission->outcome, std::move(admission->text), name);
}

Result<Folder> MailStore::destination(const Route& route, const Folder& wanted) {
    if (wanted.empty()) return wanted;
    return parts_.mda.destination(route.user, wanted, route.user.settings().flag("delivery.create-folders"));
}

Routing MailStore::route(const Recipient& recipient) {
    std::chrono::microseconds spent{0};
    Routing routing;
    {
        const Stopwatch watch(spent);
        routing = find_route(recipient);
    }
    routing.verdict.spent.lookup = spent;
    return routing;
}

Routing MailStore::find_route(const Recipient& recipient) {
    auto address = parse_address(recipient.address);
    // An address that cannot be is nobody's.
    if (!address) return {std::nullopt, refused(Outcome::no_such_user, address.error().text())};

    std::string detail = recipient.detail.value_or("");
    auto record = parts_.db.find(address->text());
    if (!record) return {std::nullopt, failed(record.error())};
    const Split split = split_detail(*address, parts_.config.text("delivery.detail-separators"));
    bool is_detailed = !detail.empty();  // the address itself
    if (!*record && split.base.local != address->local) {
        record = parts_.db.find(split.base.text());
        if (!record) return {std::nullopt, failed(record.error())};
        is_detailed = is_detailed || !split.detail.empty();
        if (detail.empty()) detail = split.detail;
    }
    const std::string shown = printable(recipient.address);
    if (!*record) return {std::nullopt, refused(Outcome::no_such_user, "no such user: " + shown)};

    auto user = User::make(parts_.config, **std::move(record));
    if (!user) return {std::nullopt, failed(user.error())};
    std::string name = user->name();
    if (!user->record().enabled)
        return {std::nullopt, refused(Outcome::user_disabled, "the user is disabled: " + shown, std::move(name))};
    if (detail.empty() && recipient.original) {
        // The tag that the sender wrote, before an alias took it away.
        if (auto original = parse_address(*recipient.original))
            detail = split_detail(*original, parts_.config.text("delivery.detail-separators")).detail;
    }
    if (!detail.empty() && user->settings().text("delivery.detail") == "ignore") {
        // Only a detail of the address itself makes it another address than the user's.
        if (is_detailed)
            return {std::nullopt, refused(Outcome::no_such_user, "no such user: " + shown, std::move(name))};
        detail.clear();
    }
    return {Route{*std::move(user), std::move(detail)}, {}};
}

MailStore::Target MailStore::target(const Recipient& recipient, const Route& route) {
    const bool by_name = recipient.folder && !recipient.folder->empty();
    std::string_view wanted;
    if (by_name) {
        wanted = *recipient.folder;
    } else if (route.user.settings().text("delivery.detail") == "folder") {
        wanted = route.detail;
    }
    auto folder = parse_folder(wanted);
    if (folder) return {*std::move(folder), {}};
    return {{}, route.user.name() + ": " + folder.error().text() + ": delivering to INBOX"};
}

}  // namespace roost
