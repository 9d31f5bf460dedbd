// Reads command lines: RFC 5321 section 4.1, with the parameters of the extensions that the session offers.
#pragma once

#include "lmtp/reply.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace roost::lmtp {

enum class Verb {
    lhlo,
    helo_or_ehlo,
    mail,
    rcpt,
    data,
    bdat,
    rset,
    noop,
    vrfy,
    expn,
    help,
    quit,
    starttls,
    xclient,
    xforward,
    of_the_web,  // what a browser sends that was talked into connecting here
    unknown,
};

struct Command {
    Verb verb = Verb::unknown;
    std::string_view arguments;  // without blanks at either end
};
// Reads a line without its end. Views into it.
Command parse_command(std::string_view line);

// One "KEYWORD" or "KEYWORD=value" behind a path. Views into the line.
struct Parameter {
    std::string_view keyword;
    std::optional<std::string_view> value;
};

// The arguments of MAIL and RCPT: what stands between the angle brackets, without a source route (RFC 5321 section
// 4.1.1.3 says to ignore it), and the parameters.
struct PathLine {
    std::string_view mailbox;
    std::vector<Parameter> parameters;
};
// `keyword`: "FROM:" or "TO:". A blank behind the colon is let pass, as many a hand-written client sends one. Whether
// the mailbox makes sense is not looked at, beyond where it ends.
Parsed<PathLine> parse_path_line(std::string_view arguments, std::string_view keyword);

// What MAIL's parameters say to us: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), and with `dsn` RET and
// ENVID (RFC 3461), which are checked and have no use here.
struct MailParameters {
    std::uint64_t size = 0;  // a number beyond 64 bits is UINT64_MAX
    bool utf8 = false;
};
Parsed<MailParameters> parse_mail_parameters(const std::vector<Parameter>& parameters, bool dsn);

// RCPT's, with `dsn`: NOTIFY, checked alone, and ORCPT (RFC 3461 section 4, RFC 6533 section 3).
struct RcptParameters {
    std::optional<std::string> original;  // as it was before it was encoded, if it is a mail address
};
Parsed<RcptParameters> parse_rcpt_parameters(const std::vector<Parameter>& parameters, bool dsn);

// BDAT's arguments (RFC 3030 section 2). nullopt: it cannot be known how many octets follow.
struct Chunk {
    std::uint64_t octets = 0;
    bool last = false;
};
std::optional<Chunk> parse_chunk(std::string_view arguments);

// Decodes xtext (RFC 3461 section 4). nullopt if it is none.
std::optional<std::string> decode_xtext(std::string_view text);

// True if `text` is `word` but for the case of ASCII letters.
bool same_word(std::string_view text, std::string_view word);

// True if some byte is not ASCII.
bool has_8bit(std::string_view text);

}  // namespace roost::lmtp
