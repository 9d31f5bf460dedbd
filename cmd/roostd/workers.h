// Threads that appear as work does.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <span>

#include "base/deadline.h"
#include "base/result.h"

namespace roost {

// Runs each piece of work in a thread of its own, one that has become idle or else a new one: work may wait. Their
// stacks are small. Any thread.
class Workers {
public:
    // Work gets a buffer that is its own until it returns. It must not throw.
    using Work = std::function<void(std::span<char> buffer)>;

    Workers() = default;
    // Waits for the idle threads to end. All work must have ended, see wait_until_idle.
    ~Workers();
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    // When no thread can be made, the work waits for one that becomes idle; an Error if there is none at all.
    Result<void> run(Work work);
    // False: some work still runs at the deadline.
    bool wait_until_idle(Deadline deadline);

private:
    static void* enter(void* self);
    void serve();
    int start_thread();

    std::mutex mutex_;
    std::condition_variable wanted_;
    std::condition_variable changed_;
    std::deque<Work> queue_;
    std::size_t threads_ = 0;
    std::size_t idle_ = 0;
    bool ending_ = false;
};

}  // namespace roost
