#include "metrics_page.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <list>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace roost {
namespace {

// How long a client may take for its request and for taking the answer.
constexpr std::chrono::milliseconds kPatience{2000};
constexpr std::size_t kMostClients = 64;
// The longest request that is read: its first line says all.
constexpr std::size_t kLongest = 8192;

std::string answer(std::string_view status, std::string_view type, std::string_view body, bool with_body) {
    std::string out = "HTTP/1.1 ";
    out.append(status).append("\r\nContent-Type: ").append(type);
    out.append("\r\nContent-Length: ").append(std::to_string(body.size()));
    out.append("\r\nConnection: close\r\n\r\n");
    if (with_body) out.append(body);
    return out;
}

// RFC 9112 section 3.
std::string answer_to(std::string_view request, const std::function<std::string()>& text) {
    constexpr std::string_view kPlain = "text/plain; charset=utf-8";
    const std::string_view line = request.substr(0, request.find("\r\n"));
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last || !line.substr(last + 1).starts_with("HTTP/1."))
        return answer("400 Bad Request", kPlain, "This is no HTTP request.\n", true);
    const std::string_view method = line.substr(0, first);
    std::string_view target = line.substr(first + 1, last - first - 1);
    if (method != "GET" && method != "HEAD")
        return answer("405 Method Not Allowed\r\nAllow: GET, HEAD", kPlain, "There is nothing to write.\n", true);
    // The form that proxies are sent, section 3.2.2.
    constexpr std::string_view kScheme = "http://";
    if (lower(target.substr(0, kScheme.size())) == kScheme)
        target.remove_prefix(std::min(target.find('/', kScheme.size()), target.size()));
    if (target.substr(0, target.find('?')) != "/metrics")
        return answer("404 Not Found", kPlain, "Here is /metrics alone.\n", method == "GET");
    return answer("200 OK", "text/plain; version=0.0.4; charset=utf-8", text(), method == "GET");
}

}  // namespace

Result<std::unique_ptr<MetricsPage>> MetricsPage::open(const Endpoint& endpoint, std::function<std::string()> text) {
    auto listeners = net::Listener::open(endpoint, 0);
    if (!listeners) {
        Error error = std::move(listeners).error();
        error.what = "metrics.listen: " + error.what;
        return error;
    }
    Fd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stop) return system_error(errno, "cannot serve metrics");
    try {
        // NOLINTNEXTLINE: the constructor is private
        return std::unique_ptr<MetricsPage>(new MetricsPage(*std::move(listeners), std::move(stop), std::move(text)));
    } catch (const std::system_error& e) {
        return system_error(e.code().value(), "cannot start a thread for metrics.listen");
    }
}

MetricsPage::MetricsPage(std::vector<net::Listener> listeners, Fd stop, std::function<std::string()> text)
    : listeners_(std::move(listeners)), stop_(std::move(stop)), text_(std::move(text)), thread_([this] { run(); }) {}

MetricsPage::~MetricsPage() {
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
}

void MetricsPage::run() {
    std::list<Client> clients;
    while (true) {
        std::vector<pollfd> wanted{{stop_.get(), POLLIN, 0}};
        for (const net::Listener& listener : listeners_) wanted.push_back({listener.fd(), POLLIN, 0});
        for (const Client& client : clients) wanted.push_back({client.connection.fd(), POLLIN, 0});
        const auto left = clients.empty() ? -1 : static_cast<int>(clients.front().deadline.remaining().count());
        if (::poll(wanted.data(), wanted.size(), left) < 0 && errno != EINTR) return;
        if (wanted.front().revents != 0) return;

        const pollfd* at = wanted.data() + 1 + listeners_.size();
        for (auto client = clients.begin(); client != clients.end();) {
            const bool ready = at++->revents != 0;
            const bool done = (ready && serve(*client)) || client->deadline.expired();
            client = done ? clients.erase(client) : std::next(client);
        }
        for (net::Listener& listener : listeners_) {
            auto accepted = listener.accept();
            if (!accepted) {
                log(LogLevel::error, accepted.error().text());
                // It stays readable; a moment from now there may be descriptors again.
                if (::poll(wanted.data(), 1, static_cast<int>(kPatience.count())) > 0) return;
            } else if (*accepted) {
                // Those who have been silent the longest make room.
                if (clients.size() >= kMostClients) clients.pop_front();
                clients.push_back({net::Connection(std::move((*accepted)->fd), std::move((*accepted)->peer)),
                                   Deadline::in(kPatience),
                                   {}});
            }
        }
    }
}

bool MetricsPage::serve(Client& client) {
    std::array<char, 1024> buffer{};
    while (client.request.find("\r\n\r\n") == std::string::npos && client.request.size() < kLongest) {
        const net::Connection::Read read = client.connection.read(buffer);
        if (read.state == net::Connection::Read::State::end) return true;
        if (read.state != net::Connection::Read::State::data) return false;
        client.request.append(buffer.data(), read.size);
    }
    try {
        client.connection.write(answer_to(client.request, text_), client.deadline);
        client.connection.finish();
    } catch (const std::bad_alloc&) {  // the next one may be luckier
        log(LogLevel::error, "no memory for the metrics");
    }
    return true;
}

}  // namespace roost
