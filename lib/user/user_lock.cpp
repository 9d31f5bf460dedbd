#include "user/user_lock.h"

#include "base/fd.h"
#include "base/text.h"
#include "user/hash.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace roost {
namespace {

using namespace std::chrono_literals;

constexpr mode_t kMode = 0640;
constexpr auto kFirstPause = 1ms;
constexpr auto kLongestPause = 16ms;

class FileLock : public Lock {
public:
    explicit FileLock(Fd fd) : fd_(std::move(fd)) {}

private:
    Fd fd_;  // closing it frees the lock
};

Result<Fd> open_lock_file(const std::string& path, const std::string& owner_like) {
    Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!fd && errno == ENOENT) {
        fd.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kMode));
        struct stat st {};
        // Made by root, it must serve those whom the database belongs to.
        if (fd && ::geteuid() == 0 && ::stat(owner_like.c_str(), &st) == 0 &&
            ::fchown(fd.get(), st.st_uid, st.st_gid) < 0)
            return system_error(errno, "cannot set the owner of " + path);
    }
    if (fd) return fd;
    return system_error(errno, "cannot open the lock file " + path,
                        "let user id " + std::to_string(::geteuid()) + " write it and its directory");
}

// False: somebody else holds it.
Result<bool> try_lock(int fd, const std::string& path, std::string_view name) {
    struct flock range {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = static_cast<off_t>(fnv1a64(name) & 0x3fffffffffffffffU);
    range.l_len = 1;
    while (::fcntl(fd, F_OFD_SETLK, &range) < 0) {
        if (errno == EAGAIN || errno == EACCES) return false;
        if (errno != EINTR) return system_error(errno, "cannot lock " + path, "its file system must support locks");
    }
    return true;
}

// Whether `fd` is still the file that others find under `path`; a lock on a removed file keeps nobody out.
bool is_current(int fd, const std::string& path) {
    struct stat ours {};
    struct stat theirs {};
    return ::fstat(fd, &ours) == 0 && ::stat(path.c_str(), &theirs) == 0 && ours.st_ino == theirs.st_ino &&
           ours.st_dev == theirs.st_dev;
}

}  // namespace

Result<std::unique_ptr<Lock>> lock_user(const std::string& path, const std::string& owner_like, std::string_view name,
                                        Deadline deadline) {
    std::chrono::milliseconds pause = kFirstPause;
    auto fd = open_lock_file(path, owner_like);
    while (fd) {
        auto locked = try_lock(fd->get(), path, name);
        if (!locked) return std::move(locked).error();
        if (*locked && is_current(fd->get(), path)) return std::unique_ptr<Lock>(new FileLock(std::move(*fd)));
        if (*locked) {
            fd = open_lock_file(path, owner_like);
            continue;
        }
        if (deadline.expired())
            return Error{Outcome::trouble, "cannot lock the user " + printable(name) + " in " + path,
                         "somebody else has been making the mailbox all the time",
                         "see who holds the file: fuser " + path, 0};
        std::this_thread::sleep_for(std::min(pause, std::max(deadline.remaining(), kFirstPause)));
        pause = std::min<std::chrono::milliseconds>(pause * 2, kLongestPause);
    }
    return std::move(fd).error();
}

}  // namespace roost
