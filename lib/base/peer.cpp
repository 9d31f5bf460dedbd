#include "base/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/text.h"

namespace roost {
namespace {

constexpr unsigned kBits = 128;
constexpr unsigned kV4Prefix = 96;  // of an IPv4 address in IPv6's form

IpAddress mapped(const in_addr& v4) {
    IpAddress out{};
    out[10] = out[11] = 0xff;
    std::memcpy(out.data() + 12, &v4, sizeof v4);
    return out;
}

std::optional<IpAddress> read_address(const std::string& text, bool& v4) {
    in_addr four{};
    v4 = ::inet_pton(AF_INET, text.c_str(), &four) == 1;
    if (v4) return mapped(four);
    IpAddress six{};
    if (::inet_pton(AF_INET6, text.c_str(), six.data()) != 1) return std::nullopt;
    return six;
}

bool same_prefix(const IpAddress& a, const IpAddress& b, unsigned bits) {
    const std::size_t whole = bits / 8;
    if (!std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(whole), b.begin())) return false;
    const unsigned rest = bits % 8;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

}  // namespace

Peer peer_from(const sockaddr_storage& address) {
    Peer out;
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (address.ss_family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, &address, sizeof in);
        out.address = mapped(in.sin_addr);
        ::inet_ntop(AF_INET, &in.sin_addr, text.data(), text.size());
    } else if (address.ss_family == AF_INET6) {
        sockaddr_in6 in{};
        std::memcpy(&in, &address, sizeof in);
        std::memcpy(out.address.data(), &in.sin6_addr, out.address.size());
        if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
            ::inet_ntop(AF_INET, out.address.data() + 12, text.data(), text.size());
        } else {
            ::inet_ntop(AF_INET6, &in.sin6_addr, text.data(), text.size());
        }
    } else {
        out.local = true;
        out.text = "unix";
        return out;
    }
    out.text = text.data();
    return out;
}

Peer peer_of(int socket) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how the interface is
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) address.ss_family = AF_UNIX;
    return peer_from(address);
}

Result<PeerSet> PeerSet::parse(const std::vector<std::string>& words) {
    PeerSet out;
    for (const std::string& word : words) {
        if (word == "unix") {
            out.local_ = true;
            continue;
        }
        const Error wrong = config_error("'" + printable(word) + "'", "this is no network",
                                         "write unix, an address, or a network as 192.0.2.0/24 or 2001:db8::/32");
        const std::size_t slash = word.find('/');
        bool v4 = false;
        const auto address = read_address(word.substr(0, slash), v4);
        if (!address) return wrong;
        const unsigned widest = v4 ? kBits - kV4Prefix : kBits;
        unsigned bits = widest;
        if (slash != std::string::npos) {
            const char* const end = word.data() + word.size();
            const auto [stop, error] = std::from_chars(word.data() + slash + 1, end, bits);
            if (error != std::errc() || stop != end || bits > widest) return wrong;
        }
        out.networks_.push_back({*address, v4 ? bits + kV4Prefix : bits});
    }
    return out;
}

bool PeerSet::contains(const Peer& peer) const {
    if (peer.local) return local_;
    return std::any_of(networks_.begin(), networks_.end(), [&](const Network& network) {
        return same_prefix(network.address, peer.address, network.bits);
    });
}

}  // namespace roost
