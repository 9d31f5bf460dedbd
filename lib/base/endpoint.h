// Where a daemon listens: "unix:/path", "tcp:HOST:PORT".
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

namespace roost {

struct Endpoint {
    std::string path;  // of a Unix socket; empty: TCP
    std::string host;  // a name or an address, without brackets; empty: all addresses
    std::string port;  // a number from 0 to 65535, or a service's name

    bool local() const { return !path.empty(); }
    // As it is written.
    std::string text() const;
    bool operator==(const Endpoint&) const = default;
};

// Reads "unix:/ABSOLUTE/PATH" or "tcp:HOST:PORT", where HOST is a name, an IPv4 address, an IPv6 address in brackets
// or "*" for all. An Error (misconfigured) says what would be right.
Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace roost
