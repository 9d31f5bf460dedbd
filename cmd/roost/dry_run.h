// Running the delivery code without touching anything.
#pragma once

#include "base/dry_files.h"
#include "config/config.h"
#include "dict/dict.h"
#include "module/mda.h"
#include "user/sql_user_db.h"

#include <memory>

namespace roost::cli {

// A database that answers `find`, gives out numbers that nobody keeps and refuses all else.
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

// A dict that can be asked, but not changed: what is to be written to it is dropped.
class DryDict : public Dict {
public:
    explicit DryDict(std::unique_ptr<Dict> dict) : dict_(std::move(dict)) {}
    Result<std::vector<std::optional<std::string>>> get(std::string_view user, std::span<const std::string> keys,
                                                        Deadline deadline) override;
    Result<void> commit(std::span<const DictTransaction> transactions, Deadline deadline) override;
    Result<void> each(std::string_view key,
                      const std::function<bool(std::string_view user, std::string_view value)>& visit,
                      Deadline deadline) override;
    const std::string& name() const override { return dict_->name(); }

private:
    std::unique_ptr<Dict> dict_;
};

// DryFiles that go as far as the first directory that is missing: "to be made" is an Error of ECANCELED if it could be
// made, else of what hinders that.
class TrialFiles : public DryFiles {
public:
    Result<bool> make_dir(DirRef dir, const std::string& name, mode_t mode) override;
};

// The selected MDA module on these files and this database: it can look, but not touch. Not movable: the module's
// object refers to the parts.
class DryRun {
public:
    // `config` and `db` must outlive it.
    static Result<std::unique_ptr<DryRun>> make(const Config& config, UserDb& db);
    Files& files() { return files_; }
    Mda& mda() { return *mda_; }
    // Whether a first message for `user` would get a mailbox, as far as that can be told without making it: an Error
    // of what would be in the way. `db`: that of make().
    Result<void> try_mailbox(SqlUserDb& db, const User& user);
    DryUserDb& db() { return db_; }

private:
    explicit DryRun(UserDb& db) : db_(db) {}
    TrialFiles files_;
    DryUserDb db_;
    std::unique_ptr<Mda> mda_;
};

}  // namespace roost::cli
