#include "workers.h"

#include <openssl/crypto.h>
#include <pthread.h>

#include <vector>

namespace roost {
namespace {

// The most that a delivery needs are some buffers of 32 KiB; what is not touched takes no memory.
constexpr std::size_t kStack = 1024UL * 1024;
constexpr std::size_t kBuffer = 64UL * 1024;
// An idle thread beyond these ends.
constexpr std::size_t kSpare = 16;

}  // namespace

Workers::~Workers() {
    std::unique_lock lock(mutex_);
    ending_ = true;
    wanted_.notify_all();
    changed_.wait(lock, [&] { return threads_ == 0; });
}

int Workers::start_thread() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStack);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread{};
    const int code = ::pthread_create(&thread, &attributes, enter, this);
    pthread_attr_destroy(&attributes);
    return code;
}

Result<void> Workers::run(Work work) {
    const std::lock_guard lock(mutex_);
    if (idle_ <= queue_.size()) {
        ++threads_;
        if (const int code = start_thread(); code != 0) {
            --threads_;
            if (threads_ == 0) return system_error(code, "cannot start a thread");
        }
    }
    queue_.push_back(std::move(work));
    wanted_.notify_one();
    return {};
}

bool Workers::wait_until_idle(Deadline deadline) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, deadline.remaining(), [&] { return idle_ == threads_ && queue_.empty(); });
}

void* Workers::enter(void* self) {
    static_cast<Workers*>(self)->serve();
    return nullptr;
}

void Workers::serve() {
    std::vector<char> buffer(kBuffer);
    std::unique_lock lock(mutex_);
    while (true) {
        if (queue_.empty()) {
            if (idle_ >= kSpare || ending_) break;
            ++idle_;
            changed_.notify_all();
            wanted_.wait(lock, [&] { return !queue_.empty() || ending_; });
            --idle_;
            continue;
        }
        const Work work = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        work(buffer);
        lock.lock();
    }
    OPENSSL_thread_stop();  // what it keeps for a thread would go only after the thread is counted as ended
    --threads_;
    changed_.notify_all();  // under the lock: the object may go as soon as it is free
}

}  // namespace roost
