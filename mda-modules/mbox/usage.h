// What a user's mailboxes hold.
#pragma once

#include "base/files.h"
#include "base/result.h"
#include "place.h"
#include "quota/limits.h"

namespace roost::mbox {

// Whether the books are believed where they fit their file, or every file is read.
enum class Look { books, store };

// The sizes of INBOX and of all folders that count in the mailbox, and how many messages are in them; or of the one
// folder that `account` names. Files that had to be read get their books put right, unless a delivery is going on
// there. A file below mbox.folders that is no mbox does not count. Each file has books of its own, so other rules need
// no other books.
Result<Usage> count_usage(Files& files, const Rules& rules, const User& user, const Folder& account, Look look);

}  // namespace roost::mbox
