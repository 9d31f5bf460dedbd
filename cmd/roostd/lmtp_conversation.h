// An MTA that brings mail by LMTP: its session and its transactions.
#pragma once

#include "conversation.h"
#include "lmtp/session.h"
#include "transaction.h"

#include <string_view>

namespace roost {

class LmtpConversation final : public Conversation {
public:
    LmtpConversation(Service& service, net::Connection connection);

    bool greet() override;
    Deadline deadline() const override;
    bool idle() const override { return session_.idle(); }
    void time_out() override;
    void shut_down() override;

private:
    bool take(std::string_view bytes) override;
    void rest() override { transaction_.rest(); }
    void lost() override;
    bool start_tls();
    void say_last(std::string_view reply);

    Metrics::Session counted_;
    Transaction transaction_;
    lmtp::Session session_;
    Deadline quiet_;    // when the peer has been silent for too long
    Deadline message_;  // when the message at hand has taken too long
    bool receiving_ = false;
};

}  // namespace roost
