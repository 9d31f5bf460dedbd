#include "net/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

namespace roost::net {
namespace {

constexpr int kFirstInherited = 3;  // SD_LISTEN_FDS_START

const sockaddr* as_address(const sockaddr_un& address) {
    return reinterpret_cast<const sockaddr*>(&address);  // NOLINT(cppcoreguidelines-pro-type-reinterpret-cast)
}

Error cannot(const Endpoint& endpoint, int sys, std::string hint = {}) {
    Error error = system_error(sys, "cannot listen on " + endpoint.text(), std::move(hint));
    error.outcome = Outcome::misconfigured;
    return error;
}

std::string hint_for(int sys, bool local) {
    switch (sys) {
        case ENOENT:
            return "make the directory";
        case EACCES:
        case EPERM:
            return local ? "let the daemon's user write there, or let systemd open the socket"
                         : "a port below 1024 takes a privilege: let systemd open it (ListenStream= in roostd.socket), "
                           "take one from 1024 on, or give the daemon CAP_NET_BIND_SERVICE";
        case EADDRINUSE:
            return "stop what listens there, or choose another address";
        case EADDRNOTAVAIL:
            return "this machine does not have that address";
        default:
            return {};
    }
}

// An Error if something else than a socket is there.
Result<void> check_path(const Endpoint& endpoint) {
    struct stat info {};
    if (::lstat(endpoint.path.c_str(), &info) != 0 || S_ISSOCK(info.st_mode)) return {};
    const char* const what = S_ISDIR(info.st_mode) ? "a directory" : S_ISREG(info.st_mode) ? "a file" : "no socket";
    return config_error("cannot listen on " + endpoint.text(), std::string("what is there is ") + what,
                        "move it away, or choose another path");
}

using Addresses = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;
Result<Addresses> addresses_of(const Endpoint& endpoint) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    addrinfo* found = nullptr;
    const char* const host = endpoint.host.empty() ? nullptr : endpoint.host.c_str();
    const int code = ::getaddrinfo(host, endpoint.port.c_str(), &hints, &found);
    if (code != 0)
        return config_error("cannot listen on " + endpoint.text(), ::gai_strerror(code),
                            "write an address of this machine and a port's number");
    return Addresses(found, ::freeaddrinfo);
}

// True if nobody listens on the socket there.
bool is_stale(const sockaddr_un& address) {
    const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    return probe && ::connect(probe.get(), as_address(address), sizeof address) != 0 && errno == ECONNREFUSED;
}

Result<Fd> listen_local(const Endpoint& endpoint, mode_t mode) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, endpoint.path.c_str(), endpoint.path.size() + 1);
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return cannot(endpoint, errno);
    // The file is made with the socket's own mode, less the umask, so it is never more open than asked for.
    ::fchmod(fd.get(), mode);
    int bound = ::bind(fd.get(), as_address(address), sizeof address);
    if (bound != 0 && errno == EADDRINUSE) {
        if (auto free = check_path(endpoint); !free) return std::move(free).error();
        if (!is_stale(address)) return cannot(endpoint, EADDRINUSE, hint_for(EADDRINUSE, true));
        ::unlink(address.sun_path);
        bound = ::bind(fd.get(), as_address(address), sizeof address);
    }
    if (bound != 0) return cannot(endpoint, errno, hint_for(errno, true));
    if (::chmod(address.sun_path, mode) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) return cannot(endpoint, errno);
    return fd;
}

Result<Fd> listen_tcp(const Endpoint& endpoint, const addrinfo& found) {
    Fd fd(::socket(found.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return cannot(endpoint, errno);
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // Each family has a socket of its own, so that "*" works whatever net.ipv6.bindv6only says.
    if (found.ai_family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (::bind(fd.get(), found.ai_addr, found.ai_addrlen) != 0 || ::listen(fd.get(), SOMAXCONN) != 0)
        return cannot(endpoint, errno, hint_for(errno, false));
    return fd;
}

// The address of a socket that somebody else opened, as an endpoint has it.
std::string address_of(int socket) {
    sockaddr_storage any{};
    socklen_t size = sizeof any;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how the interface is
    if (::getsockname(socket, reinterpret_cast<sockaddr*>(&any), &size) != 0) any.ss_family = AF_UNSPEC;
    Endpoint out;
    if (any.ss_family == AF_UNIX) {
        sockaddr_un address{};
        std::memcpy(&address, &any, sizeof address);
        out.path.assign(address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path));
    } else if (any.ss_family == AF_INET || any.ss_family == AF_INET6) {
        sockaddr_in address{};  // whose port lies where that of IPv6 does
        std::memcpy(&address, &any, sizeof address);
        out.port = std::to_string(ntohs(address.sin_port));
        if (const std::string host = peer_from(any).text; host != "0.0.0.0" && host != "::") out.host = host;
    }
    return out.path.empty() && out.port.empty() ? "descriptor " + std::to_string(socket) : out.text();
}

int number_in(const char* text) {
    int number = -1;
    if (text != nullptr) std::from_chars(text, text + std::strlen(text), number);
    return number;
}

}  // namespace

Result<std::vector<Listener>> Listener::open(const Endpoint& endpoint, mode_t mode) {
    std::vector<Listener> out;
    if (endpoint.local()) {
        auto fd = listen_local(endpoint, mode);
        if (!fd) return std::move(fd).error();
        Listener made(*std::move(fd), endpoint.text());
        struct stat info {};
        if (::lstat(endpoint.path.c_str(), &info) == 0) {
            made.path_ = endpoint.path;
            made.device_ = info.st_dev;
            made.inode_ = info.st_ino;
        }
        out.push_back(std::move(made));
        return out;
    }
    auto found = addresses_of(endpoint);
    if (!found) return std::move(found).error();
    std::optional<Error> last;
    for (const addrinfo* each = found->get(); each != nullptr; each = each->ai_next) {
        auto fd = listen_tcp(endpoint, *each);
        if (fd) {
            out.push_back(Listener(*std::move(fd), endpoint.text()));
        } else if (fd.error().sys != EAFNOSUPPORT && fd.error().sys != EADDRNOTAVAIL) {
            return std::move(fd).error();
        } else {
            last = std::move(fd).error();  // a machine without IPv6, say: the other addresses do
        }
    }
    if (out.empty() && last) return *std::move(last);
    return out;
}

Result<void> Listener::check(const Endpoint& endpoint) {
    if (!endpoint.local()) {
        auto found = addresses_of(endpoint);
        return found ? Result<void>() : std::move(found).error();
    }
    const std::string dir = endpoint.path.substr(0, std::max<std::size_t>(endpoint.path.find_last_of('/'), 1));
    if (::faccessat(AT_FDCWD, dir.c_str(), W_OK | X_OK, AT_EACCESS) != 0)
        return cannot(endpoint, errno, hint_for(errno, true));
    return check_path(endpoint);
}

Result<std::vector<Listener>> Listener::take_inherited() {
    std::vector<Listener> out;
    // NOLINTBEGIN(concurrency-mt-unsafe): no thread runs yet
    const int pid = number_in(std::getenv("LISTEN_PID"));
    const int count = number_in(std::getenv("LISTEN_FDS"));
    const char* const given = std::getenv("LISTEN_FDNAMES");
    std::string names(given == nullptr ? "" : given);
    for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
    // NOLINTEND(concurrency-mt-unsafe)
    if (pid != ::getpid()) return out;
    for (int fd = kFirstInherited; fd < kFirstInherited + count; ++fd) {
        int listening = 0;
        socklen_t size = sizeof listening;
        if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0)
            return config_error("descriptor " + std::to_string(fd) + " from the service manager",
                                "it is no listening stream socket", "use ListenStream= in the socket unit");
        ::fcntl(fd, F_SETFD, FD_CLOEXEC);
        ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
        Listener made(Fd(fd), address_of(fd));
        made.inherited_ = true;
        made.label_ = names.substr(0, names.find(':'));
        names.erase(0, made.label_.size() + 1);
        out.push_back(std::move(made));
    }
    return out;
}

Listener& Listener::operator=(Listener&& other) noexcept {
    if (this == &other) return *this;
    remove_file();
    fd_ = std::move(other.fd_);
    name_ = std::move(other.name_);
    inherited_ = other.inherited_;
    label_ = std::move(other.label_);
    path_ = std::exchange(other.path_, {});
    device_ = other.device_;
    inode_ = other.inode_;
    return *this;
}

Listener::~Listener() { remove_file(); }

bool Listener::lost() const {
    if (path_.empty()) return false;
    struct stat info {};
    return ::lstat(path_.c_str(), &info) != 0 || info.st_dev != device_ || info.st_ino != inode_;
}

Result<void> Listener::set_mode(mode_t mode) const {
    if (path_.empty() || lost() || ::chmod(path_.c_str(), mode) == 0) return {};
    return system_error(errno, "cannot set the mode of " + path_);
}

void Listener::remove_file() noexcept {
    if (fd_ && !path_.empty() && !lost()) ::unlink(path_.c_str());
}

Result<std::optional<Listener::Accepted>> Listener::accept() {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how the interface is
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    Fd fd(::accept4(fd_.get(), generic, &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
        Peer peer = peer_from(address);
        // Replies are written whole and at once: waiting for more to send with them only costs time.
        const int on = 1;
        if (!peer.local) ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return std::optional<Accepted>(Accepted{std::move(fd), std::move(peer)});
    }
    switch (errno) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            return system_error(errno, "cannot take a connection on " + name_,
                                "raise the limit of open files (systemd: LimitNOFILE)");
        default:
            return std::optional<Accepted>();
    }
}

}  // namespace roost::net
