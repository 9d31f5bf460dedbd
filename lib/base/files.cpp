#include "base/files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <vector>

namespace roost {
namespace {

std::string in(DirRef dir, std::string_view name) {
    if (name.starts_with('/') || dir.path.empty()) return std::string(name);
    return std::string(dir.path) + (dir.path.ends_with('/') ? "" : "/") + std::string(name);
}

// What to do where permission is lacking: modes say less than whose it is.
[[gnu::cold]] std::string owner_hint(std::string path) {
    struct stat st {};
    while (::lstat(path.c_str(), &st) < 0) {
        const std::size_t slash = path.rfind('/');
        if ((errno != EACCES && errno != ENOENT) || slash == std::string::npos) return {};
        path.erase(std::max<std::size_t>(slash, 1));
    }
    const auto us = static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1)));  // which only asks
    if (us == 0 || us == st.st_uid) return {};
    return path + " belongs to user id " + std::to_string(st.st_uid) + ": let user id " + std::to_string(us) +
           " in (chown -R, if roost(8) was run as the wrong user)";
}

// As system_error() has it, about what is at `name`.
[[gnu::cold]] Error error_at(int sys, const char* what, DirRef dir, const std::string& name) {
    const std::string path = in(dir, name);
    return system_error(sys, what + path, sys == EACCES ? owner_hint(path) : std::string());
}

// Calls until it is not interrupted by a signal.
template <class Call>
auto retry(Call call) {
    decltype(call()) result;
    do {
        result = call();
    } while (result < 0 && errno == EINTR);
    return result;
}

// XFS calls a sync a success that a shutdown of the file system overtook: the kernel's functions xfs_log_force_seq()
// and xfs_log_force_inode() take what was given up for what is on the disk. After a shutdown seeking in a file fails,
// and so does opening a directory.
bool is_in_shutdown(int file) { return ::lseek(file, 0, SEEK_CUR) < 0 && errno == EIO; }
bool any_in_shutdown(int fd) {
    if (is_in_shutdown(fd)) return true;
    const Fd again(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return !again && errno == EIO;
}

}  // namespace

Result<Fd> Files::open(DirRef dir, const std::string& name, int flags, mode_t mode, Follow follow) {
    const int all = flags | O_CLOEXEC | (follow == Follow::no ? O_NOFOLLOW : 0);
    Fd fd(retry([&] { return ::openat(dir.fd, name.c_str(), all, mode); }));
    if (fd) return fd;
    const int sys = errno;
    if (sys == ELOOP && follow == Follow::no)
        return Error{Outcome::trouble, "cannot open " + in(dir, name), "it is a symbolic link",
                     "remove the link: Roost follows none below a mailbox", sys};
    return error_at(sys, "cannot open ", dir, name);
}

Result<Fd> Files::open_dir(DirRef dir, const std::string& name, Follow follow) {
    auto fd = open(dir, name, O_RDONLY | O_DIRECTORY, 0, follow);
    if (fd || fd.error().sys != ENOTDIR || follow == Follow::yes) return fd;
    // With O_DIRECTORY the kernel reports a link as ENOTDIR: say what it is.
    struct stat st {};
    if (::fstatat(dir.fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        return Error{Outcome::trouble, "cannot open " + in(dir, name), "it is a symbolic link",
                     "remove the link: Roost follows none below a mailbox", ELOOP};
    return fd;
}

Result<bool> Files::make_dir(DirRef dir, const std::string& name, mode_t mode) {
    if (::mkdirat(dir.fd, name.c_str(), mode) < 0) {
        if (errno == EEXIST) return false;
        return error_at(errno, "cannot make the directory ", dir, name);
    }
    // mkdir(2) takes the umask off.
    if (::fchmodat(dir.fd, name.c_str(), mode, 0) < 0)
        return system_error(errno, "cannot set the mode of " + in(dir, name));
    return true;
}

Result<void> Files::rename_new(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name) {
    if (::syscall(SYS_renameat2, from.fd, old_name.c_str(), to.fd, new_name.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (errno == EINVAL || errno == ENOSYS) {  // not on this file system
        auto linked = link(from, old_name, to, new_name);
        // Once it is linked readers see it: an old name that stays behind must not turn that into a failure.
        if (linked) static_cast<void>(unlink(from, old_name));
        return linked;
    }
    return system_error(errno, "cannot move " + in(from, old_name) + " to " + in(to, new_name));
}

Result<void> Files::rename(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name) {
    if (::renameat(from.fd, old_name.c_str(), to.fd, new_name.c_str()) == 0) return {};
    return system_error(errno, "cannot move " + in(from, old_name) + " to " + in(to, new_name));
}

Result<void> Files::link(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name) {
    if (::linkat(from.fd, old_name.c_str(), to.fd, new_name.c_str(), 0) == 0) return {};
    return system_error(errno, "cannot link " + in(from, old_name) + " to " + in(to, new_name));
}

Result<void> Files::give_name(int fd, DirRef to, const std::string& name) {
    if (::linkat(fd, "", to.fd, name.c_str(), AT_EMPTY_PATH) == 0) return {};
    // Without CAP_DAC_READ_SEARCH the descriptor itself is no good, at least not with every kernel.
    if (errno == ENOENT) {
        const std::string self = "/proc/self/fd/" + std::to_string(fd);
        if (::linkat(AT_FDCWD, self.c_str(), to.fd, name.c_str(), AT_SYMLINK_FOLLOW) == 0) return {};
    }
    return system_error(errno, "cannot make " + in(to, name));
}

Result<void> Files::unlink(DirRef dir, const std::string& name) {
    if (::unlinkat(dir.fd, name.c_str(), 0) == 0 || errno == ENOENT) return {};
    return system_error(errno, "cannot remove " + in(dir, name));
}

Result<void> Files::remove_dir(DirRef dir, const std::string& name) {
    if (::unlinkat(dir.fd, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
    return system_error(errno, "cannot remove the directory " + in(dir, name));
}

Result<void> Files::write(int fd, std::string_view data, std::string_view path) {
    while (!data.empty()) {
        const ssize_t done = retry([&] { return ::write(fd, data.data(), data.size()); });
        if (done < 0) return system_error(errno, "cannot write " + std::string(path));
        data.remove_prefix(static_cast<std::size_t>(done));
    }
    return {};
}

Result<void> Files::write_at(int fd, std::uint64_t offset, std::string_view data, std::string_view path) {
    while (!data.empty()) {
        const ssize_t done = retry([&] { return ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset)); });
        if (done < 0) return system_error(errno, "cannot write " + std::string(path));
        data.remove_prefix(static_cast<std::size_t>(done));
        offset += static_cast<std::size_t>(done);
    }
    return {};
}

Result<void> Files::read_at(int fd, std::uint64_t offset, std::span<char> bytes) {
    while (!bytes.empty()) {
        const ssize_t got = retry([&] { return ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
        if (got < 0) return system_error(errno, "cannot read");
        if (got == 0) return system_error(ENODATA, "cannot read");
        bytes = bytes.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::size_t>(got);
    }
    return {};
}

Result<void> Files::truncate(int fd, std::uint64_t size, std::string_view path) {
    if (retry([&] { return ::ftruncate(fd, static_cast<off_t>(size)); }) == 0) return {};
    return system_error(errno, "cannot cut " + std::string(path) + " to " + std::to_string(size) + " bytes");
}

Result<void> Files::copy(int from, std::uint64_t offset, std::uint64_t size, int to, std::string_view path) {
    // Inside the kernel where it can do that between these two files; what is left goes through a buffer.
    constexpr std::size_t kPiece = 1U << 30U;
    for (auto at = static_cast<off_t>(offset); size > 0;) {
        const ssize_t done =
            retry([&] { return ::copy_file_range(from, &at, to, nullptr, std::min<std::uint64_t>(size, kPiece), 0); });
        if (done < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO))
            return system_error(errno, "cannot write " + std::string(path));
        if (done <= 0) break;
        offset += static_cast<std::uint64_t>(done);
        size -= static_cast<std::uint64_t>(done);
    }
    constexpr std::size_t kBuffer = 256UL * 1024;
    std::vector<char> buffer(std::min<std::uint64_t>(size, kBuffer));
    while (size > 0) {
        const std::size_t want = std::min<std::uint64_t>(size, buffer.size());
        const ssize_t got = retry([&] { return ::pread(from, buffer.data(), want, static_cast<off_t>(offset)); });
        if (got < 0) return system_error(errno, "cannot read the message for " + std::string(path));
        if (got == 0)
            return Error{Outcome::trouble,
                         "cannot read the message for " + std::string(path),
                         "it became shorter while it was read",
                         {},
                         0};
        auto written = write(to, {buffer.data(), static_cast<std::size_t>(got)}, path);
        if (!written) return written;
        offset += static_cast<std::uint64_t>(got);
        size -= static_cast<std::uint64_t>(got);
    }
    return {};
}

Result<void> Files::clone(int from, int to, std::string_view path) {
    if (::ioctl(to, FICLONE, from) == 0) return {};
    return system_error(errno, "cannot clone the message to " + std::string(path));
}

Result<void> Files::set_mode(int fd, mode_t mode, std::string_view path) {
    struct stat st {};
    constexpr mode_t kPermissions = 07777;
    if (::fstat(fd, &st) == 0 && (st.st_mode & kPermissions) == mode) return {};
    if (::fchmod(fd, mode) == 0) return {};
    return system_error(errno, "cannot set the mode of " + std::string(path));
}

Result<void> Files::set_owner(int fd, uid_t uid, gid_t gid, std::string_view path) {
    if (::fchown(fd, uid, gid) == 0) return {};
    return system_error(errno, "cannot give " + std::string(path) + " to uid " + std::to_string(uid),
                        "for mailboxes with a uid of their own, run Roost as root");
}

Result<void> Files::sync_data(int fd, std::string_view path) {
    if (retry([&] { return ::fdatasync(fd); }) == 0 && !is_in_shutdown(fd)) return {};
    return system_error(errno, "cannot sync " + std::string(path),
                        "the storage reports an error; look at the kernel's log");
}

Result<void> Files::sync(int fd, std::string_view path) {
    if (retry([&] { return ::fsync(fd); }) == 0 && !any_in_shutdown(fd)) return {};
    return system_error(errno, "cannot sync " + std::string(path),
                        "the storage reports an error; look at the kernel's log");
}

Result<void> Files::sync_volume(int fd, std::string_view path) {
    if (retry([&] { return ::syncfs(fd); }) == 0 && !any_in_shutdown(fd)) return {};
    return system_error(errno, "cannot sync the file system of " + std::string(path),
                        "the storage reports an error; look at the kernel's log");
}

Result<struct stat> Files::stat(DirRef dir, const std::string& name) {
    struct stat st {};
    if (::fstatat(dir.fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return st;
    return system_error(errno, "cannot look at " + in(dir, name));
}

std::optional<std::int64_t> Files::made(int fd) {
    struct statx st {};
    if (::statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &st) != 0 || (st.stx_mask & STATX_BTIME) == 0) return std::nullopt;
    return st.stx_btime.tv_sec;
}

Result<Fd> Files::make_path(const std::string& path, mode_t mode) {
    auto there = open_dir({AT_FDCWD, {}}, path, Follow::yes);
    if (there || there.error().sys != ENOENT) return there;
    // What is above need not be readable to be passed through.
    constexpr int kPass = O_PATH | O_DIRECTORY;
    auto here = open({AT_FDCWD, {}}, "/", kPass, 0, Follow::yes);
    std::size_t begin = 0;
    while (here && begin < path.size()) {
        const std::size_t end = std::min(path.find('/', begin), path.size());
        const std::string name = path.substr(begin, end - begin);
        const std::string parent = path.substr(0, begin);
        begin = end + 1;
        if (name.empty()) continue;
        const DirRef dir{here->get(), parent};
        auto next = open(dir, name, kPass, 0, Follow::yes);
        if (!next && next.error().sys == ENOENT) {
            auto made = make_dir(dir, name, mode);
            if (!made) return std::move(made).error();
            // Also when another process made it a moment ago: it may not have synced it yet.
            auto changed = open_dir(dir, ".");
            if (!changed) return changed;
            auto synced = sync(changed->get(), parent);
            if (!synced) return std::move(synced).error();
            next = open(dir, name, kPass, 0, Follow::yes);
        }
        here = std::move(next);
    }
    if (!here) return here;
    return open_dir({here->get(), path}, ".");
}

Result<std::string> Files::read_all(int fd, const std::string& path, std::size_t limit) {
    std::string text;
    std::array<char, 8192> buffer;
    while (true) {
        const ssize_t got = retry([&] { return ::read(fd, buffer.data(), buffer.size()); });
        if (got < 0) return system_error(errno, "cannot read " + path);
        if (got == 0) return text;
        text.append(buffer.data(), static_cast<std::size_t>(got));
        if (text.size() > limit) return system_error(EFBIG, "cannot read " + path);
    }
}

Result<std::string> Files::read_small(DirRef dir, const std::string& name, std::size_t limit) {
    auto fd = open(dir, name, O_RDONLY | O_NONBLOCK);
    if (!fd) return std::move(fd).error();
    return read_all(fd->get(), in(dir, name), limit);
}

}  // namespace roost
