#include "base/endpoint.h"

#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "base/text.h"

namespace roost {
namespace {

constexpr std::size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;

Error wrong(std::string_view text, std::string why) {
    return config_error("the address '" + printable(text) + "'", std::move(why),
                        "write unix:/absolute/path, tcp:HOST:PORT or tcp:[IPv6]:PORT");
}

// A number that a port can be, or what may be a service's name: the resolver would read "99999" as 34463.
bool is_port(std::string_view text) {
    if (std::any_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }))
        return true;
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string Endpoint::text() const {
    if (local()) return "unix:" + path;
    if (host.empty()) return "tcp:*:" + port;
    return host.find(':') == std::string::npos ? "tcp:" + host + ":" + port : "tcp:[" + host + "]:" + port;
}

Result<Endpoint> parse_endpoint(std::string_view text) {
    Endpoint out;
    if (text.starts_with("unix:")) {
        out.path = text.substr(5);
        if (!out.path.starts_with('/')) return wrong(text, "the path of a socket must be absolute");
        if (out.path.size() > kMaxPath)
            return wrong(text, "the path of a socket has at most " + std::to_string(kMaxPath) + " bytes");
        return out;
    }
    if (!text.starts_with("tcp:")) return wrong(text, "it begins neither with unix: nor with tcp");
    std::string_view rest = text.substr(4);
    if (rest.starts_with('[')) {
        const std::size_t end = rest.find("]:");
        if (end == std::string_view::npos) return wrong(text, "the port is missing");
        out.host = rest.substr(1, end - 1);
        out.port = rest.substr(end + 2);
    } else {
        const std::size_t colon = rest.find(':');
        if (colon == std::string_view::npos) return wrong(text, "the port is missing");
        out.host = rest.substr(0, colon);
        out.port = rest.substr(colon + 1);
        if (out.port.find(':') != std::string::npos) return wrong(text, "an IPv6 address needs brackets");
    }
    if (out.host.empty()) return wrong(text, "the host is missing; * stands for all addresses");
    if (out.host == "*") out.host.clear();
    if (out.port.empty()) return wrong(text, "the port is missing");
    if (!is_port(out.port)) return wrong(text, "a port is a number from 0 to 65535, or a service's name");
    return out;
}

}  // namespace roost
