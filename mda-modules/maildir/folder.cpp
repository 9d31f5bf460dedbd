#include "folder.h"

#include <fcntl.h>

#include <cerrno>
#include <climits>
#include <ctime>
#include <optional>
#include <utility>

#include "base/log.h"
#include "mail/modified_utf7.h"

namespace roost::maildir {
namespace {

// How long a new directory may stay unsynced by whoever made it: its entry is synced again up to then.
constexpr std::time_t kFreshSeconds = 60;

bool changed_lately(int fd) {
    struct stat st {};
    return ::fstat(fd, &st) != 0 || st.st_ctime > std::time(nullptr) - kFreshSeconds;
}

// Makes the folder, or completes what a crash or another process left unfinished, durably. The order matters: a
// directory is a folder from the moment it has cur.
Result<Maildir> make_folder(Files& files, const Mailbox& mailbox, const std::string& name) {
    auto made = files.make_dir(mailbox.ref(), name, mailbox.directory_mode);
    if (!made) return std::move(made).error();
    auto dir = files.open_dir(mailbox.ref(), name);
    if (!dir) return std::move(dir).error();
    const std::string path = mailbox.path + "/" + name;
    const DirRef ref{dir->get(), path};
    // Tells deliveries straight into the folder that its mailbox, with maildirsize, is one level up.
    auto mark = files.open(ref, "maildirfolder", O_WRONLY | O_CREAT | O_NONBLOCK, mailbox.file_mode);
    if (!mark) return std::move(mark).error();
    auto moded = files.set_mode(mark->get(), mailbox.file_mode, path + "/maildirfolder");
    if (!moded) return std::move(moded).error();
    auto maildir = open_maildir(files, ref, mailbox.directory_mode);
    if (!maildir) return maildir;
    auto synced = files.sync(mailbox.root.get(), mailbox.path);
    if (!synced) return std::move(synced).error();
    return maildir;
}

// The folder if it is there; nothing if it is not, or is a directory that is no folder.
Result<std::optional<Target>> open_folder(Files& files, const Mailbox& mailbox, const Folder& folder, Tmp tmp) {
    const std::string name = folder_directory(folder);
    auto dir = files.open_dir(mailbox.ref(), name);
    if (!dir) {
        const int sys = dir.error().sys;
        if (sys == ENOENT || sys == ENOTDIR || sys == ENAMETOOLONG) return std::optional<Target>();
        return std::move(dir).error();
    }
    const std::string path = mailbox.path + "/" + name;
    const DirRef ref{dir->get(), path};
    auto cur = files.stat(ref, "cur");
    if (!cur && cur.error().sys == ENOENT) return std::optional<Target>();
    if (!cur) return std::move(cur).error();
    auto maildir = open_maildir(files, ref, mailbox.directory_mode, tmp);
    if (!maildir) return std::move(maildir).error();
    return std::optional<Target>(Target{folder, *std::move(maildir), changed_lately(dir->get())});
}

}  // namespace

std::string folder_directory(const Folder& folder) {
    std::string out;
    for (const std::string& component : folder) out += "." + to_modified_utf7(component);
    return out;
}

bool is_trash(const Folder& folder) { return folder.size() == 1 && folder.front() == "Trash"; }

bool is_usable(const Folder& folder) { return folder_directory(folder).size() <= NAME_MAX; }

Result<Folder> find_target(Files& files, const Mailbox& mailbox, const Folder& wanted, bool create) {
    const std::string name = folder_directory(wanted);
    auto there = files.stat(mailbox.ref(), name);
    if (there && S_ISDIR(there->st_mode) && !create) there = files.stat(mailbox.ref(), name + "/cur");
    if (there) return S_ISDIR(there->st_mode) || S_ISLNK(there->st_mode) ? wanted : Folder();
    if (there.error().sys == ENAMETOOLONG) return Folder();
    if (there.error().sys != ENOENT) return std::move(there).error();
    return create ? wanted : Folder();
}

Result<Target> open_target(Files& files, const Mailbox& mailbox, const Folder& wanted, bool create, Tmp tmp) {
    if (!wanted.empty()) {
        auto there = open_folder(files, mailbox, wanted, tmp);
        if (!there) return std::move(there).error();
        if (*there) return **std::move(there);
        if (create) {
            auto made = make_folder(files, mailbox, folder_directory(wanted));
            if (made) return Target{wanted, *std::move(made), false};
            log(LogLevel::warning, made.error().text() + ": delivering to INBOX");
        }
    }
    auto inbox = open_maildir(files, mailbox.ref(), mailbox.directory_mode, tmp);
    if (!inbox) return std::move(inbox).error();
    return Target{{}, *std::move(inbox), false};
}

}  // namespace roost::maildir
