#include "lmtp_conversation.h"

#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace roost {
namespace {

lmtp::Terms first_terms(Service& service, Transaction& transaction) {
    lmtp::Terms out = transaction.new_terms().value();  // none were told yet
    out.session = service.session_name();
    return out;
}

}  // namespace

LmtpConversation::LmtpConversation(Service& service, net::Connection connection)
    : Conversation(service, std::move(connection)),
      counted_(service.metrics()),
      transaction_(service, connection_),
      session_(first_terms(service, transaction_), transaction_),
      quiet_(Deadline::in(transaction_.idle_timeout())),
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
        if (receiving_ && !before) message_ = Deadline::in(transaction_.data_timeout());
        if (!out.empty()) {
            if (!connection_.write(out, Deadline::in(transaction_.idle_timeout()))) return false;
            out.clear();
            quiet_ = Deadline::in(transaction_.idle_timeout());
        }
        if (session_.state() == lmtp::Session::State::closed) {
            connection_.finish();
            return false;
        }
        // What came behind the command in the clear is dropped (RFC 3207 section 4.2).
        if (session_.state() == lmtp::Session::State::start_tls) return start_tls();
    }
    if (receiving_) quiet_ = Deadline::in(transaction_.idle_timeout());
    return true;
}

bool LmtpConversation::start_tls() {
    if (auto done = connection_.start_tls(transaction_.tls()); !done) {
        log(LogLevel::warning, "peer=" + connection_.peer().text + ": " + done.error().text());
        return false;
    }
    session_.secured();
    return true;
}

void LmtpConversation::lost() {
    const std::string why = connection_.handshake_failure();
    if (!why.empty()) log(LogLevel::warning, "peer=" + connection_.peer().text + ": the TLS handshake failed: " + why);
}

void LmtpConversation::say_last(std::string_view reply) {
    connection_.write(reply, Deadline::in(std::chrono::milliseconds(0)));
    connection_.finish();
}

void LmtpConversation::time_out() {
    if (connection_.is_shaking_hands())
        log(LogLevel::warning, "peer=" + connection_.peer().text + ": the TLS handshake took too long");
    say_last(session_.timeout_reply());
}

void LmtpConversation::shut_down() { say_last(session_.shutdown_reply()); }

}  // namespace roost
