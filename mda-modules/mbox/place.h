// Where a user's mailboxes are, and making and taking them away.
#pragma once

#include "base/files.h"
#include "base/folder.h"
#include "base/result.h"
#include "config/setting.h"
#include "mailbox.h"
#include "user/user.h"

#include <optional>
#include <string>
#include <vector>

namespace roost::mbox {

// Where a user's mail is.
struct Place {
    std::string dir;       // the directory of INBOX
    std::string name;      // INBOX's file in it
    std::string folders;   // the directory of the folders
    bool own_dir = false;  // the template gives every user a `dir` of his own

    // As allocated. An Error (misconfigured) if the allocation cannot be used.
    static Result<Place> of(const User& user);
    // A shared directory is the administrator's, who may have put a link there; a user's own is none.
    Files::Follow links() const { return own_dir ? Files::Follow::no : Files::Follow::yes; }
    bool folders_inside() const { return folders.starts_with(dir + "/"); }
};

// Whether a file of that name can be a mailbox: it is one component, and neither a lock file's name nor one of Roost's
// own.
bool is_usable_name(const std::string& name);

// Makes the mailbox, or takes what is there, and returns mbox.path and mbox.folders. Durable.
Result<Settings> allocate(Files& files, const Rules& rules, const User& user);

// Removes what allocate made, if `user` does not have it and no mail is in it.
Result<void> release(Files& files, const User& user, const Settings& allocation);

// Removes the user's mailbox and folders. What is gone already is a success.
Result<void> purge(Files& files, const User& user);

// The Error for INBOX's file or a directory that was made and is gone.
Error vanished(const std::string& path, const User& user);

// Opens the directory of INBOX. An Error if it is gone.
Result<Fd> open_inbox_dir(Files& files, const Place& place);

// The file of a folder. Nothing: it is missing, and stays so, for `create` is not set.
struct FolderFile {
    Fd dir;
    std::string dir_path;
    std::string name;
    std::vector<Fd> way;  // the directories above `dir`
};
Result<std::optional<FolderFile>> find_folder(Files& files, const Rules& rules, const User& user, const Place& place,
                                              const Folder& folder, bool create);
// True of an Error of find_folder's that says that there can be no such folder.
bool cannot_be(const Error& error);
// The path of the folder's file; nothing if there can be no such folder.
std::optional<std::string> folder_path(const Rules& rules, const Place& place, const Folder& folder);

// The folder that open_target() would open, as far as looking tells.
Result<Folder> find_target(Files& files, const Rules& rules, const User& user, const Folder& wanted, bool create);

// Whether a file system takes the names of the folder.
bool is_usable(const Folder& folder);

struct Target {
    Folder folder;
    Mailbox mailbox;
};
// Opens the mailbox of a folder, made if it is missing and `create` says so, and otherwise INBOX. A link in the place
// of a folder, or one that cannot be opened, is an Error.
Result<Target> open_target(Files& files, const Rules& rules, const User& user, const Folder& folder, bool create);

}  // namespace roost::mbox
