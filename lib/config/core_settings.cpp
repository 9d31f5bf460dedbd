#include "config/setting.h"

namespace roost {
namespace {

constexpr Setting kCore[] = {
    {"users.database", Kind::text, "sqlite:/var/lib/roost/users.db", Level::file,
     "The user database: sqlite:PATH. Its tables are described in roost-users(5); \"roost database create\" makes it."},
    {"users.busy-time", Kind::duration, "10s", Level::file,
     "How long to wait for other writers of the user database before the delivery fails for the time being."},

    {"store.mda", Kind::text, "maildir", Level::file,
     "The MDA module that stores mail: maildir, mbox, or one of your own."},
    {"store.creator", Kind::text, "lock", Level::file,
     "The creator module that makes a mailbox at a user's first mail. lock: under the user's lock, the safe choice for "
     "any number of processes and machines. trial: without waiting, the loser of a race takes the winner's mailbox. "
     "none: no coordination, for a single writer or where the place follows from the name alone."},
    {"store.modules", Kind::text, "", Level::file,
     "The directory with the modules. Empty: the one that Roost was installed with."},
    {"store.state", Kind::text, "/var/lib/roost", Level::file,
     "A directory for Roost's own state; messages too large for memory are spooled there, in unlinked files."},

    {"delivery.durability", Kind::choice, "fsync", Level::file,
     "How a message is made to survive a power cut before the MTA is told that it was delivered. fsync: the file is "
     "synced before it becomes visible, its directory afterwards.",
     "fsync"},
    {"delivery.detail", Kind::choice, "folder", Level::user,
     "What a detail in the address (alice+lists@example.org) does. folder: the mail goes to the folder of that name. "
     "inbox: the detail is dropped. ignore: the user takes no mail for addresses with a detail.",
     "folder inbox ignore"},
    {"delivery.detail-separators", Kind::text, "+", Level::file,
     "The characters that may separate a user's name from the detail; the first of them in the address counts. Empty: "
     "no address has a detail."},
    {"delivery.create-folders", Kind::boolean, "yes", Level::user,
     "Whether a delivery makes a folder that does not exist; if not, such mail goes to INBOX."},
    {"delivery.return-path", Kind::boolean, "yes", Level::file,
     "Whether to put a Return-Path field with the envelope sender before the message. One that the MTA wrote stays "
     "alone."},
    {"delivery.delivered-to", Kind::boolean, "yes", Level::file,
     "Whether to put a Delivered-To field with the recipient before each recipient's copy. One that the MTA wrote "
     "stays "
     "alone. With no, the copies of a message for several recipients are equal and share their bytes by hard link."},
    {"delivery.received", Kind::boolean, "yes", Level::file, "Whether to put a Received field before the message."},
    {"delivery.deadline", Kind::duration, "5m", Level::file,
     "By when roost-deliver gives up with a temporary failure. Keep it below the MTA's own time limit (Postfix: "
     "command_time_limit, 1000s; Exim: timeout, 1h), because an MTA that kills its command may bounce the mail."},

    {"quota.storage", Kind::size, "unlimited", Level::user, "How many bytes a mailbox may hold."},
    {"quota.messages", Kind::count, "unlimited", Level::user, "How many messages a mailbox may hold."},
    {"quota.message", Kind::size, "unlimited", Level::user, "How many bytes a single message may have."},
    {"quota.grace", Kind::allowance, "0", Level::user,
     "How far the last message may exceed quota.storage: a share of it (10%) or a size (10M). It is granted to a "
     "mailbox that is not full yet."},
    {"quota.when-full", Kind::choice, "bounce", Level::user,
     "What a full mailbox answers. bounce: a permanent failure, the sender is told at once. defer: a temporary "
     "failure, the MTA tries again.",
     "bounce defer"},

    {"log.target", Kind::text, "stderr", Level::file,
     "Where the log goes: stderr, syslog (facility mail) or the absolute path of a file. With stderr, roost-deliver "
     "reports failures alone, because the MTA puts what it reads there into bounces and its own log."},
    {"log.level", Kind::choice, "info", Level::file, "The least important line to log.", "debug info warning error"},
};

}  // namespace

SettingTable core_settings() { return kCore; }

}  // namespace roost
