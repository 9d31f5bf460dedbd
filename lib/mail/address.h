// Mail addresses as far as delivery needs them: a name, a domain, a detail.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

namespace roost {

// Longest address taken, in octets: RFC 5321 section 4.5.3.1 allows 64 + 1 + 255; more cannot be a mailbox.
inline constexpr std::size_t kMaxAddress = 320;

// A recipient. `local` and `domain` in lower case (ASCII), `domain` empty for a name without one.
struct Address {
    std::string local;
    std::string domain;
    std::string written;  // `local` in the case that it was written in

    // "local@domain", or "local".
    std::string text() const;
};

// `text` without the angle brackets around it, if it has them.
std::string_view without_brackets(std::string_view text);

// Reads "local@domain", "local", either in angle brackets; the domain begins after the last "@". Errors (malformed):
// empty, over kMaxAddress, control characters. Quoted local parts lose their quotes (RFC 5321 section 4.1.2).
Result<Address> parse_address(std::string_view text);

// Reads a reverse-path, "" or "<>" being the null one (RFC 5321 section 4.5.5). Returns it without brackets. Errors
// (malformed): over kMaxAddress; control characters; a blank or an angle bracket outside of quotes.
Result<std::string> parse_sender(std::string_view text);

struct Split {
    Address base;
    std::string detail;  // in its own case; empty if there is none
};
// Splits the local part at the first of `separators` that is not its first character, if there is one (RFC 5233
// section 2).
Split split_detail(const Address& address, std::string_view separators);

}  // namespace roost
