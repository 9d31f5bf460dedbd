// Who is at the other end of a connection, and whether we trust them.
#pragma once

#include "base/result.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sys/socket.h>

namespace roost {

// An IPv4 or IPv6 address in IPv6's form (RFC 4291 section 2.5.5.2), so that one comparison does for both.
using IpAddress = std::array<std::uint8_t, 16>;

struct Peer {
    bool local = false;   // a Unix socket or a pipe
    IpAddress address{};  // if not local
    std::string text;     // "unix", "192.0.2.1", "2001:db8::1"
};

// What the kernel says about the other end of `socket`. A descriptor that is no socket is local.
Peer peer_of(int socket);
Peer peer_from(const sockaddr_storage& address);

// A set of peers: "unix" for all local ones, addresses and networks as 192.0.2.0/24 and 2001:db8::/32.
class PeerSet {
public:
    // An Error (misconfigured) names the word.
    static Result<PeerSet> parse(const std::vector<std::string>& words);
    bool contains(const Peer& peer) const;

private:
    struct Network {
        IpAddress address{};
        unsigned bits = 0;
    };
    bool local_ = false;
    std::vector<Network> networks_;
};

}  // namespace roost
