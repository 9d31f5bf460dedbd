// The locks that mail programs agree on for an mbox file.
#pragma once

#include "base/deadline.h"
#include "base/files.h"
#include "base/result.h"
#include "config/config.h"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace roost::mbox {

enum class LockKind { fcntl, dotlock };

// mbox.locks, mbox.lock-timeout and mbox.dotlock-stale.
struct LockRules {
    std::vector<LockKind> kinds;  // in the order in which they are taken
    std::chrono::milliseconds timeout{};
    std::chrono::milliseconds stale{};  // the age from which a lock file counts whose owner cannot be asked after

    static Result<LockRules> make(const Config& config);
};

// An exclusive record lock on a whole open file. It belongs to the open file, so that threads keep each other out as
// processes do, and ends with this object or the file.
class RecordLock {
public:
    // Nothing: somebody else holds one. `fd` must outlive the lock. `path` is for messages.
    static Result<std::optional<RecordLock>> try_take(int fd, const std::string& path);
    RecordLock(RecordLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    RecordLock& operator=(RecordLock&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~RecordLock();

private:
    explicit RecordLock(int fd) : fd_(fd) {}
    int fd_;
};

// One attempt after the other to hold all locks of a mailbox. Whoever uses it holds the record lock of the mailbox's
// books, so only one Roost is here at a time.
class MailboxLock {
public:
    // `name`: the mailbox in `dir`.
    MailboxLock(Files& files, const LockRules& rules, DirRef dir, const std::string& name)
        : files_(files), rules_(rules), dir_(dir), name_(name) {}
    MailboxLock(const MailboxLock&) = delete;
    MailboxLock& operator=(const MailboxLock&) = delete;
    ~MailboxLock() { release(); }

    // Takes all locks on the mailbox that `fd` is, or none. False: somebody else holds one; held_by() tells who.
    Result<bool> try_take(int fd);
    void release();
    const std::string& held_by() const { return held_by_; }

private:
    Result<bool> take(LockKind kind, int fd);
    Result<bool> take_dotlock();
    Result<void> make_own();
    Result<bool> remove_stale();
    std::string path(const std::string& name) const { return std::string(dir_.path) + "/" + name; }

    Files& files_;
    const LockRules& rules_;
    DirRef dir_;
    std::string name_;
    std::string held_by_;
    std::optional<RecordLock> record_;
    bool dotlock_ = false;
};

}  // namespace roost::mbox
