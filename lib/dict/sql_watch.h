// Ends waits that no client library bounds.
#pragma once

#include "base/deadline.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace roost {

// A thread that shuts a connection down where a deadline passes while it is in use, so that whoever waits for its
// server gets an error. It is started at the first use. One use at a time.
class SqlWatch {
public:
    SqlWatch() = default;
    ~SqlWatch();
    SqlWatch(const SqlWatch&) = delete;
    SqlWatch& operator=(const SqlWatch&) = delete;

    // `socket` stays open until end(); -1: there is nothing to shut down.
    void begin(int socket, Deadline deadline);
    // True: the deadline passed, and the connection is of no more use.
    bool end();

private:
    void run();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<Deadline> deadline_;  // of a use that goes on
    int socket_ = -1;
    bool shut_ = false;
    bool finish_ = false;
    std::thread thread_;
};

}  // namespace roost
