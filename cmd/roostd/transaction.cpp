#include "transaction.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/text.h"
#include "store/verdict_log.h"

namespace roost {
namespace {

using lmtp::Answer;

Answer answer_of(const Verdict& verdict) {
    return {verdict.outcome, verdict.outcome == Outcome::delivered ? std::string() : verdict.text, 0, {}};
}

// What the redelivery memory's keys begin with. Empty if it cannot be told.
std::string route_of(const Envelope& envelope, const Recipient& recipient) {
    // Neither can have a NUL.
    Digest out;
    out.add(envelope.sender.value_or("") + '\0');
    out.add(recipient.address + '\0');
    out.add(recipient.original.value_or(""));  // it may name the folder
    return out.finish();
}

}  // namespace

// One recipient's copy on its way.
struct Transaction::Copy {
    Redelivery::Key key;  // empty: not remembered
    Redelivery::Claim claim = Redelivery::Claim::untracked;
    std::optional<Verdict> verdict;
};

// Gives back what was claimed, however the delivery ends.
class Transaction::Settling {
public:
    Settling(Transaction& owner, const std::vector<Copy>& copies) : owner_(owner), copies_(copies) {
        owner_.unconfirmed_.reserve(owner_.unconfirmed_.size() + copies.size());
    }
    Settling(const Settling&) = delete;
    Settling& operator=(const Settling&) = delete;
    ~Settling() {
        for (const Copy& copy : copies_) {
            if (copy.claim != Redelivery::Claim::fresh) continue;
            const bool delivered = copy.verdict && copy.verdict->outcome == Outcome::delivered;
            owner_.service_.redelivery().settle(copy.key, delivered);
            if (delivered) owner_.unconfirmed_.push_back(copy.key);
        }
    }

private:
    Transaction& owner_;
    const std::vector<Copy>& copies_;
};

Transaction::Transaction(Service& service, const net::Connection& connection)
    : service_(service), connection_(connection), source_(connection) {}

Transaction::~Transaction() {
    for (const Redelivery::Key& key : unconfirmed_) service_.redelivery().lost(key, source_);
}

void Transaction::confirmed() {
    for (const Redelivery::Key& key : unconfirmed_) service_.redelivery().confirmed(key, source_);
    unconfirmed_ = std::vector<Redelivery::Key>();
}

void Transaction::rest() {
    for (const Routing& routing : routings_) routing.route->user.kept() = {};
}

// What one recipient is told at RCPT; a refusal is logged, since nothing else will come of it.
Answer Transaction::recipient(const Recipient& recipient, std::uint64_t size) {
    if (!setup_) setup_ = service_.setup();
    MailStore& store = setup_->instance->store();
    Routing routing = store.route(recipient);
    Verdict verdict = std::move(routing.verdict);
    if (routing.route) {
        const Spent spent = verdict.spent;
        verdict = store.judge(*routing.route, size);
        verdict.spent.lookup += spent.lookup;
        verdict.user = routing.route->user.name();
    }
    const bool full = verdict.outcome == Outcome::over_quota || verdict.outcome == Outcome::over_quota_deferred;
    // It may be the message that made it full: that shows when the message has come.
    const bool again = full && may_come_again(recipient);
    if (routing.route && (verdict.outcome == Outcome::delivered || again)) {
        const std::string& user = verdict.user;
        const bool counted =
            std::any_of(slots_.begin(), slots_.end(), [&](const UserSlots::Slot& slot) { return slot.user() == user; });
        UserSlots::Slot slot;
        if (!counted) slot = service_.slots().take(user, setup_->lmtp.user_concurrency);
        if (counted || slot) {
            if (slot) slots_.push_back(std::move(slot));
            routing.verdict.spent = verdict.spent;
            routings_.push_back(std::move(routing));
            return {Outcome::delivered, {}, 0, {}};
        }
        verdict.outcome = Outcome::trouble;
        verdict.text = "too many deliveries at once";
    }
    report(*session_->envelope(), recipient, nullptr, verdict);
    return answer_of(verdict);
}

bool Transaction::may_come_again(const Recipient& recipient) const {
    const std::string route = route_of(*session_->envelope(), recipient);
    return !route.empty() && service_.redelivery().is_expected(route);
}

Result<void> Transaction::data(std::string_view bytes) {
    if (!incoming_) {
        Instance& instance = *setup_->instance;
        incoming_.emplace(
            Incoming{MessageBuilder(instance.files(), std::string(instance.config().text("store.state")) + "/spool",
                                    MessageBuilder::FromLine::keep),
                     Digest()});
    }
    incoming_->digest.add(bytes);
    return incoming_->builder.append(bytes);
}

std::vector<Answer> Transaction::deliver(const Envelope& envelope) {
    const auto begin = std::chrono::steady_clock::now();
    if (!incoming_) (void)data({});  // an empty message
    const Message message = std::move(incoming_->builder).finish();
    const std::string digest = incoming_->digest.finish();
    // Below the five minutes that clients wait at least (RFC 5321 section 4.5.3.2.6: ten), by the default.
    const auto span = setup_->instance->config().duration("delivery.deadline");
    const Deadline deadline = Deadline::in(span - span / 10);

    std::vector<Copy> copies(envelope.recipients.size());
    for (std::size_t i = 0; i < copies.size() && !digest.empty(); ++i) {
        if (const std::string route = route_of(envelope, envelope.recipients[i]); !route.empty())
            copies[i].key = route + digest;
    }
    const Settling settling(*this, copies);
    claim(copies, deadline);

    Envelope rest;
    rest.sender = envelope.sender;
    rest.session = envelope.session;
    std::vector<Routing> routings;
    for (std::size_t i = 0; i < copies.size(); ++i) {
        if (copies[i].verdict) {
            copies[i].verdict->user = routings_[i].route->user.name();
            continue;
        }
        rest.recipients.push_back(envelope.recipients[i]);
        routings.push_back(std::move(routings_[i]));
    }
    std::vector<Verdict> verdicts;
    if (!rest.recipients.empty())
        verdicts =
            setup_->instance->store().deliver(rest, std::move(routings), message, deadline, MailStore::Together::no);
    service_.after().delivered(verdicts);
    auto next = verdicts.begin();
    for (Copy& copy : copies)
        if (!copy.verdict) copy.verdict = std::move(*next++);

    std::vector<Answer> answers;
    for (std::size_t i = 0; i < copies.size(); ++i) {
        report(envelope, envelope.recipients[i], &message, *copies[i].verdict);
        answers.push_back(answer_of(*copies[i].verdict));
    }
    service_.metrics().message(std::chrono::steady_clock::now() - begin);
    return answers;
}

void Transaction::failed(const Envelope& envelope, const Answer& answer) {
    Verdict verdict;
    verdict.outcome = answer.outcome;
    verdict.text = answer.text;
    for (std::size_t i = 0; i < envelope.recipients.size(); ++i) {
        verdict.user = routings_[i].route->user.name();
        report(envelope, envelope.recipients[i], nullptr, verdict);
    }
}

// Leaves a verdict with each copy that need not be stored, or cannot be now.
void Transaction::claim(std::vector<Copy>& copies, Deadline deadline) {
    std::vector<Copy*> order;
    for (Copy& copy : copies)
        if (!copy.key.empty()) order.push_back(&copy);
    std::stable_sort(order.begin(), order.end(), [](const Copy* a, const Copy* b) { return a->key < b->key; });
    const Copy* before = nullptr;
    for (Copy* copy : order) {
        // A recipient given twice is the store's business; each is answered alike.
        const bool again = before != nullptr && before->key == copy->key;
        if (again) {
            if (before->verdict) copy->verdict = before->verdict;
            continue;
        }
        before = copy;
        copy->claim = service_.redelivery().claim(copy->key, source_, deadline);
        if (copy->claim == Redelivery::Claim::repeated) {
            copy->verdict.emplace();
            copy->verdict->outcome = Outcome::delivered;
            copy->verdict->text = "delivered before";
            service_.metrics().redelivery();
            unconfirmed_.push_back(copy->key);
        } else if (copy->claim == Redelivery::Claim::busy) {
            copy->verdict.emplace();
            copy->verdict->text = "the same message is still being delivered from another connection";
        }
    }
}

void Transaction::reset() {
    incoming_.reset();
    routings_ = std::vector<Routing>();
    slots_ = std::vector<UserSlots::Slot>();
    setup_.reset();
}

std::optional<lmtp::Terms> Transaction::new_terms() {
    const auto setup = service_.setup();
    if (told_.lock() == setup) return std::nullopt;
    told_ = setup;
    tls_ = setup->lmtp.tls;
    idle_timeout_ = setup->lmtp.idle_timeout;
    data_timeout_ = setup->lmtp.data_timeout;
    return service_.terms(connection_, *setup);
}

// Logs and counts a recipient's verdict.
void Transaction::report(const Envelope& envelope, const Recipient& recipient, const Message* message,
                         const Verdict& verdict) const {
    service_.metrics().verdict(verdict);
    const OutcomeRow& row = row_of(verdict.outcome);
    DeliveryContext context;
    context.code = std::to_string(row.reply_code) + " " + std::string(row.enhanced);
    context.peer = connection_.peer().text;
    const lmtp::Origin& origin = session_->origin();
    context.client = origin.name;
    if (!origin.address.empty()) context.client += "[" + origin.address + "]";
    context.helo = origin.helo;
    context.queue_id = origin.queue_id;
    log_verdict(envelope, recipient, message, verdict, context);
}

}  // namespace roost
