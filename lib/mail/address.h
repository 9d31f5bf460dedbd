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

    // "local@domain", or "local".
    std::string text() const;
};

// `text` without the angle brackets around it, if it has them.
std::string_view without_brackets(std::string_view text);

// Reads "local@domain", "local", either in angle brackets; the domain begins after the last "@". Errors (malformed):
// empty, over kMaxAddress, control characters. Quoted local parts lose their quotes (RFC 5321 section 4.1.2).
Result<Address> parse_address(std::string_view text);

// Reads a reverse-path: as parse_address but with case kept, and "" or "<>" for the null reverse-path (RFC 5321
// section 4.5.5). Returns it without brackets.
Result<std::string> parse_sender(std::string_view text);

struct Split {
    std::string base;
    std::string detail;  // empty if there is none
};
// Splits a local part at the first of `separators` that is neither its first character nor absent (RFC 5233 section 2).
Split split_detail(std::string_view local, std::string_view separators);

}  // namespace roost
