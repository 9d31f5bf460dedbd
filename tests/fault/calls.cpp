#include "calls.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/syscall.h>

#include <algorithm>
#include <iterator>

namespace roost::fault {
namespace {

using Args = std::uint64_t[6];

bool creates(std::uint64_t flags) { return (flags & (O_CREAT | O_TRUNC)) != 0; }
bool open_creates(const Args& args) { return creates(args[1]); }
bool openat_creates(const Args& args) { return creates(args[2]); }

bool locks(const Args& args) {
    switch (static_cast<int>(args[1])) {
        case F_SETLK:
        case F_SETLKW:
        case F_OFD_SETLK:
        case F_OFD_SETLKW:
            return true;
        default:
            return false;
    }
}

bool clones(const Args& args) { return args[1] == FICLONE || args[1] == FICLONERANGE; }

constexpr Call kCalls[] = {
    {SYS_open, "open", Names::path, open_creates, true, -1},
    {SYS_creat, "creat", Names::path, nullptr, true, -1},
    {SYS_openat, "openat", Names::path_at, openat_creates, true, -1},
    {SYS_mkdir, "mkdir", Names::path, nullptr, true, -1},
    {SYS_mkdirat, "mkdirat", Names::path_at, nullptr, true, -1},
    {SYS_rename, "rename", Names::path, nullptr, true, -1},
    {SYS_renameat, "renameat", Names::path_at, nullptr, true, -1},
    {SYS_renameat2, "renameat2", Names::path_at, nullptr, true, -1},
    {SYS_link, "link", Names::path, nullptr, true, -1},
    {SYS_linkat, "linkat", Names::path_at, nullptr, true, -1},
    {SYS_symlink, "symlink", Names::path, nullptr, true, -1},
    {SYS_symlinkat, "symlinkat", Names::path, nullptr, true, -1},
    {SYS_unlink, "unlink", Names::path, nullptr, true, -1},
    {SYS_unlinkat, "unlinkat", Names::path_at, nullptr, true, -1},
    {SYS_rmdir, "rmdir", Names::path, nullptr, true, -1},
    {SYS_write, "write", Names::descriptor, nullptr, true, 2},
    {SYS_pwrite64, "pwrite64", Names::descriptor, nullptr, true, 2},
    {SYS_writev, "writev", Names::descriptor, nullptr, true, -1},
    {SYS_pwritev, "pwritev", Names::descriptor, nullptr, true, -1},
    {SYS_pwritev2, "pwritev2", Names::descriptor, nullptr, true, -1},
    {SYS_sendfile, "sendfile", Names::descriptor, nullptr, true, 3},
    {SYS_copy_file_range, "copy_file_range", Names::descriptor, nullptr, true, 4},
    {SYS_splice, "splice", Names::descriptor, nullptr, true, 4},
    {SYS_ioctl, "ioctl", Names::descriptor, clones, true, -1},
    {SYS_fsync, "fsync", Names::descriptor, nullptr, true, -1},
    {SYS_fdatasync, "fdatasync", Names::descriptor, nullptr, true, -1},
    {SYS_sync_file_range, "sync_file_range", Names::descriptor, nullptr, true, -1},
    {SYS_syncfs, "syncfs", Names::descriptor, nullptr, true, -1},
    {SYS_msync, "msync", Names::nothing, nullptr, true, -1},
    {SYS_ftruncate, "ftruncate", Names::descriptor, nullptr, true, -1},
    {SYS_truncate, "truncate", Names::path, nullptr, true, -1},
    {SYS_fallocate, "fallocate", Names::descriptor, nullptr, true, -1},
    {SYS_chmod, "chmod", Names::path, nullptr, true, -1},
    {SYS_fchmod, "fchmod", Names::descriptor, nullptr, true, -1},
    {SYS_fchmodat, "fchmodat", Names::path_at, nullptr, true, -1},
    {SYS_chown, "chown", Names::path, nullptr, true, -1},
    {SYS_lchown, "lchown", Names::path, nullptr, true, -1},
    {SYS_fchown, "fchown", Names::descriptor, nullptr, true, -1},
    {SYS_fchownat, "fchownat", Names::path_at, nullptr, true, -1},
    {SYS_utimensat, "utimensat", Names::path_at, nullptr, true, -1},
    {SYS_fcntl, "fcntl", Names::descriptor, locks, true, -1},
    {SYS_flock, "flock", Names::descriptor, nullptr, true, -1},
    {SYS_exit_group, "exit_group", Names::nothing, nullptr, false, -1},
};

}  // namespace

const Call* find_call(std::uint64_t number) {
    const auto* row =
        std::find_if(std::begin(kCalls), std::end(kCalls), [&](const Call& call) { return call.number == number; });
    return row == std::end(kCalls) ? nullptr : row;
}

}  // namespace roost::fault
