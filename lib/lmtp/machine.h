// What a session is made of. Private to it: input.cpp takes the bytes, commands.cpp carries the commands out.
#pragma once

#include "lmtp/command.h"
#include "lmtp/decoder.h"
#include "lmtp/reply.h"
#include "lmtp/session.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace roost::lmtp {

inline const Reply kDone{250, "2.0.0", "OK"};
inline const Reply kNoTls{530, "5.7.0", "Must issue a STARTTLS command first"};
inline const Reply kNoRecipients{503, "5.5.1", "There is no recipient"};

// What stands between MAIL and the verdicts.
struct Transaction {
    Envelope envelope;
    std::uint64_t size = 0;  // as declared
    bool utf8 = false;
    bool chunked = false;  // a BDAT has come: if it was refused, what follows would be a message without its beginning
    bool too_large = false;
    bool told = false;              // the client and the host know of the failure
    std::optional<Answer> failure;  // of all recipients; the data are swallowed
    std::optional<DataDecoder> decoder;
};

class Session::Machine {
public:
    Machine(Terms terms, Host& host) : terms_(std::move(terms)), host_(host) {}

    std::size_t feed(std::string_view in, std::string& out);
    void secured();
    bool receiving() const { return mode_ != Mode::command || (transaction_ && transaction_->chunked); }
    bool idle() const { return mode_ == Mode::command && line_.empty() && overlong_ == 0 && !transaction_; }

    const Terms& terms() const { return terms_; }
    State state() const { return state_; }
    bool confirmed() const { return confirmed_; }
    const Envelope* envelope() const { return transaction_ ? &transaction_->envelope : nullptr; }
    const Origin& origin() const { return origin_; }
    std::string_view peer_name() const { return peer_name_; }

private:
    enum class Mode { command, data, chunk };

    // Bytes.
    std::size_t take_line(std::string_view in);
    std::size_t take_overlong(std::string_view in);
    std::size_t take_data(std::string_view in);
    std::size_t take_chunk(std::string_view in);
    void keep(std::string_view bytes);

    // Replies.
    void say(const Reply& reply) { *out_ += render(reply, transaction_ && transaction_->utf8); }
    void refuse(const Reply& reply);
    void close(const Reply& reply);

    // Commands.
    void renew_terms();
    void run(std::string_view line);
    void run(const Command& command);
    void lhlo(std::string_view name);
    void mail(std::string_view arguments);
    void rcpt(std::string_view arguments);
    void data();
    void bdat(std::string_view arguments);
    void start_tls();
    void xclient(std::string_view arguments);
    void xforward(std::string_view arguments);
    void refuse_without_mail();
    bool lacks_tls() const { return terms_.require_tls && !secured_; }

    void end_chunk();
    void tell_failure();
    void deliver();
    void end_transaction();

    Terms terms_;
    Host& host_;
    State state_ = State::open;
    Mode mode_ = Mode::command;
    std::string* out_ = nullptr;  // while feed() runs

    std::string line_;            // of a command, until its end comes
    std::uint64_t overlong_ = 0;  // octets swallowed of a line that is too long
    std::size_t errors_ = 0;      // since the session's begin or the last delivery
    bool mail_refused_ = false;   // what a pipelining client sent behind such a MAIL is not its fault
    bool pause_ = false;          // feed() should return, so that replies are sent

    bool greeted_ = false;  // LHLO was said
    bool secured_ = false;
    std::string peer_name_;
    Origin client_;     // of the session, from XCLIENT
    Origin forwarded_;  // of the transaction, from XFORWARD
    Origin origin_;     // both
    std::uint64_t transactions_ = 0;
    std::optional<Transaction> transaction_;

    std::uint64_t chunk_left_ = 0;
    bool chunk_last_ = false;

    bool confirmed_ = true;
    std::size_t unanswered_ = 0;  // bytes still to come that were sent before the last verdicts were
    bool line_is_fresh_ = false;  // the line at hand was sent after them
};

}  // namespace roost::lmtp
