// Running the delivery code without touching anything.
#pragma once

#include "base/files.h"
#include "config/config.h"
#include "module/mda.h"
#include "user/user_db.h"

#include <memory>

namespace roost::cli {

// File operations that read what is there and change nothing: what is opened for writing is the present content, read
// only, or a new file in memory; everything else that would change something succeeds without doing it. Never a
// truth for somebody who reads back what he wrote. Any thread.
class DryFiles : public Files {
public:
    Result<Fd> open(DirRef dir, const std::string& name, int flags, mode_t mode, Follow follow) override;
    Result<bool> make_dir(DirRef dir, const std::string& name, mode_t mode) override;
    Result<void> rename_new(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name) override;
    Result<void> rename(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name) override;
    Result<void> link(DirRef from, const std::string& old_name, DirRef to, const std::string& new_name) override;
    Result<void> unlink(DirRef dir, const std::string& name) override;
    Result<void> remove_dir(DirRef dir, const std::string& name) override;
    Result<void> write(int fd, std::string_view data, std::string_view path) override;
    Result<void> copy(int from, std::uint64_t offset, std::uint64_t size, int to, std::string_view path) override;
    Result<void> sync_data(int fd, std::string_view path) override;
    Result<void> sync(int fd, std::string_view path) override;
};

// A database that answers `find` and refuses all else.
class DryUserDb : public UserDb {
public:
    explicit DryUserDb(UserDb& db) : db_(db) {}
    Result<std::optional<UserRecord>> find(std::string_view name) override;
    Result<bool> add_allocation(const UserRecord& seen, const Settings& allocation) override;
    Result<void> overwrite_allocation(std::string_view name, const Settings& allocation) override;
    Result<std::unique_ptr<Lock>> lock(std::string_view name, Deadline deadline) override;
    Result<std::uint32_t> own_number(std::string_view pool, std::string_view name, IdRange range) override;

private:
    UserDb& db_;
};

// The selected MDA module on these files and this database: it can look, but not touch. Not movable: the module's
// object refers to the parts.
class DryRun {
public:
    // `config` and `db` must outlive it.
    static Result<std::unique_ptr<DryRun>> make(const Config& config, UserDb& db);
    Mda& mda() { return *mda_; }
    DryUserDb& db() { return db_; }

private:
    explicit DryRun(UserDb& db) : db_(db) {}
    DryFiles files_;
    DryUserDb db_;
    std::unique_ptr<Mda> mda_;
};

}  // namespace roost::cli
