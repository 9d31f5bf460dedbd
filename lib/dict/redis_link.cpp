#include "dict/redis_link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/text.h"

namespace roost {
namespace {

SocketAddress unix_address(const std::string& path) {
    SocketAddress out;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
    std::memcpy(&out.storage, &address, sizeof address);
    out.size = sizeof address;
    return out;
}

Result<std::vector<SocketAddress>> addresses_of(const RedisAddress& address, const RedisLibraries& libraries,
                                                Deadline deadline) {
    if (!address.path.empty()) return std::vector{unix_address(address.path)};
    if (const auto number = numeric_address(address.host, address.port)) return std::vector{*number};
    if (libraries.resolve == nullptr)
        return config_error("the host " + printable(address.host), "this program resolves no names",
                            "write the server's address");
    return libraries.resolve(address.host, address.port, deadline);
}

}  // namespace

std::optional<SocketAddress> numeric_address(const std::string& host, const std::string& port) {
    SocketAddress out;
    std::uint16_t number = 0;
    std::from_chars(port.data(), port.data() + port.size(), number);
    number = htons(number);
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = number;
        std::memcpy(&out.storage, &v4, sizeof v4);
        out.size = sizeof v4;
    } else if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = number;
        std::memcpy(&out.storage, &v6, sizeof v6);
        out.size = sizeof v6;
    } else {
        return std::nullopt;
    }
    return out;
}

RedisLink::RedisLink(const RedisSettings& settings, RedisAddress address)
    : settings_(&settings), address_(std::move(address)) {}

Error RedisLink::trouble(const std::string& why, std::string hint) const {
    return {Outcome::trouble, "cannot use the dict " + settings_->name, address_.text() + ": " + why, std::move(hint),
            0};
}

Result<std::unique_ptr<RedisLink>> RedisLink::connect(const RedisSettings& settings, const RedisLibraries& libraries,
                                                      const RedisAddress& address, const Login& login,
                                                      Deadline deadline) {
    std::unique_ptr<RedisLink> link(new RedisLink(settings, address));  // NOLINT: the constructor is private
    const Deadline soon = deadline.at_most(settings.timeout);
    if (auto opened = link->open(libraries, soon); !opened) return std::move(opened).error();
    if (auto done = link->log_in(login, soon); !done) return std::move(done).error();
    return link;
}

Result<void> RedisLink::open(const RedisLibraries& libraries, Deadline deadline) {
    auto found = addresses_of(address_, libraries, deadline);
    if (!found) return trouble(found.error().why, found.error().hint);
    Result<void> opened = trouble("it has no address");
    // One address that does not answer leaves time for the others.
    for (std::size_t i = 0; i < found->size(); ++i) {
        opened = open_one((*found)[i], deadline.at_most(deadline.remaining() / (found->size() - i)));
        if (opened) break;
    }
    if (!opened || !settings_->tls.on) return opened;
    auto tls = libraries.tls(settings_->tls, address_.host);
    if (!tls) return std::move(tls).error();
    tls_ = *std::move(tls);
    return {};
}

Result<void> RedisLink::open_one(const SocketAddress& to, Deadline deadline) {
    socket_.reset(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket_) return system_error(errno, "cannot make a socket");
    const int yes = 1;
    if (to.storage.ss_family != AF_UNIX) {
        ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    }
    int failure = 0;
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0) {
        failure = errno;
        if (failure == EINPROGRESS) {
            if (auto ready = wait(POLLOUT, deadline); !ready) return ready;
            socklen_t size = sizeof failure;
            ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &failure, &size);
        }
    }
    if (failure == 0) return {};
    return trouble("cannot connect: " + system_error(failure, {}).why, "is Redis running there?");
}

Result<void> RedisLink::log_in(const Login& login, Deadline deadline) {
    std::string commands;
    if (!login.user.empty())
        append_redis_command(commands, {"AUTH", login.user, login.password});
    else if (!login.password.empty())
        append_redis_command(commands, {"AUTH", login.password});
    if (login.db != 0) append_redis_command(commands, {"SELECT", std::to_string(login.db)});
    if (auto sent = send(commands); !sent) return sent;
    if (!login.password.empty()) {
        auto answer = reply(deadline);
        if (!answer) return std::move(answer).error();
        if (answer->is_error()) {
            Error error = trouble(printable(answer->text), "check user= and password=");
            error.outcome = Outcome::misconfigured;
            return error;
        }
    }
    if (login.db != 0) {
        auto answer = reply(deadline);
        if (!answer) return std::move(answer).error();
        if (answer->is_error()) return trouble(printable(answer->text), "check db=, user= and password=");
    }
    return {};
}

Result<void> RedisLink::wait(short events, Deadline deadline) {
    for (;;) {
        pollfd waiting{socket_.get(), events, 0};
        const auto left = deadline.remaining();
        // Rounded up, so that it never spins during the last millisecond.
        const int ready = ::poll(&waiting, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 3'600'000)) + 1);
        if (ready > 0) return {};
        if (ready < 0 && errno != EINTR) return system_error(errno, "cannot wait for " + address_.text());
        if (deadline.expired())
            return trouble("no answer in time", settings_->tls.on
                                                    ? "is Redis running there with TLS, and not overloaded?"
                                                    : "is Redis running there, and not overloaded?");
    }
}

Result<void> RedisLink::send(std::string_view commands) {
    if (tls_) {
        if (auto put = tls_->put(commands, out_); !put) return trouble(put.error().why, put.error().hint);
    } else {
        out_ += commands;
    }
    return {};
}

Result<void> RedisLink::flush() {
    std::size_t sent = 0;
    while (sent < out_.size()) {
        const ssize_t size = ::send(socket_.get(), out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (size < 0) return trouble("the connection broke: " + system_error(errno, {}).why);
        sent += static_cast<std::size_t>(size);
    }
    out_.erase(0, sent);
    return {};
}

Result<bool> RedisLink::read_some() {
    std::array<char, 16384> buffer{};
    ssize_t size = 0;
    do {
        size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    } while (size < 0 && errno == EINTR);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (size < 0) return trouble("the connection broke: " + system_error(errno, {}).why);
    if (size == 0) return trouble("the server closed the connection");
    const std::string_view received(buffer.data(), static_cast<std::size_t>(size));
    if (!tls_) {
        reader_.feed(received);
        return true;
    }
    std::string plain;
    if (auto took = tls_->take(received, plain, out_); !took) return trouble(took.error().why, took.error().hint);
    reader_.feed(plain);
    return true;
}

Result<RedisReply> RedisLink::reply(Deadline deadline) {
    const Deadline silence = deadline.at_most(settings_->timeout);
    for (;;) {
        auto found = reader_.next();
        if (!found) return trouble(found.error().why, found.error().hint);
        if (*found) return **std::move(found);
        if (auto sent = flush(); !sent) return std::move(sent).error();
        const short events = out_.empty() ? POLLIN : POLLIN | POLLOUT;
        if (auto ready = wait(events, silence); !ready) return std::move(ready).error();
        if (auto read = read_some(); !read) return std::move(read).error();
    }
}

bool RedisLink::alive() {
    for (;;) {
        auto found = reader_.next();
        if (!found || *found) return false;
        auto read = read_some();
        if (!read) return false;
        if (!*read) return flush() && out_.empty();
    }
}

}  // namespace roost
