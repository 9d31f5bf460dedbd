// Maildir++ folders: directories beside INBOX's whose names begin with a dot.
#pragma once

#include <string>
#include <string_view>

#include "base/files.h"
#include "base/folder.h"
#include "base/result.h"
#include "mailbox.h"

namespace roost::maildir {

// The directory of a folder other than INBOX: ".Lists.roost". A component has no dot of its own, because a dot
// separates components.
std::string folder_directory(const Folder& folder);

// Trash, the one folder that Maildir++ reserves.
bool is_trash(const Folder& folder);

// Where a delivery goes.
struct Target {
    Folder folder;
    Maildir maildir;
    bool fresh;  // the folder's own entry may not be durable yet: the mailbox's root must be synced too
};

// The folder that open_target() would open, as far as looking tells.
Result<Folder> find_target(Files& files, const Mailbox& mailbox, const Folder& wanted, bool create);

// Whether a file system takes the folder's name.
bool is_usable(const Folder& folder);

// Opens `wanted`, making it if `create` says so; where it is missing or cannot be made, INBOX. A link in the folder's
// place, or a folder that cannot be opened, is an Error. `tmp` as with open_maildir().
Result<Target> open_target(Files& files, const Mailbox& mailbox, const Folder& wanted, bool create,
                           Tmp tmp = Tmp::open);

}  // namespace roost::maildir
