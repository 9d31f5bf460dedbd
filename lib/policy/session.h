// The server's side of Postfix's policy delegation protocol (its SMTPD_POLICY_README) as a pure machine: bytes in,
// bytes out. No descriptor, no clock, no thread: sockets, transcripts and the fuzzer drive it alike.
#pragma once

#include "base/outcome.h"
#include "policy/recipients.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace roost::policy {

// A line and a request may have so many octets; Postfix sends some thirty attributes of one line each.
inline constexpr std::size_t kMaxLine = 4096;
inline constexpr std::size_t kMaxRequest = 65536;

// What is used of one request; all else in it is passed over.
struct Request {
    std::string kind;   // "request"
    std::string state;  // "protocol_state"
    std::string instance;
    std::string recipient;  // at END-OF-MESSAGE empty if there are several
    std::string sender;
    std::string queue_id;
    std::string client_address;
    std::uint64_t size = 0;             // what MAIL declared, 0 if nothing; at END-OF-MESSAGE what came
    std::uint64_t recipient_count = 0;  // known from DATA on
};

// What a recipient says to a message. `delivered`: nothing against it.
struct Answer {
    Outcome outcome = Outcome::trouble;
    std::string text;  // for people, without codes; not told if it is our trouble
};

// The action for an answer, without "action=". DUNNO where there is nothing against the message, never OK, which would
// end the restrictions behind this one. A refusal at RCPT is 554 rather than 552, which RFC 5321 section 4.5.3.1.10
// has clients take for a temporary one there. Trouble of ours is DEFER_IF_PERMIT: the client comes again, unless a
// later restriction refuses for good.
std::string action_of(const Answer& answer, bool at_rcpt);

// What the session asks of its surroundings. Called from within feed().
class Host {
public:
    virtual ~Host() = default;
    // `size` of the message in bytes, 0 if it is not known yet.
    virtual Answer judge(std::string_view recipient, std::uint64_t size) = 0;
    // The request was answered with a refusal, permanent or not.
    virtual void refused(const Request& request, const Answer& answer) = 0;
};

// One connection. One thread at a time.
class Session {
public:
    // `client` tells clients apart whose instances may be equal. References must outlive the object.
    Session(std::string client, Host& host, Recipients& recipients)
        : client_(std::move(client)), host_(host), recipients_(recipients) {}

    // Takes bytes as they come, in pieces of any length, and appends answers to `out`. Returns how many bytes it took:
    // it stops behind each request, so that its answer can be sent before more work is begun, and is then called again
    // with the rest; it takes at least one byte unless there is a fault.
    std::size_t feed(std::string_view in, std::string& out);

    // Why the connection must be closed: the client does not speak the protocol. Empty: it does, so far. There is no
    // answer then, as Postfix wants it.
    const std::string& fault() const { return fault_; }

    // No request is incomplete: the moment to part without loss.
    bool idle() const { return received_ == 0; }

private:
    void take_attribute(std::string_view line);
    std::uint64_t number(std::string_view name, std::string_view value);
    Answer decide();
    Answer decide_for_all();

    const std::string client_;
    Host& host_;
    Recipients& recipients_;
    std::string line_;          // the incomplete one
    std::size_t received_ = 0;  // octets of the incomplete request
    Request request_;           // what came of it
    std::string message_;       // names the message of the last request in recipients_; empty: none
    std::string fault_;
};

}  // namespace roost::policy
