// One peer, from greeting to goodbye: its connection, its session and its transactions.
#pragma once

#include "lmtp/session.h"
#include "net/connection.h"
#include "service.h"
#include "transaction.h"

#include <span>
#include <string>
#include <string_view>

namespace roost {

// One thread at a time.
class Conversation {
public:
    Conversation(Service& service, net::Connection connection);

    // Sends the greeting, which never waits: a new connection has room for it. False: the peer is gone.
    bool greet();

    enum class Next { wait, end };
    // Takes in what is there, reading into `buffer`, and answers it; goes on as long as more comes within `patience`.
    // `wait`: come back when there is more to read, or at the deadline. `end`: all is said.
    Next go_on(std::span<char> buffer, std::chrono::milliseconds patience);

    // By when the peer must have sent something.
    Deadline deadline() const;
    // Between transactions: the moment to part without loss.
    bool idle() const { return session_.idle(); }

    // Ends the conversation, saying why.
    void time_out();
    void shut_down();

    net::Connection& connection() { return connection_; }

private:
    bool take(std::string_view bytes);
    bool start_tls();
    void say_last(std::string_view reply);

    Service& service_;
    net::Connection connection_;
    std::shared_ptr<net::TlsContext> tls_;
    std::chrono::milliseconds idle_timeout_;
    std::chrono::milliseconds data_timeout_;
    Transaction transaction_;
    lmtp::Session session_;
    Deadline quiet_;    // when the peer has been silent for too long
    Deadline message_;  // when the message at hand has taken too long
    bool receiving_ = false;
};

}  // namespace roost
