#include "dry_run.h"

#include <cerrno>

#include "module_dir.h"

#include <fcntl.h>
#include <sys/mman.h>

namespace roost::cli {
namespace {

Result<Fd> memory_file(const std::string& name) {
    Fd fd(::memfd_create("roost", MFD_CLOEXEC));
    if (!fd) return system_error(errno, "cannot make a file in memory for " + name);
    return fd;
}

Error refused() {
    return {Outcome::trouble, "user database", "nothing is changed in a dry run", "this is a fault in the program", 0};
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
Result<void> DryFiles::unlink(DirRef, const std::string&) { return {}; }
Result<void> DryFiles::remove_dir(DirRef, const std::string&) { return {}; }
Result<void> DryFiles::write(int, std::string_view, std::string_view) { return {}; }
Result<void> DryFiles::copy(int, std::uint64_t, std::uint64_t, int, std::string_view) { return {}; }
Result<void> DryFiles::sync_data(int, std::string_view) { return {}; }
Result<void> DryFiles::sync(int, std::string_view) { return {}; }

Result<std::optional<UserRecord>> DryUserDb::find(std::string_view name) { return db_.find(name); }
Result<bool> DryUserDb::add_allocation(const UserRecord&, const Settings&) { return refused(); }
Result<void> DryUserDb::overwrite_allocation(std::string_view, const Settings&) { return refused(); }
Result<std::unique_ptr<Lock>> DryUserDb::lock(std::string_view, Deadline) { return refused(); }
Result<std::uint32_t> DryUserDb::own_number(std::string_view, std::string_view, IdRange) { return refused(); }

Result<std::unique_ptr<DryRun>> DryRun::make(const Config& config, UserDb& db) {
    std::unique_ptr<DryRun> out(new DryRun(db));  // NOLINT: the constructor is private
    auto module = load_module(module_dir(config.text("store.modules")), ModuleKind::mda, config.text("store.mda"));
    if (!module) return std::move(module).error();
    auto mda = make_mda(**module, {config, out->files_, out->db_});
    if (!mda) return std::move(mda).error();
    out->mda_ = *std::move(mda);
    return out;
}

}  // namespace roost::cli
