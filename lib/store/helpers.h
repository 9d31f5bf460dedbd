// Threads that stand by to do several waits at once.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace roost {

// Runs the parts of a job at the same time, in the caller's thread and in helpers. Helpers start when a job first has
// use for them, and end with this object; where none can be started the caller does all parts. Any thread.
class Helpers {
public:
    explicit Helpers(std::size_t most) : most_(most) {}
    Helpers(const Helpers&) = delete;
    Helpers& operator=(const Helpers&) = delete;
    ~Helpers();

    // Calls `part` with 0 to parts - 1, once each, in any order; returns when all calls have. `part` must not throw.
    void run(std::size_t parts, const std::function<void(std::size_t)>& part);
    // Whether any helper has been started.
    bool started();

private:
    struct Job;
    void work();
    void start_up_to(std::size_t count);

    const std::size_t most_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::shared_ptr<Job>> jobs_;  // an entry for each helper that is wanted
    std::vector<std::thread> threads_;
    bool ending_ = false;
};

}  // namespace roost
