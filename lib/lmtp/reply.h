// What the session says: replies that every client's buffer holds.
#pragma once

#include <string>
#include <string_view>
#include <variant>

namespace roost::lmtp {

struct Answer;

// One reply of one line.
struct Reply {
    int code = 0;
    std::string enhanced;  // RFC 2034; empty where it allows none
    std::string text;      // of any length and content
};

// What a parser found, or how to refuse it.
template <class T>
using Parsed = std::variant<T, Reply>;

// The reply that the host's answer makes; `success` is the enhanced code of a success that names none.
Reply reply_of(const Answer& answer, std::string_view success, std::string text);

// The reply as sent, CRLF included, in at most kMaxReply octets: the text is cut at the end of a character. Control
// characters become blanks; what is not ASCII stays if `utf8`, the client having asked for it (RFC 6531
// section 3.7.4.2).
std::string render(const Reply& reply, bool utf8 = false);

// "220 HOST LMTP Roost".
std::string render_greeting(std::string_view host);

// What LHLO may be told beyond what always holds.
struct Capabilities {
    std::string size;  // the limit in digits; empty: SIZE without one
    bool starttls = false;
    bool forwarding = false;  // XCLIENT, XFORWARD
    bool dsn = false;
};
// The reply to LHLO, a host name too long for it cut at one of its dots.
std::string render_capabilities(std::string_view host, const Capabilities& capabilities);

}  // namespace roost::lmtp
