#include "dict/sql_watch.h"

#include <sys/socket.h>

namespace roost {

SqlWatch::~SqlWatch() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        finish_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void SqlWatch::begin(int socket, Deadline deadline) {
    if (socket < 0) return;
    {
        const std::lock_guard lock(mutex_);
        socket_ = socket;
        deadline_ = deadline;
        shut_ = false;
    }
    changed_.notify_all();
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

bool SqlWatch::end() {
    const std::lock_guard lock(mutex_);
    deadline_.reset();
    return std::exchange(shut_, false);
}

void SqlWatch::run() {
    std::unique_lock lock(mutex_);
    while (!finish_) {
        if (!deadline_) {
            changed_.wait(lock);
        } else if (deadline_->expired()) {
            ::shutdown(socket_, SHUT_RDWR);
            shut_ = true;
            deadline_.reset();
        } else {
            changed_.wait_for(lock, deadline_->remaining() + std::chrono::milliseconds(1));
        }
    }
}

}  // namespace roost
