#include "base/dry_files.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>

namespace roost {
namespace {

Result<Fd> memory_file(const std::string& name) {
    Fd fd(::memfd_create("roost", MFD_CLOEXEC));
    if (!fd) return system_error(errno, "cannot make a file in memory for " + name);
    return fd;
}

}  // namespace

Result<Fd> DryFiles::open(DirRef dir, const std::string& name, int flags, mode_t mode, Follow follow) {
    constexpr int kChanges = O_CREAT | O_EXCL | O_TRUNC | O_APPEND;
    if ((flags & O_ACCMODE) == O_RDONLY && (flags & kChanges) == 0) return Files::open(dir, name, flags, mode, follow);
    if ((flags & O_TMPFILE) == O_TMPFILE) return memory_file(name);
    auto there = Files::open(dir, name, (flags & ~(O_ACCMODE | kChanges)) | O_RDONLY, 0, follow);
    if (there) {
        if ((flags & O_EXCL) != 0) return system_error(EEXIST, "cannot make " + std::string(dir.path) + "/" + name);
        if ((flags & O_TRUNC) != 0) return memory_file(name);
        return there;
    }
    if (there.error().sys == ENOENT && (flags & O_CREAT) != 0) return memory_file(name);
    return there;
}

Result<bool> DryFiles::make_dir(DirRef, const std::string&, mode_t) { return true; }
Result<void> DryFiles::rename_new(DirRef, const std::string&, DirRef, const std::string&) { return {}; }
Result<void> DryFiles::rename(DirRef, const std::string&, DirRef, const std::string&) { return {}; }
Result<void> DryFiles::link(DirRef, const std::string&, DirRef, const std::string&) { return {}; }
Result<void> DryFiles::give_name(int, DirRef, const std::string&) { return {}; }
Result<void> DryFiles::unlink(DirRef, const std::string&) { return {}; }
Result<void> DryFiles::remove_dir(DirRef, const std::string&) { return {}; }
Result<void> DryFiles::write(int, std::string_view, std::string_view) { return {}; }
Result<void> DryFiles::write_at(int, std::uint64_t, std::string_view, std::string_view) { return {}; }
Result<void> DryFiles::copy(int, std::uint64_t, std::uint64_t, int, std::string_view) { return {}; }
Result<void> DryFiles::truncate(int, std::uint64_t, std::string_view) { return {}; }
Result<void> DryFiles::clone(int, int, std::string_view) { return {}; }
Result<void> DryFiles::set_mode(int, mode_t, std::string_view) { return {}; }
Result<void> DryFiles::set_owner(int, uid_t, gid_t, std::string_view) { return {}; }
Result<void> DryFiles::sync_data(int, std::string_view) { return {}; }
Result<void> DryFiles::sync(int, std::string_view) { return {}; }
Result<void> DryFiles::sync_volume(int, std::string_view) { return {}; }

}  // namespace roost
