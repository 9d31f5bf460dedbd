#include "place.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "books.h"
#include "entries.h"
#include "mailbox.h"
#include "owner.h"

namespace roost::maildir {
namespace {

constexpr const char* kPathKey = "maildir.path";
constexpr const char* kUidKey = "maildir.uid";

// Directories above mailboxes: administrators', with nothing in them but mailboxes.
constexpr mode_t kParentMode = 0755;

struct Split {
    std::string parent;
    std::string leaf;
};
Split split(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

// As many bytes as the running user may still write to the volume.
Result<std::uint64_t> free_bytes(int fd, const std::string& volume) {
    struct statvfs st {};
    if (::fstatvfs(fd, &st) != 0) return system_error(errno, "cannot ask how full " + volume + " is");
    return static_cast<std::uint64_t>(st.f_bavail) * st.f_frsize;
}

// "%" has a meaning in templates.
std::string literally(std::string_view text) {
    std::string out;
    for (const char c : text) out += c == '%' ? "%%" : std::string(1, c);
    return out;
}

// The path below each volume, in the order of the list; every volume has been opened.
struct Candidate {
    std::string path;
    std::uint64_t free;
};
Result<std::vector<Candidate>> candidates(Files& files, const User& user, const std::vector<std::string>& volumes) {
    const std::string_view pattern = user.settings().text(kPathKey);
    if (pattern.starts_with('/'))
        return config_error(kPathKey + (" '" + std::string(pattern) + "'"),
                            "maildir.volumes is set, and this is absolute",
                            "with volumes give the path below them, such as %{domain}/%{local}");
    std::vector<Candidate> out;
    for (const std::string& volume : volumes) {
        // An unmounted volume must not be made anew, nor passed over: the user's mailbox may be on it.
        auto dir = files.open_dir({AT_FDCWD, {}}, volume, Files::Follow::yes);
        if (!dir) {
            Error error = std::move(dir).error();
            error.what = "maildir.volumes: " + error.what;
            error.hint = "make or mount it, or take it off the list";
            return error;
        }
        auto path = expand_path(kPathKey, literally(volume) + "/" + std::string(pattern), user);
        if (!path) return std::move(path).error();
        auto free = free_bytes(dir->get(), volume);
        if (!free) return std::move(free).error();
        out.push_back({*std::move(path), *free});
    }
    return out;
}

// The path for a user without one.
Result<std::string> choose(Files& files, const User& user) {
    const std::vector<std::string> volumes = user.settings().words("maildir.volumes");
    if (volumes.empty()) return expand_path(kPathKey, user.settings().text(kPathKey), user);
    auto places = candidates(files, user, volumes);
    if (!places) return std::move(places).error();
    const Candidate* best = nullptr;
    for (const Candidate& place : *places) {
        auto there = files.stat({AT_FDCWD, {}}, place.path);
        if (there) return place.path;
        if (there.error().sys != ENOENT) return std::move(there).error();
        if (best == nullptr || place.free > best->free) best = &place;
    }
    return best->path;
}

// True if there is nothing in the mailbox but what allocate() makes.
bool is_new(Files& files, DirRef mailbox) {
    bool holds_more = false;
    auto listing = files.open_dir(mailbox, ".");
    if (!listing) return false;
    auto listed = each_entry(listing->get(), mailbox.path, [&](const Entry& entry) -> Result<void> {
        if (entry.name == kSizeFileName) return {};
        const bool ours = entry.name == "cur" || entry.name == "new" || entry.name == "tmp";
        auto dir = files.open_dir(mailbox, entry.name);
        if (!ours || !dir || !is_empty(dir->get(), mailbox.path)) holds_more = true;
        return {};
    });
    return listed && !holds_more;
}

// Gives the mailbox's directory to its owner. Only one that is empty and still the running user's is given away: that
// is what this call, or one before it that was killed here, has made.
Result<void> hand_over(Files& files, int fd, const std::string& path, const Owner& owner) {
    struct stat st {};
    if (::fstat(fd, &st) != 0) return system_error(errno, "cannot look at " + path);
    if (st.st_uid == owner.uid && st.st_gid == owner.gid) return {};
    if (st.st_uid == ::geteuid() && is_empty(fd, path)) return files.set_owner(fd, owner.uid, owner.gid, path);
    if (st.st_uid == owner.uid) return {};  // the group is the administrator's affair
    return config_error(path, "it is there and belongs to uid " + std::to_string(st.st_uid),
                        "if it is the user's, chown -R " + std::to_string(owner.uid) + ":" + std::to_string(owner.gid) +
                            " it; else move it away");
}

Result<void> make_mailbox(Files& files, const User& user, const std::string& path, const std::optional<Owner>& owner) {
    const Split at = split(path);
    auto parent = files.make_path(at.parent, kParentMode);
    if (!parent) return std::move(parent).error();
    const DirRef above{parent->get(), at.parent};
    const mode_t mode = user.settings().mode("maildir.directory-mode");
    auto made = files.make_dir(above, at.leaf, mode);
    if (!made) return std::move(made).error();
    auto root = files.open_dir(above, at.leaf);
    if (!root) return std::move(root).error();
    const Mailbox mailbox{path, {}, *std::move(root), owner, mode, user.settings().mode("maildir.file-mode"), {}};
    if (owner) {
        auto given = hand_over(files, mailbox.root.get(), path, *owner);
        if (!given) return given;
    }
    {
        auto acting = ActAs::begin(owner);
        if (!acting) return std::move(acting).error();
        const bool counted = *made && begin_books(files, mailbox, terms_of(user, folder_rules(user.settings()), {}));
        bool all_made = true;
        // Last cur, because a directory counts as a folder when it has one.
        for (const char* name : {"tmp", "new", "cur"}) {
            auto inside = files.make_dir(mailbox.ref(), name, mode);
            if (!inside) return std::move(inside).error();
            all_made = all_made && *inside;
        }
        // Whoever was faster may have put mail there before our books began.
        if (counted && !all_made)
            if (auto forgotten = forget_count(files, mailbox); !forgotten) return forgotten;
    }
    // Also what was there: whoever made it may have been killed before it could sync.
    for (const DirRef& dir : {mailbox.ref(), above}) {
        auto synced = files.sync(dir.fd, dir.path);
        if (!synced) return synced;
    }
    return {};
}

}  // namespace

bool gives_uids(const User& user) { return ::geteuid() == 0 && user.settings().id_range("maildir.uids").has_value(); }

Result<Settings> allocate(Files& files, UserDb& db, const User& user) {
    Settings out;
    auto owner = owner_of(user);
    if (!owner) return std::move(owner).error();
    if (const std::string* uid = user.allocated(kUidKey)) {
        out[kUidKey] = *uid;
    } else if (gives_uids(user)) {
        // First the number, which the database keeps for this user even if we are killed before the record says so.
        auto number = db.own_number(kUidKey, user.name(), *user.settings().id_range("maildir.uids"));
        if (!number) return std::move(number).error();
        *owner = Owner{*number, group_for(user, *number)};
        out[kUidKey] = std::to_string(*number);
    }
    const std::string* named = user.allocated(kPathKey);
    auto path = named != nullptr ? Result<std::string>(*named) : choose(files, user);
    if (!path) return std::move(path).error();
    if (!path->starts_with('/') || path->ends_with('/'))
        return config_error(std::string(kPathKey) + " '" + *path + "' of " + user.name(),
                            "not an absolute path of a directory", "begin it with a slash and end it without");
    auto made = make_mailbox(files, user, *path, *owner);
    if (!made) return std::move(made).error();
    out[kPathKey] = *std::move(path);
    return out;
}

Result<void> release(Files& files, const User& user, const Settings& allocation) {
    const auto path = allocation.find(kPathKey);
    if (path == allocation.end()) return {};
    if (const std::string* kept = user.allocated(kPathKey); kept != nullptr && *kept == path->second) return {};
    const Split at = split(path->second);
    auto parent = files.open_dir({AT_FDCWD, {}}, at.parent, Files::Follow::yes);
    if (!parent) return parent.error().sys == ENOENT ? Result<void>() : std::move(parent).error();
    const DirRef above{parent->get(), at.parent};
    auto root = files.open_dir(above, at.leaf);
    if (!root) return root.error().sys == ENOENT ? Result<void>() : std::move(root).error();
    const DirRef mailbox{root->get(), path->second};
    if (!is_new(files, mailbox)) return {};
    // What arrives from here on makes its directory stay, and a delivery makes the others again.
    for (const char* name : {"cur", "new", "tmp"}) {
        auto removed = files.remove_dir(mailbox, name);
        if (!removed) return removed.error().sys == ENOTEMPTY ? Result<void>() : removed;
    }
    auto removed = files.unlink(mailbox, kSizeFileName);
    if (removed) removed = files.remove_dir(above, at.leaf);
    return !removed && removed.error().sys == ENOTEMPTY ? Result<void>() : removed;
}

Result<void> purge(Files& files, const User& user) {
    auto mailbox = open_mailbox(files, user);
    if (!mailbox) return mailbox.error().sys == ENOENT ? Result<void>() : std::move(mailbox).error();
    {
        auto acting = ActAs::begin(mailbox->owner);
        if (!acting) return std::move(acting).error();
        auto emptied = remove_contents(files, mailbox->ref());
        if (!emptied) return emptied;
    }
    const Split at = split(mailbox->path);
    auto parent = files.open_dir({AT_FDCWD, {}}, at.parent, Files::Follow::yes);
    if (!parent) return std::move(parent).error();
    return files.remove_dir({parent->get(), at.parent}, at.leaf);
}

}  // namespace roost::maildir
