#include "place.h"

#include <fcntl.h>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <optional>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/text.h"
#include "mail/modified_utf7.h"
#include "tree.h"

namespace roost::mbox {
namespace {

constexpr const char* kPath = "mbox.path";
constexpr const char* kFolders = "mbox.folders";

// Directories that hold the mailboxes of several users: the administrator's.
constexpr mode_t kSharedMode = 0755;

struct Split {
    std::string parent;
    std::string leaf;
};
Split split(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

Result<void> check_path(const User& user, const char* key, const std::string& path) {
    const auto wrong = [&](const char* why, const char* hint) {
        return config_error(std::string(key) + " '" + printable(path) + "' of " + user.name(), why, hint);
    };
    if (!path.starts_with('/') || path.ends_with('/'))
        return wrong("not an absolute path of a file", "begin it with a slash and end it without");
    if ((path + "/").find("/../") != std::string::npos) return wrong("'..' has no place in it", "write the whole path");
    // The file of one user would be the lock file of another one.
    if (path.ends_with(".lock"))
        return wrong("names that end in .lock belong to lock files", "choose a template that ends otherwise");
    if (split(path).leaf.starts_with('.'))
        return wrong("names that begin with a dot belong to Roost's books", "choose a template without");
    return {};
}

// The allocated path, or what the template makes.
Result<std::string> path_for(const User& user, const char* key) {
    const std::string* named = user.allocated(key);
    auto path = named != nullptr ? Result<std::string>(*named) : expand_path(key, user.settings().text(key), user);
    if (!path) return path;
    auto checked = check_path(user, key, *path);
    if (!checked) return std::move(checked).error();
    return path;
}

// Whether `dir` is what the directory part of the template makes for this user, and for no other.
bool is_own(const User& user, const std::string& dir) {
    const std::string parent = split(std::string(user.settings().text(kPath))).parent;
    const std::string leaf = split(parent).leaf;
    if (leaf.find("%{user}") == std::string::npos && leaf.find("%{local}") == std::string::npos) return false;
    const auto expanded = expand_path(kPath, parent, user);
    return expanded && *expanded == dir;
}

Place place_at(const User& user, const std::string& path, std::string folders) {
    Split at = split(path);
    const bool own = is_own(user, at.parent);
    return Place{std::move(at.parent), std::move(at.leaf), std::move(folders), own};
}

// Opens a directory or makes it, with what is missing above it. Not synced, unless something above it was missing.
Result<Fd> make_dir(Files& files, const std::string& path, mode_t mode, Files::Follow links) {
    const Split at = split(path);
    auto above = files.make_path(at.parent, kSharedMode);
    if (!above) return above;
    auto made = files.make_dir({above->get(), at.parent}, at.leaf, mode);
    if (!made) return std::move(made).error();
    // Also if it was there: whoever made it may have been killed before it was durable.
    auto synced = files.sync(above->get(), at.parent);
    if (!synced) return std::move(synced).error();
    return files.open_dir({above->get(), at.parent}, at.leaf, links);
}

mode_t directory_mode(const User& user) { return user.settings().mode("mbox.directory-mode"); }

// False: something is in it, and stays. Removing what is not there is a success.
Result<bool> remove_if_empty(Files& files, const std::string& path) {
    const Split at = split(path);
    auto above = files.open_dir({AT_FDCWD, {}}, at.parent, Files::Follow::yes);
    if (!above && above.error().sys == ENOENT) return true;
    if (!above) return std::move(above).error();
    auto removed = files.remove_dir({above->get(), at.parent}, at.leaf);
    if (removed) return true;
    if (removed.error().sys == ENOTEMPTY || removed.error().sys == EEXIST) return false;
    return std::move(removed).error();
}

// The file, its books and its locks.
Result<void> remove_mailbox(Files& files, DirRef dir, const std::string& name) {
    for (const std::string& file : {name, name + ".lock", "." + name + ".roost-lock", books_name(name)}) {
        auto removed = files.unlink(dir, file);
        if (!removed) return removed;
    }
    return {};
}

// The name of a folder's component on disk.
Result<std::string> disk_name(const std::string& component) {
    std::string name = to_modified_utf7(component);
    if (is_usable_name(name)) return name;
    return Error{
        Outcome::malformed, "folder name '" + printable(component) + "'", "an mbox file cannot have it", {}, 0};
}

Result<std::optional<Mailbox>> open_folder(Files& files, const Rules& rules, const User& user, const Place& place,
                                           const Folder& folder, bool create) {
    auto file = find_folder(files, rules, user, place, folder, create);
    if (!file) return std::move(file).error();
    if (!*file) return std::optional<Mailbox>();
    auto mailbox = Mailbox::open(files, rules, std::move((*file)->dir), (*file)->dir_path, (*file)->name,
                                 create ? Mailbox::Missing::make : Mailbox::Missing::leave);
    if (!mailbox || !*mailbox || !(*mailbox)->is_empty()) return mailbox;
    // Whoever made the directories may have been killed before their names were durable.
    for (const Fd& dir : (*file)->way) {
        auto synced = files.sync(dir.get(), place.folders);
        if (!synced) return std::move(synced).error();
    }
    return mailbox;
}

}  // namespace

bool is_usable_name(const std::string& name) {
    return !name.empty() && !name.starts_with('.') && !name.ends_with(".lock") && name.find('/') == std::string::npos &&
           name.find('\0') == std::string::npos;
}

Result<Place> Place::of(const User& user) {
    auto path = path_for(user, kPath);
    if (!path) return std::move(path).error();
    auto folders = path_for(user, kFolders);
    if (!folders) return std::move(folders).error();
    return place_at(user, *path, *std::move(folders));
}

Result<Settings> allocate(Files& files, const Rules& rules, const User& user) {
    auto place = Place::of(user);
    if (!place) return std::move(place).error();
    auto dir = make_dir(files, place->dir, place->own_dir ? directory_mode(user) : kSharedMode, place->links());
    if (!dir) return std::move(dir).error();
    auto mailbox = Mailbox::open(files, rules, *std::move(dir), place->dir, place->name, Mailbox::Missing::make);
    if (!mailbox) return std::move(mailbox).error();
    auto made = make_dir(files, place->folders, directory_mode(user), Files::Follow::no);
    if (!made) return std::move(made).error();
    auto synced = files.sync((*mailbox)->dir().fd, place->dir);
    if (!synced) return std::move(synced).error();
    return Settings{{kPath, (*mailbox)->path()}, {kFolders, place->folders}};
}

Result<void> release(Files& files, const User& user, const Settings& allocation) {
    const auto lost = [&](const char* key) -> const std::string* {
        const auto made = allocation.find(key);
        const std::string* kept = user.allocated(key);
        return made == allocation.end() || (kept != nullptr && *kept == made->second) ? nullptr : &made->second;
    };
    const std::string* path = lost(kPath);
    const std::string* folders = lost(kFolders);
    Place place;
    Fd dir;
    if (path != nullptr) {
        place = place_at(user, *path, {});
        auto opened = open_inbox_dir(files, place);
        if (!opened && opened.error().sys != ENOENT) return std::move(opened).error();
        if (opened) {
            dir = *std::move(opened);
            auto file = files.stat({dir.get(), place.dir}, place.name);
            if (!file && file.error().sys != ENOENT) return std::move(file).error();
            if (file && (!S_ISREG(file->st_mode) || file->st_size > 0)) return {};
        }
    }
    // INBOX goes last: with it goes the mark that the mailbox was made.
    if (folders != nullptr) {
        auto removed = remove_if_empty(files, *folders);
        if (!removed) return std::move(removed).error();
        if (!*removed) return {};
    }
    if (!dir) return {};
    auto removed = remove_mailbox(files, {dir.get(), place.dir}, place.name);
    if (!removed || !place.own_dir) return removed;
    auto emptied = remove_if_empty(files, place.dir);
    return emptied ? Result<void>() : std::move(emptied).error();
}

Result<void> purge(Files& files, const User& user) {
    if (user.allocated(kPath) == nullptr) return {};
    auto place = Place::of(user);
    if (!place) return std::move(place).error();
    auto removed = remove_tree(files, place->folders);
    if (!removed) return removed;
    auto dir = open_inbox_dir(files, *place);
    if (!dir) return dir.error().sys == ENOENT ? Result<void>() : std::move(dir).error();
    removed = remove_mailbox(files, {dir->get(), place->dir}, place->name);
    if (!removed) return removed;
    return place->own_dir ? remove_tree(files, place->dir) : Result<void>();
}

Error vanished(const std::string& path, const User& user) {
    return Error{Outcome::trouble, "cannot find the mailbox " + path + " of " + user.name(), "it was made, and is gone",
                 "is the volume mounted? To have it made anew, give it up: MAILBOXES in roost-users(5)", 0};
}

Result<Fd> open_inbox_dir(Files& files, const Place& place) {
    return files.open_dir({AT_FDCWD, {}}, place.dir, place.links());
}

Result<std::optional<FolderFile>> find_folder(Files& files, const Rules& rules, const User& user, const Place& place,
                                              const Folder& folder, bool create) {
    FolderFile at;
    auto top = files.open_dir({AT_FDCWD, {}}, place.folders);
    if (!top && top.error().sys == ENOENT) {
        // INBOX's directory is there: so must folders below it be, if there are any.
        if (!place.folders_inside()) return vanished(place.folders, user);
        if (!create) return std::optional<FolderFile>();
        top = make_dir(files, place.folders, directory_mode(user), Files::Follow::no);
    }
    if (!top) return std::move(top).error();
    at.dir = *std::move(top);
    at.dir_path = place.folders;
    for (const std::string& component : folder) {
        auto name = disk_name(component);
        if (!name) return std::move(name).error();
        at.name = *std::move(name);
        if (rules.folder_file.empty() && &component == &folder.back()) break;
        const DirRef above{at.dir.get(), at.dir_path};
        auto below = files.open_dir(above, at.name);
        if (!below && below.error().sys == ENOENT) {
            if (!create) return std::optional<FolderFile>();
            auto made = files.make_dir(above, at.name, directory_mode(user));
            if (!made) return std::move(made).error();
            below = files.open_dir(above, at.name);
        }
        if (!below) return std::move(below).error();
        at.way.push_back(std::exchange(at.dir, *std::move(below)));
        at.dir_path += "/" + at.name;
    }
    if (!rules.folder_file.empty()) at.name = rules.folder_file;
    return std::optional<FolderFile>(std::move(at));
}

// A folder whose name another kind of file has, or that no file system could hold, cannot be made. A link is not such a
// case: somebody planted it.
bool cannot_be(const Error& error) {
    return error.sys == ENOTDIR || error.sys == EISDIR || error.sys == ENAMETOOLONG ||
           error.outcome == Outcome::malformed;
}

std::optional<std::string> folder_path(const Rules& rules, const Place& place, const Folder& folder) {
    std::string path = place.folders;
    for (const std::string& component : folder) {
        auto name = disk_name(component);
        if (!name) return std::nullopt;
        path += "/" + *name;
    }
    return rules.folder_file.empty() ? path : path + "/" + rules.folder_file;
}

bool is_usable(const Folder& folder) {
    return std::all_of(folder.begin(), folder.end(), [](const std::string& component) {
        const auto name = disk_name(component);
        return name && name->size() <= NAME_MAX;
    });
}

Result<Folder> find_target(Files& files, const Rules& rules, const User& user, const Folder& wanted, bool create) {
    auto place = Place::of(user);
    if (!place) return std::move(place).error();
    auto file = find_folder(files, rules, user, *place, wanted, false);
    if (!file) return cannot_be(file.error()) ? Folder() : Result<Folder>(std::move(file).error());
    const Folder missing = create && is_usable(wanted) ? wanted : Folder();
    if (!*file) return missing;
    auto there = files.stat({(*file)->dir.get(), (*file)->dir_path}, (*file)->name);
    if (there) return S_ISDIR(there->st_mode) ? Folder() : wanted;
    if (there.error().sys == ENOENT) return missing;
    return cannot_be(there.error()) ? Folder() : Result<Folder>(std::move(there).error());
}

Result<Target> open_target(Files& files, const Rules& rules, const User& user, const Folder& folder, bool create) {
    auto place = Place::of(user);
    if (!place) return std::move(place).error();
    auto dir = open_inbox_dir(files, *place);
    if (!dir) return dir.error().sys == ENOENT ? vanished(place->dir, user) : std::move(dir).error();
    if (!folder.empty()) {
        auto mailbox = open_folder(files, rules, user, *place, folder, create);
        if (mailbox && *mailbox) return Target{folder, **std::move(mailbox)};
        if (!mailbox && !cannot_be(mailbox.error())) return std::move(mailbox).error();
        if (!mailbox) log(LogLevel::warning, mailbox.error().text() + ": delivering to INBOX");
    }
    auto inbox = Mailbox::open(files, rules, *std::move(dir), place->dir, place->name, Mailbox::Missing::leave);
    if (!inbox) return std::move(inbox).error();
    if (!*inbox) return vanished(place->dir + "/" + place->name, user);
    return Target{{}, **std::move(inbox)};
}

}  // namespace roost::mbox
