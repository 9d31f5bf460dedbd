// Where mailboxes are, and making and taking them away.
#pragma once

#include "base/files.h"
#include "base/result.h"
#include "config/setting.h"
#include "module/module.h"
#include "user/user.h"

#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace roost::maildir {

// Whether mailboxes get a uid of their own: maildir.uids is set and Roost runs as root.
bool gives_uids(const User& user);

// The directories above mailboxes that surely are on the disk. Any thread.
class Anchored {
public:
    // Syncs what `directory` lies in, as far up as it was made a moment ago: whoever made it may not have synced it
    // yet.
    Result<void> settle(Files& files, int directory, const std::string& path);

private:
    std::mutex mutex_;
    std::set<std::pair<dev_t, ino_t>> known_;
};

// Makes the user's mailbox and returns maildir.path and, where it has one, maildir.uid. What the record names already
// is kept; else a mailbox that is there on any volume is taken, which is how a call after a crash finds what the first
// one made; else it is made on the volume with the most free space. Durable when it returns, or the host's
// new_mailboxes took it.
Result<Settings> allocate(const ModuleHost& host, Anchored& anchored, const User& user);

// What Mda::restore_mailbox does, without any sync. The user's record names the path.
struct Remade {
    Fd root;
    bool anew;  // anything of it was missing
};
Result<Remade> make_again(Files& files, const User& user);

// Removes the mailbox of `allocation` if nothing is in it and `user` does not have it.
Result<void> release(Files& files, const User& user, const Settings& allocation);

// Removes the user's mailbox with all mail in it. One that is gone already is a success.
Result<void> purge(Files& files, const User& user);

}  // namespace roost::maildir
