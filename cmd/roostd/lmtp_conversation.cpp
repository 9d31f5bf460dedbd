#include "lmtp_conversation.h"

#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace roost {
namespace {

lmtp::Terms terms_for(Service& service, const net::Connection& connection) {
    return service.terms(connection.peer(), *service.setup());
}

}  // namespace

LmtpConversation::LmtpConversation(Service& service, net::Connection connection)
    : Conversation(service, std::move(connection)),
      counted_(service.metrics()),
      tls_(service.setup()->lmtp.tls),
      idle_timeout_(service.setup()->lmtp.idle_timeout),
      data_timeout_(service.setup()->lmtp.data_timeout),
      transaction_(service, connection_),
      session_(terms_for(service, connection_), transaction_),
      quiet_(Deadline::in(idle_timeout_)),
      message_(quiet_) {
    transaction_.serve(session_);
}

bool LmtpConversation::greet() {
    return connection_.write(session_.greeting(), Deadline::in(std::chrono::milliseconds(0)));
}

Deadline LmtpConversation::deadline() const { return receiving_ ? quiet_.at_most(message_.remaining()) : quiet_; }

bool LmtpConversation::take(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        bytes.remove_prefix(session_.feed(bytes, out));
        if (session_.verdicts_confirmed()) transaction_.confirmed();
        const bool before = std::exchange(receiving_, session_.receiving());
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

bool LmtpConversation::start_tls() {
    auto done = connection_.start_tls(*tls_, Deadline::in(idle_timeout_));
    if (!done) {
        log(LogLevel::warning, "peer=" + connection_.peer().text + ": " + done.error().text());
        return false;
    }
    session_.secured();
    quiet_ = Deadline::in(idle_timeout_);
    return true;
}

void LmtpConversation::say_last(std::string_view reply) {
    connection_.write(reply, Deadline::in(std::chrono::milliseconds(0)));
    connection_.finish();
}

void LmtpConversation::time_out() { say_last(session_.timeout_reply()); }

void LmtpConversation::shut_down() { say_last(session_.shutdown_reply()); }

}  // namespace roost
