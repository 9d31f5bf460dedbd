#include "dict/proxy_dict.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>

#include "base/fd.h"
#include "base/text.h"
#include "dict/proxy_protocol.h"
#include "dict/uri.h"

namespace roost {
namespace {

std::string last_error() {
    return std::strerror(errno);  // NOLINT(concurrency-mt-unsafe): glibc's is
}

using namespace std::chrono_literals;

constexpr std::array<std::string_view, 2> kProxyWords{"SOCKET", "NAME"};
constexpr std::array<std::string_view, 1> kProxyKeys{"version"};

// Commands that are sent before their replies are read. Replies to so many fit into the socket's buffer, so that
// neither side can wait for the other to read.
constexpr std::size_t kBatch = 100;
static_assert(kBatch < kProxyMostPending);

constexpr auto kLogHint = "Dovecot's log says more";

class ProxyDict final : public Dict {
public:
    ProxyDict(const DictUri& uri, unsigned major)
        : name_(uri.name()), path_(uri.word(0)), dict_(uri.word(1)), given_major_(major), major_(major) {}

    Result<std::vector<std::optional<std::string>>> get(std::string_view user, std::span<const std::string> keys,
                                                        Deadline deadline) override;
    Result<void> commit(std::span<const DictTransaction> transactions, Deadline deadline) override;
    Result<void> each(std::string_view, const std::function<bool(std::string_view, std::string_view)>&,
                      Deadline) override {
        return config_error("cannot list the users in the dict " + name_,
                            "Dovecot's dict server is asked for one user at a time",
                            "list them in the database behind it, by redis:, sqlite:, pgsql: or mysql:");
    }
    const std::string& name() const override { return name_; }

private:
    using Command = ProxyReader::Command;

    // The replies to the `count` commands of `lines`. After an Error the connection is closed.
    Result<std::vector<ProxyReply>> ask(const std::string& lines, Command command, std::size_t count,
                                        Deadline deadline);
    // A connection that is good for `user`.
    Result<void> ready(std::string_view user, Deadline deadline);
    // True: the server took this version and has the dict. False: it closed the connection.
    Result<bool> greet(unsigned major, std::string_view user, Deadline deadline);
    Result<void> connect(Deadline deadline);
    Result<void> send(std::string_view lines, Deadline deadline);
    // False: the server closed the connection.
    Result<bool> receive(ProxyReader& reader, Deadline deadline);
    Result<void> wait(short events, Deadline deadline) const;
    // Nothing is under way, so whatever is to be read is the connection's end.
    bool closed_by_server() const;
    Error failed(std::string why, std::string hint = kLogHint) const {
        return {Outcome::trouble, "cannot use the dict " + name_, std::move(why), std::move(hint), 0};
    }

    Error too_long() const {
        return {Outcome::malformed,
                "cannot use the dict " + name_,
                "Dovecot's dict server takes no key and value of more than 64 KiB together",
                {},
                0};
    }

    const std::string name_;
    const std::string path_;
    const std::string dict_;
    const unsigned given_major_;  // 0: to be found out

    std::timed_mutex mutex_;  // held for the rest
    unsigned major_;          // of the last server that answered; 0: none did yet
    Fd socket_;
    std::string user_;  // whom a connection of major 2 is for
    unsigned next_id_ = 0;
};

Result<void> ProxyDict::wait(short events, Deadline deadline) const {
    while (true) {
        pollfd wanted{socket_.get(), events, 0};
        const auto left = std::min<std::chrono::milliseconds::rep>(deadline.remaining().count(), INT_MAX);
        const int got = ::poll(&wanted, 1, static_cast<int>(left));
        if (got > 0) return {};
        if (got < 0 && errno != EINTR) return failed(last_error());
        if (got == 0 && deadline.expired()) return failed("no answer in time");
    }
}

bool ProxyDict::closed_by_server() const {
    pollfd wanted{socket_.get(), POLLIN, 0};
    return ::poll(&wanted, 1, 0) != 0;
}

Result<void> ProxyDict::connect(Deadline deadline) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket_) return failed(last_error());
    // A Unix socket whose queue is full says so at once.
    while (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return failed(last_error(), "does Dovecot run, and may we use its socket?");
        if (deadline.expired()) return failed("no answer in time");
        std::this_thread::sleep_for(std::min(deadline.remaining(), 10ms));
    }
    return {};
}

Result<void> ProxyDict::send(std::string_view lines, Deadline deadline) {
    while (!lines.empty()) {
        const ssize_t put = ::send(socket_.get(), lines.data(), lines.size(), MSG_NOSIGNAL);
        if (put >= 0) {
            lines.remove_prefix(static_cast<std::size_t>(put));
        } else if (errno == EAGAIN) {
            if (auto writable = wait(POLLOUT, deadline); !writable) return writable;
        } else if (errno != EINTR) {
            return failed(last_error());
        }
    }
    return {};
}

Result<bool> ProxyDict::receive(ProxyReader& reader, Deadline deadline) {
    std::array<char, 16384> buffer{};
    while (!reader.complete()) {
        if (auto readable = wait(POLLIN, deadline); !readable) return std::move(readable).error();
        const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET)) return false;
        if (got < 0 && errno != EAGAIN && errno != EINTR) return failed(last_error());
        if (got > 0 && !reader.feed({buffer.data(), static_cast<std::size_t>(got)}))
            return failed("its server does not speak Dovecot's dict protocol", "check the path of the socket");
    }
    return true;
}

Result<bool> ProxyDict::greet(unsigned major, std::string_view user, Deadline deadline) {
    auto connected = connect(deadline);
    if (!connected) return std::move(connected).error();
    ProxyReader reader;
    reader.expect(Command::commit);
    // Where the server closes at once, it may be that not all can be written.
    auto sent =
        send(proxy_hello(major, dict_, user) + proxy_transaction(major, ++next_id_, {std::string(user), {}}), deadline);
    if (!sent && deadline.expired()) return std::move(sent).error();
    return receive(reader, deadline);
}

Result<void> ProxyDict::ready(std::string_view user, Deadline deadline) {
    if (socket_ && !closed_by_server() && (major_ != 2 || user_ == user)) return {};
    std::vector<unsigned> majors(kProxyMajors.begin(), kProxyMajors.end());
    if (given_major_ != 0)
        majors = {given_major_};
    else
        std::stable_partition(majors.begin(), majors.end(), [this](unsigned major) { return major == major_; });
    for (const unsigned major : majors) {
        auto greeted = greet(major, user, deadline);
        if (greeted && *greeted) {
            major_ = major;
            user_ = user;
            return {};
        }
        socket_.reset();
        if (!greeted) return std::move(greeted).error();
    }
    return failed("its server closes the connection",
                  "is a dict '" + dict_ + "' in the dict section of Dovecot's configuration? Its log says more");
}

Result<std::vector<ProxyReply>> ProxyDict::ask(const std::string& lines, Command command, std::size_t count,
                                               Deadline deadline) {
    const auto whole = [&]() -> Result<std::vector<ProxyReply>> {
        auto sent = send(lines, deadline);
        if (!sent) return std::move(sent).error();
        ProxyReader reader;
        for (std::size_t i = 0; i < count; ++i) reader.expect(command);
        auto received = receive(reader, deadline);
        if (!received) return std::move(received).error();
        if (!*received) return failed("its server closed the connection");
        return reader.take();
    };
    auto replies = whole();
    if (!replies) socket_.reset();
    return replies;
}

Result<std::vector<std::optional<std::string>>> ProxyDict::get(std::string_view user, std::span<const std::string> keys,
                                                               Deadline deadline) {
    const std::unique_lock lock(mutex_, deadline.remaining());
    if (!lock) return failed("other calls took all the time", {});
    std::vector<std::optional<std::string>> values;
    while (!keys.empty()) {
        const auto batch = keys.first(std::min(keys.size(), kBatch));
        keys = keys.subspan(batch.size());
        if (auto good = ready(user, deadline); !good) return std::move(good).error();
        std::string lines;
        for (const std::string& key : batch) lines += proxy_lookup(major_, user, key);
        if (!proxy_fits(lines)) return too_long();
        auto replies = ask(lines, Command::lookup, batch.size(), deadline);
        if (!replies) return std::move(replies).error();
        for (ProxyReply& reply : *replies) {
            if (reply.kind == ProxyReply::Kind::failed) return failed("its server says: " + printable(reply.text));
            if (reply.kind == ProxyReply::Kind::ok)
                values.emplace_back(std::move(reply.text));
            else
                values.emplace_back(std::nullopt);
        }
    }
    return values;
}

Result<void> ProxyDict::commit(std::span<const DictTransaction> transactions, Deadline deadline) {
    const std::unique_lock lock(mutex_, deadline.remaining());
    if (!lock) return failed("other calls took all the time", {});
    while (!transactions.empty()) {
        // The server may do what it has at once in any order, so no user is twice in a batch.
        std::set<std::string_view> users;
        if (auto good = ready(transactions.front().user, deadline); !good) return good;
        std::string lines;
        while (users.size() < transactions.size() && users.size() < (major_ == 2 ? 1 : kBatch)) {
            const DictTransaction& next = transactions[users.size()];
            if (!users.insert(next.user).second) break;
            lines += proxy_transaction(major_, ++next_id_, next);
        }
        transactions = transactions.subspan(users.size());
        if (!proxy_fits(lines)) return too_long();
        auto replies = ask(lines, Command::commit, users.size(), deadline);
        if (!replies) return std::move(replies).error();
        for (const ProxyReply& reply : *replies) {
            if (reply.kind == ProxyReply::Kind::failed) return failed("its server says: " + printable(reply.text));
            if (reply.kind == ProxyReply::Kind::uncertain)
                return failed("its server does not know whether it wrote: " + printable(reply.text));
        }
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<Dict>> make_proxy_dict(std::string_view text) {
    auto uri = DictUri::parse(text, {kProxyWords, kProxyKeys});
    if (!uri) return std::move(uri).error();
    if (!uri->word(0).starts_with('/') || uri->word(0).size() >= sizeof(sockaddr_un::sun_path))
        return uri->wrong(
            "SOCKET is not an absolute path of at most " + std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes",
            "Dovecot's is base_dir/dict, as /run/dovecot/dict");
    auto major = uri->number("version", 0, kProxyMajors.back(), kProxyMajors.front());
    if (!major) return std::move(major).error();
    return std::unique_ptr<Dict>(std::make_unique<ProxyDict>(*uri, static_cast<unsigned>(*major)));
}

}  // namespace roost
