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
    {"store.modules", Kind::path, "", Level::file,
     "The directory with the modules. Empty: the one that Roost was installed with."},
    {"store.state", Kind::path, "/var/lib/roost", Level::file,
     "A directory for Roost's own state; messages too large for memory are spooled there, in unlinked files."},
    {"store.confine", Kind::boolean, "yes", Level::file,
     "Whether roostd, when it starts, keeps itself to the directories that this file names (Landlock, from Linux 5.19 "
     "on), see roostd(8). With no, permissions alone limit it. Programs that it runs gain no privileges by set-user-ID "
     "or set-group-ID either way."},
    {"store.directories", Kind::paths, "", Level::file,
     "Further directories that roostd writes to: those of mailboxes that a plan, a domain, a user or an older "
     "allocation puts elsewhere than the settings of the MDA module in this file."},

    {"delivery.durability", Kind::choice, "journal", Level::file,
     "How roostd makes a message survive a power cut before the MTA is told that it was delivered. journal: all "
     "messages "
     "under way go into a journal below store.state with one flush of the disk, and to the mailboxes' disks behind the "
     "verdict; for mailboxes on this machine's own file systems. fsync: each file is synced before it becomes visible, "
     "its directory afterwards; for mailboxes on network file systems, and where other programs must find all mail in "
     "place even when they start before roostd after a power cut. roost-deliver, roostd --stdio and the MDA module "
     "mbox "
     "always sync.",
     "fsync journal"},
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
    {"delivery.deadline", Kind::patience, "5m", Level::file,
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
    {"quota.warning", Kind::thresholds, "", Level::user,
     "When to warn: storage>80% once 80 % of quota.storage are used, storage<80% once less are again, messages>90% and "
     "so on. Several are separated by blanks. See WARNINGS in roost-quota(7)."},
    {"quota.warning-message", Kind::path, "", Level::user,
     "The file with a message to put into the mailbox as a warning: header, blank line, text, with %{user}, "
     "%{percent}, "
     "%{kind}, %{used}, %{limit}, %{threshold} and %{date}. Empty: none."},
    {"quota.warning-command", Kind::command, "", Level::file,
     "A program to run for a warning, as an absolute path and arguments with the variables of quota.warning-message. "
     "No "
     "shell sees it: blanks separate arguments, and what is put in for a variable stays within its argument. Empty: "
     "none.",
     "user percent kind used limit threshold date"},
    {"quota.warning-timeout", Kind::patience, "30s", Level::file,
     "How long quota.warning-command may take before it is killed."},
    {"quota.folder.NAME.storage", Kind::room, "+0", Level::user,
     "What the folder NAME may hold. +100M: a delivery into it finds so much more room than quota.storage leaves; the "
     "folder counts in the mailbox. 1G: it may hold so many bytes itself, is counted apart and not in the mailbox. See "
     "LIMITS OF FOLDERS in roost-quota(7)."},
    {"quota.folder.NAME.messages", Kind::room, "+0", Level::user,
     "The same for messages: +50, 1000 or unlimited. A folder that has a limit of its own of one kind alone is not "
     "limited in the other."},
    {"quota.folder.NAME.ignore", Kind::boolean, "no", Level::user,
     "Whether the folder NAME is neither counted nor limited."},

    {"quota.authority", Kind::choice, "mailbox", Level::file,
     "What is believed of how much a mailbox holds. mailbox: the MDA module's own books. dict: counters in quota.dict, "
     "for a store that several machines deliver to. See AUTHORITY in roost-quota(7).",
     "mailbox dict"},
    {"quota.dict", Kind::text, "", Level::file,
     "The URI of the dict with the counters, if they are the authority; see DICTS in roost-quota(7)."},
    {"quota.unified", Kind::boolean, "no", Level::user,
     "Whether the mailbox shares quota.storage and quota.messages with the user's other services. See UNIFIED QUOTA in "
     "roost-quota(7)."},
    {"quota.unified.dict", Kind::text, "", Level::file, "The URI of the dict in which services report their usage."},
    {"quota.unified.services", Kind::words, "", Level::file,
     "The names of the other services, as they stand in the dict's keys: priv/quota/storage/NAME."},
    {"quota.unified.name", Kind::text, "mail", Level::file, "The name of the mail among the services."},
    {"quota.unified.max-age", Kind::duration, "7d", Level::file,
     "How long the last known usage of other services counts while the dict cannot be asked. After that the mail alone "
     "counts."},

    {"quota-clone.dict", Kind::text, "", Level::file,
     "The dict that holds a copy of everybody's usage, as a URI; see roost-quota(7). Empty: there is no copy."},
    {"quota-clone.unset", Kind::boolean, "no", Level::file,
     "Whether a user's keys are unset before they are set, in the same transaction, for SQL dicts whose tables would "
     "otherwise refuse the second value."},
    {"quota-clone.timeout", Kind::duration, "500ms", Level::file,
     "How long roost-deliver waits for the dict, after the delivery, before it leaves the rest to roostd or to the "
     "next roost-deliver."},

    {"domain-quota.storage", Kind::size, "unlimited", Level::domain,
     "How many bytes all users of a domain may hold together, whatever their own limits add up to. See LIMITS OF "
     "DOMAINS in roost-quota(7)."},
    {"domain-quota.messages", Kind::count, "unlimited", Level::domain,
     "How many messages all users of a domain may hold together."},
    {"domain-quota.warning", Kind::thresholds, "", Level::domain,
     "When to run quota.warning-command for a domain, as quota.warning has it; nobody gets a message."},

    {"lmtp.listen", Kind::sockets, "unix:/run/roost/lmtp", Level::file,
     "Where roostd takes mail by LMTP: unix:/PATH, tcp:HOST:PORT, tcp:[IPv6]:PORT; * is any host. Several are "
     "separated "
     "by blanks. Sockets that the service manager opened (systemd: roostd.socket) take the place of all of them."},
    {"lmtp.socket-mode", Kind::mode, "0666", Level::file,
     "The permissions of the Unix sockets: who may write to one may deliver mail."},
    {"lmtp.trusted", Kind::peers, "unix 127.0.0.0/8 ::1", Level::file,
     "The clients that may tell where the mail came from (XCLIENT, XFORWARD, ORCPT): addresses, networks, and unix for "
     "everybody at a Unix socket or at standard input."},
    {"lmtp.dsn", Kind::boolean, "no", Level::file,
     "Whether trusted clients are offered DSN. Postfix tells the original recipient (ORCPT) only then; but it also "
     "leaves it to roostd then to report a success that the sender asked for, and roostd sends no mail."},
    {"lmtp.tls", Kind::choice, "offer", Level::file,
     "TLS, if there is a certificate. offer: clients may use STARTTLS. require: clients at TCP sockets must. no: it is "
     "not offered.",
     "offer require no"},
    {"lmtp.tls-certificate", Kind::path, "", Level::file,
     "The file with the certificate, and the chain if there is one, in PEM form. It is read at start and at reload. "
     "Empty: no TLS."},
    {"lmtp.tls-key", Kind::path, "", Level::file,
     "The file with the certificate's key in PEM form, without a passphrase. Empty: it is in the certificate's file."},
    {"lmtp.max-connections", Kind::positive, "2000", Level::file,
     "How many connections there may be at a time; the next one is told 421 4.3.2 and closed."},
    {"lmtp.max-recipients", Kind::positive, "1000", Level::file,
     "How many recipients a message may have; the next one is told 452 4.5.3, and the client sends it again for them."},
    {"lmtp.max-errors", Kind::positive, "20", Level::file,
     "How many refused commands without a delivery in between end a session: the last of them is told 421 4.7.0."},
    {"lmtp.max-message", Kind::size, "unlimited", Level::file,
     "The largest message to take, offered as SIZE; a larger one is told 552 5.3.4 at MAIL or 552 5.2.3 after the "
     "data. 0 is unlimited, too. quota.message limits single users."},
    {"lmtp.user-concurrency", Kind::positive, "20", Level::file,
     "How many messages for one user may be under way at a time, from RCPT to the verdict; the next one is told "
     "451 4.3.0 and comes again later. With less than the MTA opens at once (Postfix: 20, "
     "lmtp_destination_concurrency_limit), a burst for one user waits in the MTA's queue."},
    {"lmtp.idle-timeout", Kind::patience, "5m", Level::file,
     "How long to wait for a client's next command, or for more of a message, before it is told 421 4.4.2."},
    {"lmtp.data-timeout", Kind::patience, "30m", Level::file,
     "How long a client may take for one message, however steadily it comes, before it is told 421 4.4.2."},
    {"lmtp.shutdown-timeout", Kind::duration, "30s", Level::file,
     "How long transactions under way may take to end when roostd is told to stop. Idle clients are told 421 4.3.2 at "
     "once."},
    {"lmtp.redelivery-window", Kind::duration, "1h", Level::file,
     "How long to remember a delivery whose verdict the client did not wait for: if its connection ended first, it "
     "sends the same message to the same recipient again, which is then answered and not stored twice. 0s: it is "
     "stored twice."},

    {"policy.listen", Kind::sockets, "", Level::file,
     "Where roostd answers Postfix's check_policy_service, written as lmtp.listen. Empty: nowhere. A socket that the "
     "service manager opened under the name \"policy\" (systemd: roostd-policy.socket) takes the place of all of "
     "them."},
    {"policy.socket-mode", Kind::mode, "0666", Level::file,
     "The permissions of the Unix sockets: who may write to one learns whose mailbox is full."},
    {"policy.source", Kind::choice, "store", Level::file,
     "Where the policy service learns what a mailbox holds. store: from the books, as deliveries do. clone: from "
     "quota-clone.dict, so that a machine can answer for users whose mail it does not store; trouble with the dict "
     "refuses nobody.",
     "store clone"},
    {"policy.unknown", Kind::choice, "dunno", Level::file,
     "What is answered about a recipient that is not in the user database, or is disabled. dunno: nothing, for it may "
     "be an alias that Postfix knows. reject: it is refused with 550 5.1.1 or 550 5.2.1.",
     "dunno reject"},
    {"policy.max-connections", Kind::positive, "1000", Level::file,
     "How many connections to the policy service there may be at a time; the next one is closed unanswered, and "
     "Postfix defers. Each of its smtpd processes keeps one."},
    {"policy.idle-timeout", Kind::patience, "10m", Level::file,
     "How long to wait for a request to the policy service before the connection is closed. Postfix closes its own "
     "after smtpd_policy_service_max_idle, 300s."},

    {"metrics.listen", Kind::tcp_socket, "", Level::file,
     "Where roostd tells its figures to Prometheus, as tcp:HOST:PORT or tcp:[IPv6]:PORT: the page is /metrics. "
     "Everybody "
     "who reaches the port can read them. Empty: nowhere."},

    {"log.target", Kind::text, "stderr", Level::file,
     "Where the log goes: stderr, syslog (facility mail) or the absolute path of a file. With stderr, roost-deliver "
     "reports failures alone, because the MTA puts what it reads there into bounces and its own log."},
    {"log.level", Kind::choice, "info", Level::file, "The least important line to log.", "debug info warning error"},
};

}  // namespace

SettingTable core_settings() { return kCore; }

}  // namespace roost
