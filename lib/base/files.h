// The file operations that mail is stored with, relative to directory descriptors, behind a seam that tests can make
// fail. Every failure comes back as an Error that names the path.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace roost {

// Where a relative path starts: an open directory, or AT_FDCWD, and the name to use for it in messages.
struct DirRef {
    int fd;
    std::string_view path;
};

// The system's file operations. Stateless: any thread. A test derives from it to inject failures; production code
// always passes `Files&` on, so that the derived one is reached everywhere.
//
// Names given to these functions are used as they are; `open` and `open_dir` never follow a symbolic link in the last
// component unless `Follow::yes` is asked for, which is right only where no mail user can write.
class Files {
public:
    enum class Follow { no, yes };

    virtual ~Files() = default;

    // openat(2) with O_CLOEXEC; `flags` as there.
    virtual Result<Fd> open(DirRef dir, const std::string& name, int flags, mode_t mode = 0,
                            Follow follow = Follow::no);
    // Opens a directory for use as a DirRef.
    virtual Result<Fd> open_dir(DirRef dir, const std::string& name, Follow follow = Follow::no);
    // mkdirat(2) and, whatever the umask, exactly `mode`. False: something of that name was there already.
    virtual Result<bool> make_dir(DirRef dir, const std::string& name, mode_t mode);
    // renameat2(2) with RENAME_NOREPLACE where the file system has it, so that nothing is ever overwritten (EEXIST);
    // elsewhere link and unlink.
    virtual Result<void> rename_new(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name);
    // renameat(2), replacing.
    virtual Result<void> rename(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name);
    virtual Result<void> link(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name);
    // linkat(2) of a file that was opened with O_TMPFILE; needs /proc, or a capability.
    virtual Result<void> give_name(int fd, DirRef to, const std::string& name);
    // Removing what is not there is a success.
    virtual Result<void> unlink(DirRef dir, const std::string& name);
    // Removing what is not there is a success; ENOTEMPTY is an Error.
    virtual Result<void> remove_dir(DirRef dir, const std::string& name);
    // Writes all of `data`, over short writes and EINTR. `path` is for messages.
    virtual Result<void> write(int fd, std::string_view data, std::string_view path);
    // pwrite(2), likewise.
    virtual Result<void> write_at(int fd, std::uint64_t offset, std::string_view data, std::string_view path);
    // pread(2) of as many bytes as there is room for. An Error if the file has fewer, too.
    virtual Result<void> read_at(int fd, std::uint64_t offset, std::span<char> bytes);
    // Copies `size` bytes from `offset` of `from` to the end of what was written to `to`, in constant memory.
    virtual Result<void> copy(int from, std::uint64_t offset, std::uint64_t size, int to, std::string_view path);
    // ftruncate(2).
    virtual Result<void> truncate(int fd, std::uint64_t size, std::string_view path);
    // Lets the empty file `to` share the blocks of all of `from` (FICLONE): an Error where the file system cannot.
    virtual Result<void> clone(int from, int to, std::string_view path);
    // fchmod(2), which the umask has no part in, if the mode is another one.
    virtual Result<void> set_mode(int fd, mode_t mode, std::string_view path);
    // fchown(2).
    virtual Result<void> set_owner(int fd, uid_t uid, gid_t gid, std::string_view path);
    // fdatasync(2) for file contents.
    virtual Result<void> sync_data(int fd, std::string_view path);
    // fsync(2) for directories and for files whose metadata matter.
    virtual Result<void> sync(int fd, std::string_view path);
    // syncfs(2): everything on the file system that `fd` lies on.
    virtual Result<void> sync_volume(int fd, std::string_view path);
    // fstatat(2) without following a link. ENOENT comes back as an Error with sys == ENOENT.
    virtual Result<struct stat> stat(DirRef dir, const std::string& name);
    // When an open file was made, in seconds since 1970; nothing where the file system does not tell.
    virtual std::optional<std::int64_t> made(int fd);

    // Makes `path` (absolute) and what is missing above it with `mode`, and syncs each parent it changed, so that the
    // new directories survive a power cut. Follows links: for paths that administrators own.
    Result<Fd> make_path(const std::string& path, mode_t mode);
    // Reads to the end of a small file; an Error (EFBIG) beyond `limit` bytes. `path` is for messages.
    Result<std::string> read_all(int fd, const std::string& path, std::size_t limit);
    // The whole of a small file, opened without following a link.
    Result<std::string> read_small(DirRef dir, const std::string& name, std::size_t limit);
};

}  // namespace roost
