// The server side of one LMTP session (RFC 2033) as a pure machine: bytes in, bytes out. No descriptor, no clock, no
// thread: sockets, stdin, transcripts and the fuzzer drive it alike.
#pragma once

#include "base/result.h"
#include "mail/envelope.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace roost::lmtp {

// The longest reply in octets, all lines and line ends counted: Exim's buffer for a whole reply has 256.
inline constexpr std::size_t kMaxReply = 239;

// What holds for a session, until its host has other terms for it.
struct Terms {
    std::string host;                   // our name, in the greeting
    std::string session;                // names the session; each transaction gets "SESSION.N"
    std::uint64_t max_message = 0;      // bytes, offered with SIZE; 0: no limit of ours
    std::size_t max_recipients = 1000;  // of one transaction
    std::size_t max_errors = 20;        // refused commands, after which the session ends
    bool offer_starttls = false;        // there is a certificate, and TLS can be spoken on the transport
    bool require_tls = false;           // until it is in use, no command is taken but those that lead there
    bool trusted = false;               // the peer may use XCLIENT, XFORWARD and the DSN parameters, ORCPT among them
    // Announce DSN to a trusted peer. Postfix sends ORCPT only then, but leaves it to us to report a success that the
    // sender asked for (RFC 3461 section 5.2.2), and nobody does.
    bool offer_dsn = false;
};

// Who the MTA got the message from, as a trusted peer told with XCLIENT or XFORWARD. For the log; empty: not told.
struct Origin {
    std::string name;
    std::string address;
    std::string helo;
    std::string queue_id;  // XFORWARD IDENT
};

// What one recipient is told.
struct Answer {
    Outcome outcome = Outcome::trouble;
    std::string text;  // for people, without codes; cut to fit kMaxReply
    // Where the table's codes do not fit, as 451 4.5.3; 0: those of the outcome.
    int code = 0;
    std::string enhanced;
};

// What the session asks of its surroundings. Called from within feed(), in protocol order.
class Host {
public:
    virtual ~Host() = default;
    // A recipient of the transaction at hand. `size`: what MAIL's SIZE declared, 0 if nothing. Anything but `delivered`
    // refuses it.
    virtual Answer recipient(const Recipient& recipient, std::uint64_t size) = 0;
    // The next of the message's bytes: dots unstuffed, CRLF turned into LF, all else as it came. An Error makes the
    // session swallow the rest and answer each recipient with it.
    virtual Result<void> data(std::string_view bytes) = 0;
    // The message is complete. One answer for each of the envelope's recipients, which are those that recipient()
    // accepted, in order.
    virtual std::vector<Answer> deliver(const Envelope& envelope) = 0;
    // The message is too large, or data() failed: each of the recipients is told this. Once, in place of deliver().
    virtual void failed(const Envelope& envelope, const Answer& answer) = 0;
    // How many bytes the client has sent that feed() has not been given yet, at least: more where they are encrypted,
    // and 0 only if there are none. Asked when a verdict is about to be told, which such a client cannot have read.
    virtual std::size_t waiting() const { return 0; }
    // The transaction is over, or given up: forget its recipients and bytes. Not called when the Session is destroyed.
    virtual void reset() = 0;
    // The terms from here on, if they are not those told last; the session keeps its name. Asked before each command
    // outside of transactions.
    virtual std::optional<Terms> new_terms() = 0;
};

// One session. One thread at a time.
class Session {
public:
    enum class State {
        open,
        start_tls,  // the host must now speak TLS on the connection, then call secured()
        closed,     // send what is in the output, then close
    };

    Session(Terms terms, Host& host);
    ~Session();

    // The greeting, to be sent first.
    std::string greeting();
    static std::string busy_greeting(std::string_view text);  // "421 4.3.2 TEXT"

    // Takes bytes as they come, in pieces of any length, and appends replies to `out`. Returns how many bytes it took:
    // it stops early, so that replies can be sent before more work is begun, and is then called again with the rest;
    // it takes at least one byte unless the state is not `open`. What follows STARTTLS in the same input must be
    // dropped by the caller (RFC 3207 section 4.2).
    std::size_t feed(std::string_view in, std::string& out);

    State state() const;
    // TLS is up: back to before LHLO.
    void secured();
    // The peer is gone or too slow, or we shut down: what to say, if anything can still be said.
    std::string timeout_reply() const;
    std::string shutdown_reply() const;

    // True while no transaction is open and no command is incomplete: the moment to shut down without loss.
    bool idle() const;
    // True from DATA or BDAT to the end of the message, whether it is kept or swallowed; of a chunk outside of a
    // transaction, to the chunk's end.
    bool receiving() const;
    // True once the peer has sent a command after the last verdicts, which shows that it has read them.
    bool verdicts_confirmed() const;

    // The transaction at hand, its recipients those accepted so far; null if there is none.
    const Envelope* envelope() const;
    const Origin& origin() const;
    std::string_view peer_name() const;  // what LHLO said

private:
    class Machine;
    std::unique_ptr<Machine> machine_;
};

}  // namespace roost::lmtp
