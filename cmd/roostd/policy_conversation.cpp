#include "policy_conversation.h"

#include "base/log.h"

namespace roost {

PolicyConversation::PolicyConversation(Service& service, net::Connection connection)
    : Conversation(service, std::move(connection)),
      idle_timeout_(service.setup()->policy.idle_timeout),
      judge_(service, connection_.peer()),
      session_(connection_.peer().text, judge_, service.recipients()),
      quiet_(Deadline::in(idle_timeout_)) {}

bool PolicyConversation::take(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        bytes.remove_prefix(session_.feed(bytes, out));
        if (!session_.fault().empty()) {
            log(LogLevel::warning, "policy peer=" + connection_.peer().text + ": not Postfix's policy protocol: " +
                                       session_.fault() + ": the connection is closed");
            connection_.finish();
            return false;
        }
        if (out.empty()) continue;
        if (!connection_.write(out, Deadline::in(idle_timeout_))) return false;
        out.clear();
        quiet_ = Deadline::in(idle_timeout_);
    }
    return true;
}

}  // namespace roost
