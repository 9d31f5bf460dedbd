// A Postfix that asks before it takes a message.
#pragma once

#include "conversation.h"
#include "policy/session.h"
#include "policy_judge.h"

#include <string_view>

namespace roost {

class PolicyConversation final : public Conversation {
public:
    PolicyConversation(Service& service, net::Connection connection);

    Deadline deadline() const override { return quiet_; }
    bool idle() const override { return session_.idle(); }
    // The protocol has no word for either: Postfix connects again.
    void time_out() override { connection_.finish(); }
    void shut_down() override { connection_.finish(); }

private:
    bool take(std::string_view bytes) override;

    std::chrono::milliseconds idle_timeout_;
    PolicyJudge judge_;
    policy::Session session_;
    Deadline quiet_;  // when the peer has asked nothing for too long
};

}  // namespace roost
