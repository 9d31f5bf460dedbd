// A user's mailbox: the directory that holds INBOX as a Maildir and the other folders beside it.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "base/files.h"
#include "base/result.h"
#include "owner.h"
#include "size_file.h"
#include "user/user.h"

namespace roost::maildir {

// What a maildirsize said when it was read. The file only ever grows, or is replaced.
struct ReadBooks {
    Fd file;
    bool for_entries;  // it may be written to
    off_t size;
    SizeFile said;
};

// An open mailbox. Below `root` every component is opened on its own and without following links.
struct Mailbox {
    std::string path;
    struct stat state;  // of the directory when it was opened
    Fd root;
    std::optional<Owner> owner;
    mode_t directory_mode;
    mode_t file_mode;
    std::optional<ReadBooks> books{};  // as they were last read and found to be kept under this user's terms

    DirRef ref() const { return {root.get(), path}; }
};

// Opens the mailbox that is allocated to `user`. One that has vanished is an Error (temporary): its volume may be
// unmounted, and a new mailbox in its place would hide the user's mail.
Result<Mailbox> open_mailbox(Files& files, const User& user);
// The same, opened once for all that is done with this User, as long as its path leads there.
Result<std::shared_ptr<Mailbox>> mailbox_of(Files& files, const User& user);

// The two directories that a delivery into a Maildir needs.
struct Maildir {
    std::string path;
    Fd tmp;    // empty if Tmp::unless_empty was asked for, and it is
    Fd fresh;  // "new"

    std::string tmp_path() const { return path + "/tmp"; }
    std::string fresh_path() const { return path + "/new"; }
};

// Opens the Maildir at `dir`. What is missing of new, cur and tmp is made again, durably; a link in their place is an
// Error. Tmp::unless_empty spares opening a tmp/ that is known to hold nothing.
enum class Tmp { open, unless_empty };
Result<Maildir> open_maildir(Files& files, DirRef dir, mode_t mode, Tmp tmp = Tmp::open);

// Removes what is in the directory `dir`, with all directories below it, following no link and entering no other file
// system that is mounted there (EBUSY). `dir` itself stays.
Result<void> remove_contents(Files& files, DirRef dir);

}  // namespace roost::maildir
