// The stamp: what a maildirsize was written under that its own text does not say.
#pragma once

#include <ctime>
#include <string>

#include "base/files.h"
#include "base/result.h"
#include "books.h"
#include "mailbox.h"

namespace roost::maildir {

// The stamp lies beside maildirsize, in the file roost-stamp, and names the one maildirsize that it is for: what
// another program puts in its place has none. Without a stamp all folders were counted. With one, for a mailbox it
// lists those that were left out; for a folder counted apart, whose maildirsize no other program keeps, it tells when
// the folder's cur had last changed, so that what a mail program did there since is noticed.

// The stamp that a maildirsize, open as `file`, must have to be trusted: empty for none. `cur_changed` is for a folder.
Result<std::string> stamp_for(int file, const Terms& terms, const struct timespec& cur_changed);

// True if the open maildirsize was written under these terms, and the folder has not been changed by others since.
Result<bool> has_stamp(Files& files, const Mailbox& mailbox, int file, const Terms& terms);

// Writes the stamp, or removes it if it is to be empty. `tmp` is the mailbox's.
Result<void> write_stamp(Files& files, const Mailbox& mailbox, DirRef tmp, const std::string& stamp);

// True if the stamp beside maildirsize is this one.
bool is_stamp(Files& files, const Mailbox& mailbox, const std::string& stamp);

Result<void> remove_stamp(Files& files, const Mailbox& mailbox);

}  // namespace roost::maildir
