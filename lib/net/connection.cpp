#include "net/connection.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

namespace roost::net {
namespace {

bool would_block(int sys) { return sys == EAGAIN || sys == EWOULDBLOCK; }

}  // namespace

Connection::Connection(Fd socket, Peer peer) : in_(std::move(socket)), blocking_(false), peer_(std::move(peer)) {}

Connection::Connection(Fd in, Fd out, Peer peer)
    : in_(std::move(in)), out_(std::move(out)), blocking_(true), peer_(std::move(peer)) {}

bool Connection::ready(int fd, short events, Deadline deadline) const {
    while (true) {
        pollfd wanted{fd, events, 0};
        const auto left = std::min<std::chrono::milliseconds::rep>(deadline.remaining().count(), INT_MAX);
        const int got = ::poll(&wanted, 1, static_cast<int>(left));
        if (got > 0) return true;
        if (got == 0 ? deadline.expired() : errno != EINTR) return false;
    }
}

Connection::Read Connection::read(std::span<char> buffer) {
    using State = Read::State;
    // Of a descriptor that others share we must not change the mode, so it may block.
    if (blocking_ && !wait(Deadline::in(std::chrono::milliseconds(0)))) return {State::later, 0};
    if (tls_) {
        const TlsStream::Step step = tls_->read(buffer);
        if (step.size > 0) return {State::data, step.size};
        return {step.wants == TlsStream::Wants::nothing ? State::end : State::later, 0};
    }
    while (true) {
        const ssize_t got = ::read(in_.get(), buffer.data(), buffer.size());
        if (got > 0) return {State::data, static_cast<std::size_t>(got)};
        if (got < 0 && errno == EINTR) continue;
        return {got < 0 && would_block(errno) ? State::later : State::end, 0};
    }
}

bool Connection::wait(Deadline deadline) { return (tls_ && tls_->pending() > 0) || ready(in_.get(), POLLIN, deadline); }

bool Connection::write(std::string_view bytes, Deadline deadline) {
    while (!bytes.empty()) {
        if (tls_) {
            const TlsStream::Step step = tls_->write(bytes);
            bytes.remove_prefix(step.size);
            if (step.size > 0) continue;
            if (step.wants == TlsStream::Wants::nothing) return false;
            if (!ready(in_.get(), step.wants == TlsStream::Wants::read ? POLLIN : POLLOUT, deadline)) return false;
            continue;
        }
        // A pipe that polls as writable takes this many bytes without blocking, pipe(7).
        const std::string_view piece = blocking_ ? bytes.substr(0, PIPE_BUF) : bytes;
        if (blocking_ && !ready(out_fd(), POLLOUT, deadline)) return false;
        const ssize_t put = ::write(out_fd(), piece.data(), piece.size());
        if (put >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(put));
        } else if (would_block(errno)) {
            if (!ready(out_fd(), POLLOUT, deadline)) return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

bool Connection::can_start_tls() const {
    if (!out_) return true;
    struct stat in {};
    struct stat out {};
    return ::fstat(in_.get(), &in) == 0 && ::fstat(out_.get(), &out) == 0 && S_ISSOCK(in.st_mode) &&
           in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

Result<void> Connection::start_tls(TlsContext& context) {
    auto stream = TlsStream::make(context, in_.get());
    if (!stream) return std::move(stream).error();
    tls_ = *std::move(stream);
    return {};
}

std::size_t Connection::waiting() const {
    int count = 0;
    if (::ioctl(in_.get(), FIONREAD, &count) != 0 || count < 0) count = 0;
    return static_cast<std::size_t>(count) + (tls_ ? tls_->pending() : 0);
}

bool Connection::gone() const {
    pollfd end{in_.get(), POLLRDHUP, 0};
    return ::poll(&end, 1, 0) > 0 && (end.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void Connection::finish() {
    if (tls_) tls_->finish();
    ::shutdown(out_fd(), SHUT_WR);
    // Closing with unread input would make the kernel reset the connection and the peer lose our last words.
    std::array<char, 4096> rest;
    for (int i = 0; !blocking_ && i < 64 && ::read(in_.get(), rest.data(), rest.size()) > 0; ++i) {
    }
}

void Connection::abort() { ::shutdown(in_.get(), SHUT_RDWR); }

}  // namespace roost::net
