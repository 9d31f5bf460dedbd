#include "policy_judge.h"

#include "base/log.h"

namespace roost {
namespace {

policy::Answer answer_of(Verdict verdict) { return {verdict.outcome, std::move(verdict.text)}; }

}  // namespace

policy::Answer PolicyJudge::judge(std::string_view recipient, std::uint64_t size) {
    const auto setup = service_.setup();
    MailStore& store = setup->instance->store();
    Recipient whom;
    whom.address = recipient;
    Routing routing = store.route(whom);
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
