#include "dry_run.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "module_dir.h"

namespace roost::cli {
namespace {

Error refused() {
    return {Outcome::trouble, "user database", "nothing is changed in a dry run", "this is a fault in the program", 0};
}

}  // namespace

Result<std::optional<UserRecord>> DryUserDb::find(std::string_view name) { return db_.find(name); }
Result<bool> DryUserDb::add_allocation(const UserRecord&, const Settings&) { return refused(); }
Result<void> DryUserDb::overwrite_allocation(std::string_view, const Settings&) { return refused(); }
Result<std::unique_ptr<Lock>> DryUserDb::lock(std::string_view, Deadline) { return refused(); }
Result<std::uint32_t> DryUserDb::own_number(std::string_view, std::string_view, IdRange range) { return range.from; }

Result<std::vector<std::optional<std::string>>> DryDict::get(std::string_view user, std::span<const std::string> keys,
                                                             Deadline deadline) {
    return dict_->get(user, keys, deadline);
}

Result<void> DryDict::commit(std::span<const DictTransaction> /*transactions*/, Deadline /*deadline*/) { return {}; }

Result<void> DryDict::each(std::string_view key,
                           const std::function<bool(std::string_view user, std::string_view value)>& visit,
                           Deadline deadline) {
    return dict_->each(key, visit, deadline);
}

Result<bool> TrialFiles::make_dir(DirRef dir, const std::string& name, mode_t /*mode*/) {
    auto there = stat(dir, name);
    if (there) return false;
    if (there.error().sys != ENOENT) return std::move(there).error();
    const std::string what = "cannot make " + std::string(dir.path) + (dir.path.ends_with('/') ? "" : "/") + name;
    return system_error(::faccessat(dir.fd, ".", W_OK | X_OK, AT_EACCESS) == 0 ? ECANCELED : errno, what,
                        "make the directory, for the user that runs Roost");
}

Result<void> DryRun::try_mailbox(SqlUserDb& db, const User& user) {
    // A module that does not say where it writes may not do it by these files.
    auto directories = mda_->directories();
    if (!directories) return std::move(directories).error();
    if (!*directories) return {};
    auto made = mda_->allocate(user);
    if (!made) return made.error().sys == ECANCELED ? Result<void>() : Result<void>(std::move(made).error());
    return db.check_allocation(user.record(), *made);
}

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
