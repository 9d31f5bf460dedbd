// The policy service. Input: a line of piece lengths (a letter each), then requests. However they are cut into pieces,
// what comes of them is the same.
#include "policy/session.h"

#include "base/text.h"
#include "check.h"

#include <algorithm>
#include <string>
#include <vector>

using namespace roost;
using namespace roost::policy;

namespace {

class CheckingHost : public Host {
public:
    std::vector<std::string> judged;
    std::size_t refusals = 0;

    Answer judge(std::string_view recipient, std::uint64_t size) override {
        check(recipient.size() <= kMaxLine, "a recipient is bounded");
        judged.push_back(std::string(recipient) + " " + std::to_string(size));
        if (recipient.starts_with('u')) return {Outcome::no_such_user, std::string(recipient)};
        if (recipient.starts_with('f')) return {Outcome::over_quota, std::string(recipient)};
        if (recipient.starts_with('l')) return {Outcome::over_quota_deferred, std::string(recipient)};
        if (recipient.starts_with('b')) return {Outcome::trouble, std::string(recipient)};
        if (size > 1000) return {Outcome::message_too_large, std::string(recipient)};
        return {Outcome::delivered, {}};
    }
    void refused(const Request& request, const Answer& answer) override {
        check(request.state == "RCPT" || request.state == "END-OF-MESSAGE", "nothing else is refused");
        check(answer.outcome != Outcome::delivered, "a refusal is one");
        ++refusals;
    }
};

struct Ending {
    std::string out;
    std::string fault;
    std::vector<std::string> judged;
    bool operator==(const Ending&) const = default;
};

Ending converse(std::string_view in, std::string_view lengths) {
    CheckingHost host;
    Recipients recipients(16, std::chrono::hours(1));
    Session session("c", host, recipients);
    std::string out;
    for (std::size_t turn = 0; !in.empty() && session.fault().empty(); ++turn) {
        const std::size_t length =
            lengths.empty() ? in.size() : 1 + static_cast<unsigned char>(lengths[turn % lengths.size()]) % 64;
        const std::size_t before = out.size();
        const std::size_t refused = host.refusals;
        const std::size_t taken = session.feed(in.substr(0, length), out);
        check(taken > 0 && taken <= std::min(length, in.size()), "feed takes something");
        check(recipients.size() <= 16, "the memory is bounded");
        const std::string_view answer = std::string_view(out).substr(before);
        if (!answer.empty()) {
            check(answer.starts_with("action=") && answer.ends_with("\n\n") && answer.size() < 300, "an answer is one");
            const std::string_view action = answer.substr(7, answer.size() - 9);
            check(!action.empty() && std::none_of(action.begin(), action.end(), is_control), "an action is one line");
            check((action == "DUNNO") == (host.refusals == refused), "all but DUNNO is a refusal");
            check(action == "DUNNO" || action[0] == '4' || action[0] == '5' || action.starts_with("DEFER_IF_PERMIT "),
                  "it is never OK");
            check(session.idle() && in[taken - 1] == '\n', "an answer comes behind a request");
        }
        in.remove_prefix(taken);
    }
    return {out, session.fault(), host.judged};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest = text_of(data, size);
    const std::string_view lengths = take_until(rest, '\n');
    const Ending whole = converse(rest, {});
    const Ending cut = converse(rest, lengths.empty() ? std::string_view("\x40") : lengths);
    check(whole == cut, "nothing depends on the pieces");
    return 0;
}
