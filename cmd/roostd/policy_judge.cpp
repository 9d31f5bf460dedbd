#include "policy_judge.h"

#include <algorithm>

#include "base/log.h"

namespace roost {
namespace {

policy::Answer answer_of(Verdict verdict) { return {verdict.outcome, std::move(verdict.text)}; }

// What the clone says of the user's mailbox. The domain's limits are for the machine that stores the mail.
policy::Answer judge_by_clone(Instance& instance, const User& user, std::uint64_t size) {
    Limits limits = limits_of(user.settings());
    Usage used;
    if (needs_usage(limits)) {
        Clone& clone = *instance.clone();
        auto read = clone.read(user.name(), Deadline::in(clone.patience()));
        if (read && *read) {
            used = **read;
        } else {
            // Not known, so nobody is refused for it.
            limits.storage.reset();
            limits.messages.reset();
        }
        if (!read) log(LogLevel::warning, "policy: " + user.name() + " is let through: " + read.error().text());
    }
    const Outcome outcome = admit(used, limits, std::max<std::uint64_t>(size, 1), size);
    return {outcome, outcome == Outcome::message_too_large ? "the message is larger than allowed"
                                                           : "the mailbox has no room for it"};
}

}  // namespace

policy::Answer PolicyJudge::judge(std::string_view recipient, std::uint64_t size) {
    const auto setup = service_.setup();
    MailStore& store = setup->instance->store();
    Recipient whom;
    whom.address = recipient;
    Routing routing = store.route(whom);
    if (routing.route && setup->policy.from_clone) return judge_by_clone(*setup->instance, routing.route->user, size);
    if (routing.route) return answer_of(store.judge(*routing.route, size));
    const Outcome outcome = routing.verdict.outcome;
    const bool unknown = outcome == Outcome::no_such_user || outcome == Outcome::user_disabled;
    if (unknown && !setup->policy.refuse_unknown) return {Outcome::delivered, {}};
    return answer_of(std::move(routing.verdict));
}

void PolicyJudge::refused(const policy::Request& request, const policy::Answer& answer) {
    std::string line = "policy";
    const auto add = [&](std::string_view name, std::string_view value) {
        if (value.empty()) return;
        line += ' ';
        line += name;
        line += '=';
        line += value;
    };
    add("state", request.state);
    add("peer", peer_);
    add("instance", request.instance);
    add("queue-id", request.queue_id);
    add("client", request.client_address);
    add("from", "<" + request.sender + ">");
    add("to", "<" + request.recipient + ">");
    add("verdict", row_of(answer.outcome).name);
    add("why", answer.text);
    log(LogLevel::warning, line);
}

}  // namespace roost
