// The page that Prometheus reads.
#pragma once

#include "base/deadline.h"
#include "base/endpoint.h"
#include "base/fd.h"
#include "base/result.h"
#include "net/connection.h"
#include "net/listener.h"

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace roost {

// Serves http://HOST:PORT/metrics, one request for each connection, in a thread of its own until it is destroyed. (The
// exposer that comes with prometheus-cpp takes two seconds to close, which the daemon would wait for, and Debian's
// knows no IPv6.)
class MetricsPage {
public:
    // `text` makes the page's text, in that thread. Errors (misconfigured) name the endpoint.
    static Result<std::unique_ptr<MetricsPage>> open(const Endpoint& endpoint, std::function<std::string()> text);
    ~MetricsPage();
    MetricsPage(const MetricsPage&) = delete;
    MetricsPage& operator=(const MetricsPage&) = delete;

private:
    MetricsPage(std::vector<net::Listener> listeners, Fd stop, std::function<std::string()> text);
    struct Client {
        net::Connection connection;
        Deadline deadline;  // for all of it
        std::string request;
    };
    void run();
    // Reads on, and answers once the request is whole. Whether the client is done with.
    bool serve(Client& client);

    std::vector<net::Listener> listeners_;
    Fd stop_;  // an eventfd, readable from then on
    std::function<std::string()> text_;
    std::thread thread_;
};

}  // namespace roost
