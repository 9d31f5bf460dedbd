// Changing a small file as Dovecot does: a new one takes its place, under a lock that others know too.
#pragma once

#include "base/deadline.h"
#include "base/files.h"

#include <optional>

namespace roost {

enum class FileLockKind {
    dotlock,  // PATH.lock, made by one alone, is the new file; an old one that nobody changes is left over and goes
    fcntl,    // a lock on the file itself; the new file is PATH.tmp
    flock,
};

// No file is read that is larger, in bytes.
inline constexpr std::size_t kLargestDictFile = 16UL << 20U;

// Holds the lock of one file; released when it goes. One thread at a time.
class FileLock {
public:
    // Waits for the lock, makes the file's directories where they are missing, and starts the new file. What is made
    // belongs to whom the old file, or the nearest directory, belongs, where this process may say so.
    static Result<FileLock> take(Files& files, const std::string& path, FileLockKind kind, Deadline deadline);
    FileLock(FileLock&& other) noexcept;
    FileLock& operator=(FileLock&&) = delete;
    ~FileLock();

    // What the file holds; empty: it is not there.
    Result<std::optional<std::string>> read();
    // Replaces it and ends the lock. A power cut leaves the former file or the new one, whole.
    Result<void> replace(std::string_view text);

private:
    FileLock(Files& files, std::string path, FileLockKind kind) : files_(files), path_(std::move(path)), kind_(kind) {}
    Result<bool> take_dotlock();
    Result<bool> take_record_lock();
    std::string new_name() const;

    Files& files_;
    std::string path_;
    FileLockKind kind_;
    Fd old_, new_;
};

}  // namespace roost
