// Programs that are run for their effect, which nobody waits for: their words go to the log.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace roost {

struct Command {
    std::vector<std::string> argv;  // the program's path first
    std::chrono::milliseconds timeout{0};
    std::function<void()> failed = {};  // called when it could not be run, or not to a good end; may be empty
};

// Runs it and waits until it ends, its time is up and it has been killed with all that it started, or `stop` becomes
// true, which leaves it alone. No shell; of the environment only PATH; nothing on standard input. What it writes, the
// beginning of it, and any failure go to the log. Any thread.
void run_command(const Command& command, const std::atomic<bool>* stop = nullptr);

// The same in a process of its own, for a program that is about to end, and whose parent waits for its standard
// streams.
void run_detached(const Command& command);

// Runs commands one after the other in a thread of its own. Any thread.
class CommandQueue {
public:
    CommandQueue() = default;
    CommandQueue(const CommandQueue&) = delete;
    CommandQueue& operator=(const CommandQueue&) = delete;
    // Leaves a command that runs alone; those that wait are run in processes of their own.
    ~CommandQueue();

    // Drops it, and says so in the log, if too many wait already.
    void add(Command command);

private:
    void work();

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Command> waiting_;
    std::atomic<bool> stop_ = false;
    std::thread thread_;
};

}  // namespace roost
