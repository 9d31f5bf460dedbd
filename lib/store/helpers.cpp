#include "store/helpers.h"

#include <algorithm>
#include <csignal>
#include <system_error>
#include <utility>

namespace roost {

// Shared, because a helper may come to it when its parts are all taken and the caller has gone on.
struct Helpers::Job {
    std::size_t parts = 0;
    std::size_t next = 0;
    std::size_t done = 0;
    const std::function<void(std::size_t)>* part = nullptr;  // valid while done < parts
    std::mutex mutex;
    std::condition_variable all_done;

    // Takes parts until none is left.
    void take_part() {
        std::unique_lock lock(mutex);
        while (next < parts) {
            const std::size_t mine = next++;
            lock.unlock();
            (*part)(mine);
            lock.lock();
            if (++done == parts) all_done.notify_all();
        }
    }
};

Helpers::~Helpers() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
        wake_.notify_all();
    }
    for (std::thread& thread : threads_) thread.join();
}

bool Helpers::started() {
    const std::lock_guard lock(mutex_);
    return !threads_.empty();
}

void Helpers::run(std::size_t parts, const std::function<void(std::size_t)>& part) {
    const auto job = std::make_shared<Job>();
    job->parts = parts;
    job->part = &part;
    if (parts > 1) {
        const std::lock_guard lock(mutex_);
        const std::size_t wanted = std::min(parts - 1, most_);
        for (std::size_t i = 0; i < wanted; ++i) jobs_.push_back(job);
        start_up_to(std::min(jobs_.size(), most_));
        wake_.notify_all();
    }
    job->take_part();
    std::unique_lock lock(job->mutex);
    job->all_done.wait(lock, [&] { return job->done == job->parts; });
}

void Helpers::start_up_to(std::size_t count) {
    // Signals are for the program's own threads.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        while (threads_.size() < count) threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {  // no more threads to be had: those that are there do it
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Helpers::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        wake_.wait(lock, [&] { return ending_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        const auto job = std::move(jobs_.front());
        jobs_.pop_front();
        lock.unlock();
        job->take_part();
        lock.lock();
    }
}

}  // namespace roost
