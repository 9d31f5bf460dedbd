#include "server.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>

#include "base/log.h"
#include "lmtp_conversation.h"
#include "policy_conversation.h"

namespace roost {
namespace {

using std::chrono::milliseconds;

// How long a worker stays with a connection that has gone quiet. An MTA's next command comes sooner than that, and
// costs no change of threads then.
constexpr milliseconds kPatience{100};
// How often connections that wait are looked at.
constexpr milliseconds kRound{1000};
constexpr milliseconds kQuickRound{20};
constexpr int kAcceptAtOnce = 64;

}  // namespace

Server::Server(Service& service, int signals, Reload reload)
    : service_(service), signals_(signals), reload_(std::move(reload)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = signals_;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, signals_, &event);
}

Server::~Server() = default;

Result<void> Server::listen(std::vector<Door> doors) {
    doors_ = std::move(doors);  // closing takes a descriptor out of the set
    for (const auto& [listener, speaks] : doors_) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = listener.fd();
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener.fd(), &event) != 0 && errno != EEXIST)
            return system_error(errno, "cannot wait for connections on " + listener.name());
    }
    return {};
}

void Server::watch_doors(bool on) {
    accepting_ = on;
    for (const auto& [listener, speaks] : doors_) {
        epoll_event event{};
        if (on) event.events = EPOLLIN;
        event.data.fd = listener.fd();
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener.fd(), &event);
    }
}

bool Server::run(const std::function<void()>& on_stop) {
    bool stop = false;
    bool stop_now = false;
    Deadline round = Deadline::in(kRound);
    while (!stop) {
        const bool alone = [&] {
            const std::lock_guard lock(mutex_);
            return clients_.empty() && accepting_;
        }();
        handle_events(alone ? -1 : static_cast<int>(kRound.count()), stop, stop_now);
        if (!round.expired()) continue;
        round = Deadline::in(kRound);
        if (!accepting_) watch_doors(true);
        look_after();
    }
    on_stop();
    service_.stop();
    doors_.clear();
    const Deadline deadline = Deadline::in(service_.setup()->lmtp.shutdown_timeout);
    while (!stop_now && !deadline.expired()) {
        look_after();
        {
            const std::lock_guard lock(mutex_);
            if (clients_.empty()) break;
        }
        handle_events(static_cast<int>(kQuickRound.count()), stop, stop_now);
    }
    const std::lock_guard lock(mutex_);
    std::size_t cut = 0;
    for (auto each = clients_.begin(); each != clients_.end();) {
        ++cut;
        if (each->second->busy) {
            each->second->talk->connection().abort();
            ++each;
        } else {
            each->second->talk->shut_down();
            each = clients_.erase(each);
        }
    }
    if (cut != 0) log(LogLevel::warning, "stopped with " + std::to_string(cut) + " transactions under way");
    return clients_.empty();
}

void Server::handle_events(int timeout_ms, bool& stop, bool& stop_now) {
    std::array<epoll_event, 64> events{};
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
    bool signalled = false;
    for (int i = 0; i < count; ++i) {
        const int fd = events.at(static_cast<std::size_t>(i)).data.fd;
        if (fd == signals_) {
            signalled = true;
            continue;
        }
        bool listening = false;
        for (Door& door : doors_) {
            if (door.listener.fd() != fd) continue;
            accept(door);
            listening = true;
            break;
        }
        if (!listening) wake(fd);
    }
    // Last: a reload closes descriptors that the other events may be of, and no event comes twice.
    signalfd_siginfo info{};
    if (!signalled || ::read(signals_, &info, sizeof info) != sizeof info) return;
    if (info.ssi_signo == SIGHUP) {
        if (!stop) reload_();
    } else {
        stop_now = stop;
        stop = true;
    }
}

void Server::accept(Door& door) {
    for (int i = 0; i < kAcceptAtOnce; ++i) {
        auto accepted = door.listener.accept();
        if (!accepted) {
            log(LogLevel::error, accepted.error().text());
            return watch_doors(false);
        }
        if (!*accepted) return;
        welcome(**std::move(accepted), door.speaks);
    }
}

void Server::welcome(net::Listener::Accepted accepted, Door::Speaks speaks) {
    net::Connection connection(std::move(accepted.fd), std::move(accepted.peer));
    const int fd = connection.fd();
    const bool lmtp = speaks == Door::Speaks::lmtp;
    const auto setup = service_.setup();
    const std::lock_guard lock(mutex_);
    std::size_t& count = counts_.at(static_cast<std::size_t>(speaks));
    if (count >= (lmtp ? setup->lmtp.max_connections : setup->policy.max_connections)) {
        service_.metrics().refused();
        log(LogLevel::warning,
            "peer=" + connection.peer().text + " refused: " + (lmtp ? "lmtp" : "policy") + ".max-connections are open");
        if (lmtp) connection.write(lmtp::Session::busy_greeting("too many connections"), Deadline::in(milliseconds(0)));
        connection.finish();
        return;
    }
    std::unique_ptr<Conversation> talk;
    if (lmtp)
        talk = std::make_unique<LmtpConversation>(service_, std::move(connection));
    else
        talk = std::make_unique<PolicyConversation>(service_, std::move(connection));
    auto client = std::make_unique<Client>(std::move(talk), count);
    if (!client->talk->greet()) return;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLONESHOT;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return;
    clients_[fd] = std::move(client);
}

// A connection has something to say.
void Server::wake(int fd) {
    Client* client = nullptr;
    {
        const std::lock_guard lock(mutex_);
        const auto found = clients_.find(fd);
        if (found == clients_.end() || found->second->busy) return;
        client = found->second.get();
        client->busy = true;
    }
    auto running = workers_.run([this, client](std::span<char> buffer) { serve(*client, buffer); });
    if (running) return;
    log(LogLevel::error, running.error().text());
    const std::lock_guard lock(mutex_);
    clients_.erase(fd);
}

void Server::serve(Client& client, std::span<char> buffer) {
    const int fd = client.talk->connection().fd();
    auto next = Conversation::Next::end;
    try {
        next = client.talk->go_on(buffer, kPatience);
    } catch (const std::exception& e) {  // out of memory: this peer tries again later
        log(LogLevel::error, std::string("a session failed: ") + e.what());
    }
    const std::lock_guard lock(mutex_);
    client.busy = false;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLONESHOT;
    event.data.fd = fd;
    if (next == Conversation::Next::wait && ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return;
    clients_.erase(fd);
}

// Ends the conversations that wait in vain.
void Server::look_after() {
    const std::lock_guard lock(mutex_);
    for (auto each = clients_.begin(); each != clients_.end();) {
        Client& client = *each->second;
        const bool late = !client.busy && client.talk->deadline().expired();
        const bool unwanted = !client.busy && service_.stopping() && client.talk->idle();
        if (!late && !unwanted) {
            ++each;
            continue;
        }
        if (unwanted) {
            client.talk->shut_down();
        } else {
            client.talk->time_out();
        }
        each = clients_.erase(each);
    }
}

}  // namespace roost
