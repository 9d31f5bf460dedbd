// A load generator for LMTP: many sessions at once, from one thread, each as an MTA would speak: MAIL, RCPT and DATA in
// one go, the message when all is accepted, the next message after the verdict.
//
//   roost-bench-lmtp ENDPOINT SESSIONS SECONDS MESSAGE USERS [FIRST [RATE]]
//
// ENDPOINT is unix:PATH or a port on 127.0.0.1; recipients are user1@example.org to userUSERS@example.org in turn,
// beginning with userFIRST. Prints "messages/s median-ms p99-ms messages bytes max-ms", where the times are those from
// the message's last byte to the verdict. With RATE so many messages a second are due, whichever session is free takes
// the next, and the times are those from when the message was due. Any refusal ends it with status 1, and the end of a
// connection with status 2, once what came before has been printed.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& why) {
    std::fprintf(stderr, "roost-bench-lmtp: %s\n", why.c_str());
    std::exit(1);
}

int connect_to(const std::string& endpoint) {
    int fd = -1;
    int done = -1;
    if (endpoint.starts_with("unix:")) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (endpoint.size() - 5 >= sizeof address.sun_path) die("the path is too long");
        std::strcpy(address.sun_path, endpoint.c_str() + 5);
        fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        do done = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
        while (done != 0 && errno == EAGAIN);  // its backlog is full for a moment
    } else {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(endpoint.c_str())));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        done = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
        const int on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (done != 0) die("cannot connect to " + endpoint + ": " + std::strerror(errno));
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

// The message as it travels: CRLF line ends, dots stuffed, the final dot.
std::string wire_form(const std::string& text) {
    std::string out;
    bool begin = true;
    for (const char c : text) {
        if (begin && c == '.') out += '.';
        if (c == '\n') out += '\r';
        out += c;
        begin = c == '\n';
    }
    if (!begin) out += "\r\n";
    return out + ".\r\n";
}

struct Session {
    int fd = -1;
    std::string in;
    std::string envelope;
    std::string_view out;
    std::size_t sent = 0;
    int replies = 0;           // that are still to come before the next step
    std::uint32_t events = 0;  // that it is watched for
    enum class Step { greeting, hello, envelope, data, quit } step = Step::greeting;
    Clock::time_point began;
};

double quantile(std::vector<double>& values, double which) {
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(which * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), at, values.end());
    return *at;
}

struct Load {
    std::string message;
    unsigned long users = 1;
    unsigned long next = 0;
    Clock::time_point began;
    Clock::time_point until;
    Clock::duration interval{};  // between messages; 0: as fast as it goes
    Clock::time_point due;       // the next message, if there is an interval
    std::vector<Session*> idle;  // that wait for it
    std::vector<double> milliseconds;
    unsigned long running = 0;
    int poll = ::epoll_create1(EPOLL_CLOEXEC);

    void print() {
        const double took = std::chrono::duration<double>(Clock::now() - began).count();
        const auto count = milliseconds.size();
        if (count == 0) die("no message was delivered");
        std::printf("%.0f %.2f %.2f %zu %zu %.2f\n", static_cast<double>(count) / took, quantile(milliseconds, 0.5),
                    quantile(milliseconds, 0.99), count, message.size(), quantile(milliseconds, 1));
    }
    [[noreturn]] void end(int status, const std::string& why) {
        std::fprintf(stderr, "roost-bench-lmtp: %s\n", why.c_str());
        print();
        std::exit(status);
    }

    void say(Session& session, std::string_view text, int replies, Session::Step step) {
        session.out = text;
        session.sent = 0;
        session.replies = replies;
        session.step = step;
        send(session);
    }
    // Only who has more to send than there is room for is told of room: each of the server's reads would wake us.
    void watch(Session& session, std::uint32_t events) {
        if (session.events == events) return;
        epoll_event event{};
        event.events = events;
        event.data.ptr = &session;
        ::epoll_ctl(poll, session.events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, session.fd, &event);
        session.events = events;
    }
    void send(Session& session) {
        while (session.sent < session.out.size()) {
            const ssize_t put =
                ::send(session.fd, session.out.data() + session.sent, session.out.size() - session.sent, MSG_NOSIGNAL);
            if (put < 0 && errno == EAGAIN) return watch(session, EPOLLIN | EPOLLOUT);
            if (put < 0) end(2, std::string("cannot send: ") + std::strerror(errno));
            session.sent += static_cast<std::size_t>(put);
        }
        watch(session, EPOLLIN);
        if (interval.count() == 0) session.began = Clock::now();
    }
    // When something is to happen that no server begins.
    Clock::time_point next_event() const {
        return idle.empty() ? Clock::now() + std::chrono::minutes(1) : std::min(due, until);
    }
    void begin_due() {
        while (!idle.empty() && (Clock::now() >= until || due <= Clock::now())) {
            Session& session = *idle.back();
            idle.pop_back();
            session.began = due;
            if (Clock::now() < until) due += interval;
            begin_message(session);
        }
    }
    void begin_message(Session& session) {
        // A client that has read the last verdict says so; else it may be taken for one that will repeat the message.
        if (Clock::now() >= until) return say(session, "QUIT\r\n", 1, Session::Step::quit);
        const std::string user = "user" + std::to_string(next++ % users + 1) + "@example.org";
        session.envelope = "MAIL FROM:<sender@example.com>\r\nRCPT TO:<" + user + ">\r\nDATA\r\n";
        say(session, session.envelope, 3, Session::Step::envelope);
    }
    void take_next(Session& session) {
        if (interval.count() == 0) return begin_message(session);
        idle.push_back(&session);
        begin_due();
    }
    void on_replies(Session& session) {
        switch (session.step) {
            case Session::Step::greeting:
                say(session, "LHLO bench.example.com\r\n", 1, Session::Step::hello);
                break;
            case Session::Step::hello:
                take_next(session);
                break;
            case Session::Step::envelope:
                say(session, message, 1, Session::Step::data);
                break;
            case Session::Step::data:
                milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - session.began).count());
                take_next(session);
                break;
            case Session::Step::quit:
                ::close(session.fd);
                session.fd = -1;
                --running;
                break;
        }
    }
    void receive(Session& session) {
        char buffer[4096];
        const ssize_t got = ::recv(session.fd, buffer, sizeof buffer, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) end(2, "the server closed the connection");
        session.in.append(buffer, static_cast<std::size_t>(got));
        std::size_t end = 0;
        while ((end = session.in.find('\n')) != std::string::npos) {
            if (session.in[0] != '2' && session.in[0] != '3') this->end(1, "refused: " + session.in.substr(0, end));
            const bool last = session.in[3] != '-';
            session.in.erase(0, end + 1);
            if (last) --session.replies;
        }
        if (session.replies == 0) on_replies(session);
    }
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 6) die("usage: roost-bench-lmtp ENDPOINT SESSIONS SECONDS MESSAGE USERS [FIRST [RATE]]");
    Load load;
    const std::string endpoint = argv[1];
    const auto sessions_wanted = std::strtoul(argv[2], nullptr, 10);
    const double seconds = std::strtod(argv[3], nullptr);
    std::ifstream file(argv[4], std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    load.message = wire_form(text.str());
    load.users = std::max(std::strtoul(argv[5], nullptr, 10), 1UL);
    if (argc > 6) load.next = std::strtoul(argv[6], nullptr, 10) - 1;
    const double rate = argc > 7 ? std::strtod(argv[7], nullptr) : 0;

    std::vector<std::unique_ptr<Session>> sessions;
    for (unsigned long i = 0; i < sessions_wanted; ++i) {
        auto session = std::make_unique<Session>();
        session->fd = connect_to(endpoint);
        session->replies = 1;
        load.watch(*session, EPOLLIN);
        sessions.push_back(std::move(session));
    }
    load.running = sessions.size();
    const auto span = [](double length) {
        return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(length));
    };
    load.began = Clock::now();
    load.until = load.began + span(seconds);
    load.due = load.began;
    if (rate > 0) load.interval = span(1 / rate);
    std::vector<epoll_event> events(256);
    while (load.running > 0) {
        const auto patience = std::max(load.next_event() - Clock::now(), Clock::duration{});
        const timespec wait{std::chrono::duration_cast<std::chrono::seconds>(patience).count(),
                            std::chrono::nanoseconds(patience).count() % 1'000'000'000};
        const int ready = ::epoll_pwait2(load.poll, events.data(), static_cast<int>(events.size()), &wait, nullptr);
        if (ready <= 0 && load.idle.empty()) load.end(1, "no answer for a minute");
        for (int i = 0; i < ready; ++i) {
            Session& session = *static_cast<Session*>(events[static_cast<std::size_t>(i)].data.ptr);
            const std::uint32_t happened = events[static_cast<std::size_t>(i)].events;
            if ((happened & EPOLLOUT) != 0) load.send(session);
            if ((happened & ~EPOLLOUT) != 0) load.receive(session);
        }
        load.begin_due();
    }
    load.print();
    return 0;
}
