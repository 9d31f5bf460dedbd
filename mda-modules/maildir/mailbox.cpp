#include "mailbox.h"

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "entries.h"
#include "stale.h"

namespace roost::maildir {
namespace {

// Opens a directory, making it if it is not there; `made` tells.
Result<Fd> open_or_make(Files& files, DirRef dir, const std::string& name, mode_t mode, bool& made) {
    auto fd = files.open_dir(dir, name);
    if (fd || fd.error().sys != ENOENT) return fd;
    auto now = files.make_dir(dir, name, mode);
    if (!now) return std::move(now).error();
    made = true;  // also where another process was faster: it may not have synced yet
    return files.open_dir(dir, name);
}

dev_t device_of(int fd) {
    struct stat st {};
    return ::fstat(fd, &st) == 0 ? st.st_dev : 0;
}

}  // namespace

Result<Mailbox> open_mailbox(Files& files, const User& user) {
    const std::string* path = user.allocated("maildir.path");
    if (path == nullptr || !path->starts_with('/'))
        return config_error("allocation of " + user.name(), "maildir.path is not an absolute path",
                            "correct the record");
    auto owner = owner_of(user);
    if (!owner) return std::move(owner).error();
    auto root = files.open_dir({AT_FDCWD, {}}, *path);
    if (!root) {
        Error error = std::move(root).error();
        error.what = "mailbox of " + user.name() + ": " + error.what;
        if (error.sys == ENOENT)
            error.hint =
                "is its file system mounted? Roost makes no new mailbox in place of a lost one: bring it back, or "
                "give it up: MAILBOXES in roost-users(5)";
        if (error.sys == ELOOP) error.hint = "Roost follows none: name its target: MAILBOXES in roost-users(5)";
        return error;
    }
    struct stat st {};
    if (::fstat(root->get(), &st) != 0) return system_error(errno, "cannot look at " + *path);
    if (*owner) {
        if (st.st_uid != (*owner)->uid)
            return config_error(
                "mailbox of " + user.name() + ": " + *path,
                "it belongs to uid " + std::to_string(st.st_uid) + ", not to " + std::to_string((*owner)->uid),
                "chown -R " + std::to_string((*owner)->uid) + ":" + std::to_string((*owner)->gid) + " " + *path);
    }
    return Mailbox{*path,
                   st,
                   *std::move(root),
                   *owner,
                   user.settings().mode("maildir.directory-mode"),
                   user.settings().mode("maildir.file-mode"),
                   {}};
}

Result<std::shared_ptr<Mailbox>> mailbox_of(Files& files, const User& user) {
    if (auto kept = user.kept().get<Mailbox>()) {
        const auto now = files.stat({AT_FDCWD, {}}, kept->path);
        const bool same = now && now->st_dev == kept->state.st_dev && now->st_ino == kept->state.st_ino;
        if (same && now->st_uid == kept->state.st_uid) return kept;
    }
    auto opened = open_mailbox(files, user);
    if (!opened) return std::move(opened).error();
    auto mailbox = std::make_shared<Mailbox>(*std::move(opened));
    user.kept().set(mailbox);
    return mailbox;
}

Result<Maildir> open_maildir(Files& files, DirRef dir, mode_t mode, Tmp use) {
    bool made = false;
    Result<Fd> tmp{Fd()};
    const auto seen = use == Tmp::open ? std::nullopt : std::optional(files.stat(dir, "tmp"));
    if (!seen || !*seen || !is_known_empty(**seen)) tmp = open_or_make(files, dir, "tmp", mode, made);
    if (!tmp) return std::move(tmp).error();
    auto fresh = open_or_make(files, dir, "new", mode, made);
    if (!fresh) return std::move(fresh).error();
    // Last, because a directory counts as a folder when it has cur.
    const auto cur = files.stat(dir, "cur");
    if (!cur || !S_ISDIR(cur->st_mode))
        if (auto opened = open_or_make(files, dir, "cur", mode, made); !opened) return std::move(opened).error();
    if (made) {
        auto synced = files.sync(dir.fd, dir.path);
        if (!synced) return std::move(synced).error();
    }
    return Maildir{std::string(dir.path), *std::move(tmp), *std::move(fresh)};
}

Result<void> remove_contents(Files& files, DirRef dir) {
    auto listing = files.open_dir(dir, ".");
    if (!listing) return std::move(listing).error();
    std::vector<Entry> entries;
    auto listed = each_entry(listing->get(), dir.path, [&](const Entry& entry) -> Result<void> {
        entries.push_back(entry);
        return {};
    });
    if (!listed) return listed;
    for (const Entry& entry : entries) {
        Result<void> removed;
        // unlinkat(2) says EISDIR (Linux) or EPERM (POSIX) for a directory.
        if (entry.type != DT_DIR) removed = files.unlink(dir, entry.name);
        if (entry.type == DT_DIR || (!removed && (removed.error().sys == EISDIR || removed.error().sys == EPERM))) {
            const std::string path = std::string(dir.path) + "/" + entry.name;
            auto below = files.open_dir(dir, entry.name);
            if (!below && below.error().sys == ENOENT) continue;
            if (!below) return removed ? std::move(below).error() : removed;
            if (device_of(below->get()) != device_of(dir.fd))
                return system_error(EBUSY, "cannot remove " + path, "another file system is mounted there: unmount it");
            removed = remove_contents(files, {below->get(), path});
            if (removed) removed = files.remove_dir(dir, entry.name);
        }
        if (!removed) return removed;
    }
    return {};
}

}  // namespace roost::maildir
