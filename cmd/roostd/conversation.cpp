#include "conversation.h"

#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace roost {
namespace {

lmtp::Terms terms_for(Service& service, const net::Connection& connection) {
    return service.terms(connection.peer(), *service.setup());
}

}  // namespace

Conversation::Conversation(Service& service, net::Connection connection)
    : service_(service),
      connection_(std::move(connection)),
      tls_(service.setup()->lmtp.tls),
      idle_timeout_(service.setup()->lmtp.idle_timeout),
      data_timeout_(service.setup()->lmtp.data_timeout),
      transaction_(service, connection_),
      session_(terms_for(service, connection_), transaction_),
      quiet_(Deadline::in(idle_timeout_)),
      message_(quiet_) {
    transaction_.serve(session_);
}

bool Conversation::greet() {
    return connection_.write(session_.greeting(), Deadline::in(std::chrono::milliseconds(0)));
}

Deadline Conversation::deadline() const { return receiving_ ? quiet_.at_most(message_.remaining()) : quiet_; }

Conversation::Next Conversation::go_on(std::span<char> buffer, std::chrono::milliseconds patience) {
    using State = net::Connection::Read::State;
    while (true) {
        const net::Connection::Read read = connection_.read(buffer);
        if (read.state == State::end) return Next::end;
        if (read.state == State::data) {
            if (!take({buffer.data(), read.size})) return Next::end;
        } else if (!connection_.wait(deadline().at_most(patience))) {
            return Next::wait;
        }
        // Whoever keeps sending a little has no more time than whoever is silent.
        if (deadline().expired()) {
            time_out();
            return Next::end;
        }
        if (service_.stopping() && idle()) {
            shut_down();
            return Next::end;
        }
    }
}

// False: the conversation is over.
bool Conversation::take(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        bytes.remove_prefix(session_.feed(bytes, out));
        if (session_.verdicts_confirmed()) transaction_.confirmed();
        const bool before = std::exchange(receiving_, transaction_.receiving());
        if (receiving_ && !before) message_ = Deadline::in(data_timeout_);
        if (!out.empty()) {
            if (!connection_.write(out, Deadline::in(idle_timeout_))) return false;
            out.clear();
            quiet_ = Deadline::in(idle_timeout_);
        }
        if (session_.state() == lmtp::Session::State::closed) {
            connection_.finish();
            return false;
        }
        // What came behind the command in the clear is dropped (RFC 3207 section 4.2).
        if (session_.state() == lmtp::Session::State::start_tls) return start_tls();
    }
    if (receiving_) quiet_ = Deadline::in(idle_timeout_);
    return true;
}

bool Conversation::start_tls() {
    auto done = connection_.start_tls(*tls_, Deadline::in(idle_timeout_));
    if (!done) {
        log(LogLevel::warning, "peer=" + connection_.peer().text + ": " + done.error().text());
        return false;
    }
    session_.secured();
    quiet_ = Deadline::in(idle_timeout_);
    return true;
}

void Conversation::say_last(std::string_view reply) {
    connection_.write(reply, Deadline::in(std::chrono::milliseconds(0)));
    connection_.finish();
}

void Conversation::time_out() { say_last(session_.timeout_reply()); }

void Conversation::shut_down() { say_last(session_.shutdown_reply()); }

}  // namespace roost
