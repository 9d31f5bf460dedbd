// Where mailboxes are, and making and taking them away.
#pragma once

#include "base/files.h"
#include "base/result.h"
#include "config/setting.h"
#include "user/user.h"
#include "user/user_db.h"

namespace roost::maildir {

// Whether mailboxes get a uid of their own: maildir.uids is set and Roost runs as root.
bool gives_uids(const User& user);

// Makes the user's mailbox and returns maildir.path and, where it has one, maildir.uid. What the record names already
// is kept; else a mailbox that is there on any volume is taken, which is how a call after a crash finds what the first
// one made; else it is made on the volume with the most free space. Durable when it returns.
Result<Settings> allocate(Files& files, UserDb& db, const User& user);

// Removes the mailbox of `allocation` if nothing is in it and `user` does not have it.
Result<void> release(Files& files, const User& user, const Settings& allocation);

// Removes the user's mailbox with all mail in it. One that is gone already is a success.
Result<void> purge(Files& files, const User& user);

}  // namespace roost::maildir
