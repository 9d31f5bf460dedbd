// One peer, from first word to last, whatever is spoken.
#pragma once

#include "net/connection.h"
#include "service.h"

#include <chrono>
#include <span>
#include <string_view>

namespace roost {

// One thread at a time.
class Conversation {
public:
    Conversation(Service& service, net::Connection connection)
        : service_(service), connection_(std::move(connection)) {}
    Conversation(const Conversation&) = delete;
    Conversation& operator=(const Conversation&) = delete;
    virtual ~Conversation() = default;

    // Sends what is to be said first, which never waits: a new connection has room for it. False: the peer is gone.
    virtual bool greet() { return true; }

    enum class Next { wait, end };
    // Takes in what is there, reading into `buffer`, and answers it; goes on as long as more comes within `patience`.
    // `wait`: come back when there is more to read, or at the deadline. `end`: all is said.
    Next go_on(std::span<char> buffer, std::chrono::milliseconds patience);

    // By when the peer must have sent something.
    virtual Deadline deadline() const = 0;
    // Between requests: the moment to part without loss.
    virtual bool idle() const = 0;

    // Ends the conversation, saying why.
    virtual void time_out() = 0;
    virtual void shut_down() = 0;

    net::Connection& connection() { return connection_; }

protected:
    // Takes in all of `bytes` and answers. False: the conversation is over.
    virtual bool take(std::string_view bytes) = 0;
    // The peer is silent for now: nothing is to be held that others may want.
    virtual void rest() {}
    // The peer ended it.
    virtual void lost() {}

    Service& service_;
    net::Connection connection_;
};

}  // namespace roost
