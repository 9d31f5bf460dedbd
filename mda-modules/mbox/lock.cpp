#include "lock.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <system_error>

#include "base/log.h"
#include "base/text.h"
#include "text.h"

namespace roost::mbox {
namespace {

constexpr std::size_t kLongestLockFile = 256;

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0) return {};
    return name.data();
}

bool same_file(const struct stat& a, const struct stat& b) { return a.st_ino == b.st_ino && a.st_dev == b.st_dev; }

// The process that made a lock file, as it says itself: "PID:HOST" or "PID"; 0 if it does not say, or is on another
// machine, where nobody can be asked.
pid_t read_owner(std::string_view text) {
    text = text.substr(0, text.find_first_of("\r\n"));
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
    const std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
    const bool here = rest.empty() || (rest.starts_with(':') && rest.substr(1) == host_name());
    return error == std::errc() && pid > 0 && here ? pid : 0;
}

struct flock whole_file(short type) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    return lock;
}

}  // namespace

Result<LockRules> LockRules::make(const Config& config) {
    LockRules rules;
    for (const std::string& word : parse_words(config.text("mbox.locks"))) {
        const LockKind kind = word == "fcntl" ? LockKind::fcntl : LockKind::dotlock;
        const bool known = word == "fcntl" || word == "dotlock";
        if (!known || std::find(rules.kinds.begin(), rules.kinds.end(), kind) != rules.kinds.end())
            return config_error(std::string(config.origin("mbox.locks")) + ": mbox.locks",
                                "'" + printable(word) + "' has no place there", "write fcntl, dotlock or both");
        rules.kinds.push_back(kind);
    }
    if (rules.kinds.empty())
        return config_error(std::string(config.origin("mbox.locks")) + ": mbox.locks", "no lock is named",
                            "other mail programs rewrite the file: write fcntl, dotlock or both");
    rules.timeout = config.duration("mbox.lock-timeout");
    rules.stale = config.duration("mbox.dotlock-stale");
    return rules;
}

Result<std::optional<RecordLock>> RecordLock::try_take(int fd, const std::string& path) {
    struct flock lock = whole_file(F_WRLCK);
    if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return std::optional(RecordLock(fd));
    if (errno == EAGAIN || errno == EACCES) return std::optional<RecordLock>();
    return system_error(errno, "cannot lock " + path, "where the file system has no fcntl locks no mbox is safe");
}

RecordLock::~RecordLock() {
    if (fd_ < 0) return;
    struct flock lock = whole_file(F_UNLCK);
    ::fcntl(fd_, F_OFD_SETLK, &lock);
}

Result<bool> MailboxLock::try_take(int fd) {
    for (const LockKind kind : rules_.kinds) {
        auto taken = take(kind, fd);
        if (taken && *taken) continue;
        // Waiting for one lock while holding another would deadlock with a program that takes them the other way.
        release();
        return taken;
    }
    return true;
}

Result<bool> MailboxLock::take(LockKind kind, int fd) {
    if (kind == LockKind::dotlock) return take_dotlock();
    auto taken = RecordLock::try_take(fd, path(name_));
    if (!taken) return std::move(taken).error();
    if (*taken) {
        record_ = *std::move(taken);
        return true;
    }
    struct flock holder = whole_file(F_WRLCK);
    const bool known = ::fcntl(fd, F_OFD_GETLK, &holder) == 0 && holder.l_type != F_UNLCK && holder.l_pid > 0;
    held_by_ =
        (known ? "process " + std::to_string(holder.l_pid) : std::string("another process")) + " holds the fcntl lock";
    return false;
}

// The lock file is a second name of a file of Roost's own. Whoever makes it holds the record lock of the books, so a
// lock file that is found to be such a second name was left by a Roost that is gone.
Result<bool> MailboxLock::take_dotlock() {
    auto made = make_own();
    if (!made) return std::move(made).error();
    const std::string own_name = "." + name_ + ".roost-lock";
    for (int attempt = 0; attempt < 2; ++attempt) {
        auto linked = files_.link(dir_, own_name, dir_, name_ + ".lock");
        if (linked) {
            dotlock_ = true;
            return true;
        }
        // On NFS the answer to a link that was made can get lost.
        const auto own = files_.stat(dir_, own_name);
        if (own && own->st_nlink == 2) {
            dotlock_ = true;
            return true;
        }
        Result<bool> removed = std::move(linked).error();
        if (removed.error().sys == EEXIST) {
            removed = remove_stale();
        } else {
            removed.error().hint = "Roost must be able to make files beside the mailbox; or set mbox.locks = fcntl";
        }
        if (removed && *removed) continue;
        if (auto unlinked = files_.unlink(dir_, own_name); !unlinked) return std::move(unlinked).error();
        return removed;
    }
    held_by_ = "other programs take the lock file " + path(name_ + ".lock") + " in turns";
    if (auto unlinked = files_.unlink(dir_, own_name); !unlinked) return std::move(unlinked).error();
    return false;
}

Result<void> MailboxLock::make_own() {
    const std::string own_name = "." + name_ + ".roost-lock";
    // Readable for all, so that other programs can see that the owner lives.
    constexpr mode_t kMode = 0644;
    auto fd = files_.open(dir_, own_name, O_WRONLY | O_CREAT | O_EXCL, kMode);
    if (!fd && fd.error().sys == EEXIST) {
        auto own = files_.stat(dir_, own_name);
        auto lock = files_.stat(dir_, name_ + ".lock");
        if (own && lock && same_file(*own, *lock)) {
            auto unlinked = files_.unlink(dir_, name_ + ".lock");
            if (!unlinked) return unlinked;
        }
        auto unlinked = files_.unlink(dir_, own_name);
        if (!unlinked) return unlinked;
        fd = files_.open(dir_, own_name, O_WRONLY | O_CREAT | O_EXCL, kMode);
    }
    if (!fd) {
        fd.error().hint = "Roost must be able to make files beside the mailbox; or set mbox.locks = fcntl";
        return std::move(fd).error();
    }
    // Dovecot reads "PID:HOST"; liblockfile reads as far as the number goes.
    auto written = files_.write(fd->get(), std::to_string(::getpid()) + ":" + host_name(), path(own_name));
    if (!written) {
        if (auto unlinked = files_.unlink(dir_, own_name); !unlinked) log(LogLevel::warning, unlinked.error().text());
    }
    return written;
}

// True: the lock file is gone, try again. False: it is somebody's.
Result<bool> MailboxLock::remove_stale() {
    const std::string lock_name = name_ + ".lock";
    auto fd = files_.open(dir_, lock_name, O_RDONLY | O_NONBLOCK);
    if (!fd && fd.error().sys == ENOENT) return true;
    if (!fd) return std::move(fd).error();
    struct stat lock {};
    if (::fstat(fd->get(), &lock) != 0) return system_error(errno, "cannot look at " + path(lock_name));
    if (!S_ISREG(lock.st_mode) || lock.st_size > static_cast<off_t>(kLongestLockFile))
        return Error{Outcome::trouble, "cannot lock " + path(name_), path(lock_name) + " is no lock file",
                     "move it away", 0};
    auto text = read_at(fd->get(), path(lock_name), 0, kLongestLockFile);
    if (!text) return std::move(text).error();
    const pid_t owner = read_owner(*text);
    const auto age = std::chrono::system_clock::now() - std::chrono::system_clock::from_time_t(lock.st_mtime);
    const bool stale = owner > 0 ? ::kill(owner, 0) != 0 && errno == ESRCH : age > rules_.stale;
    if (!stale) {
        held_by_ = (owner > 0 ? "process " + std::to_string(owner) : std::string("another program")) +
                   " holds the lock file " + path(lock_name);
        return false;
    }
    // Somebody else may have seen the same and be quicker.
    auto now = files_.stat(dir_, lock_name);
    if (!now && now.error().sys == ENOENT) return true;
    if (!now) return std::move(now).error();
    if (!same_file(*now, lock) || now->st_mtime != lock.st_mtime) return false;
    log(LogLevel::warning, "removing the lock file " + path(lock_name) + ": its owner is gone");
    auto unlinked = files_.unlink(dir_, lock_name);
    if (!unlinked) return std::move(unlinked).error();
    return true;
}

void MailboxLock::release() {
    if (dotlock_) {
        dotlock_ = false;
        auto unlinked = files_.unlink(dir_, name_ + ".lock");
        // As long as both names stand, the next Roost knows what it sees.
        if (unlinked) unlinked = files_.unlink(dir_, "." + name_ + ".roost-lock");
        if (!unlinked) log(LogLevel::warning, unlinked.error().text());
    }
    record_.reset();
}

}  // namespace roost::mbox
