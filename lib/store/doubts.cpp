#include "store/doubts.h"

#include <sys/stat.h>

#include "base/log.h"

namespace roost {
namespace {

constexpr const char* kHint =
    "check the disk and its file system, then restart roostd: until then it delivers nothing more to this volume";

}  // namespace

Result<void> Doubts::check(const SyncTarget& target) {
    if (!any_.load(std::memory_order_acquire)) return {};
    struct stat st {};
    if (::fstat(target.fd, &st) != 0) return {};
    const std::lock_guard lock(mutex_);
    for (const Volume& volume : volumes_)
        if (volume.device == st.st_dev)
            return Error{Outcome::trouble, "cannot make " + target.path + " durable",
                         "a sync on this volume failed earlier (" + volume.first + ")", kHint, volume.sys};
    return {};
}

Error Doubts::add(const SyncTarget& target, Error error) {
    if (error.outcome == Outcome::store_full) return error;
    error.hint = kHint;
    struct stat st {};
    if (::fstat(target.fd, &st) != 0) return error;
    {
        const std::lock_guard lock(mutex_);
        for (const Volume& volume : volumes_)
            if (volume.device == st.st_dev) return error;
        volumes_.push_back({st.st_dev, target.path + ": " + error.why, error.sys});
        any_.store(true, std::memory_order_release);
    }
    log(LogLevel::error, error.text());
    return error;
}

Result<void> WatchedFiles::sync_data(int fd, std::string_view path) {
    return judge(Files::sync_data(fd, path), fd, path);
}

Result<void> WatchedFiles::sync(int fd, std::string_view path) { return judge(Files::sync(fd, path), fd, path); }

Result<void> WatchedFiles::sync_volume(int fd, std::string_view path) {
    return judge(Files::sync_volume(fd, path), fd, path);
}

Result<void> WatchedFiles::judge(Result<void> done, int fd, std::string_view path) {
    const SyncTarget target{fd, std::string(path)};
    // Another one's sync may have been told of the data that this one has lost.
    if (done) return doubts_->check(target);
    failures_.fetch_add(1, std::memory_order_relaxed);
    return doubts_->add(target, std::move(done).error());
}

}  // namespace roost
