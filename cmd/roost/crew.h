// Many users looked at at a time, and told of in the order in which they came.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace roost::cli {

// Threads that turn each Task into an Outcome by `work`, which many call at once; `tell` gets the outcomes in the order
// of the tasks, one at a time. Both must not throw. Memory: a few tasks and outcomes for each thread.
template <class Task, class Outcome>
class Crew {
public:
    Crew(unsigned threads, std::function<Outcome(Task)> work, std::function<void(Outcome)> tell)
        : most_(std::size_t{8} * threads), work_(std::move(work)), tell_(std::move(tell)) {
        for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
    }
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;
    ~Crew() { finish(); }

    // Waits while there is enough to do.
    void add(Task task) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return taken_ + tasks_.size() < told_ + most_; });
        tasks_.push_back(std::move(task));
        changed_.notify_all();
    }

    // Waits until all is done and told.
    void finish() {
        {
            const std::lock_guard guard(mutex_);
            ended_ = true;
            changed_.notify_all();
        }
        for (std::thread& thread : threads_) thread.join();
        threads_.clear();
    }

private:
    void run() {
        std::unique_lock lock(mutex_);
        while (true) {
            changed_.wait(lock, [&] { return !tasks_.empty() || ended_; });
            if (tasks_.empty()) return;
            Task task = std::move(tasks_.front());
            tasks_.pop_front();
            const std::uint64_t number = taken_++;
            lock.unlock();
            Outcome outcome = work_(std::move(task));
            lock.lock();
            done_.emplace(number, std::move(outcome));
            for (auto next = done_.find(told_); next != done_.end(); next = done_.find(told_)) {
                tell_(std::move(next->second));
                done_.erase(next);
                ++told_;
            }
            changed_.notify_all();
        }
    }

    std::size_t most_;
    std::function<Outcome(Task)> work_;
    std::function<void(Outcome)> tell_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Task> tasks_;
    std::map<std::uint64_t, Outcome> done_;  // that wait for one before them
    std::uint64_t taken_ = 0;
    std::uint64_t told_ = 0;
    bool ended_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace roost::cli
