#include "mailbox.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/deadline.h"
#include "base/log.h"
#include "journal.h"
#include "recovery.h"
#include "text.h"

namespace roost::mbox {
namespace {

Result<struct stat> look_at(int fd, const std::string& path) {
    struct stat st {};
    if (::fstat(fd, &st) != 0) return system_error(errno, "cannot look at " + path);
    return st;
}

// Opens a file or makes it with `mode`, whatever the umask.
Result<Fd> open_or_make(Files& files, DirRef dir, const std::string& name, int flags, mode_t mode) {
    for (int attempt = 0;; ++attempt) {
        auto fd = open_own(files, dir, name, flags);
        if (fd || fd.error().sys != ENOENT) return fd;
        fd = open_own(files, dir, name, flags | O_CREAT | O_EXCL, mode);
        if (fd) {
            auto moded = files.set_mode(fd->get(), mode, std::string(dir.path) + "/" + name);
            if (!moded) return std::move(moded).error();
            return fd;
        }
        // Another delivery made it in between, perhaps; if it goes on vanishing, say so.
        if (fd.error().sys != EEXIST || attempt == 3) return fd;
    }
}

// What must stand between the end of the file, of which the last 3 bytes are given, and a From_ line: it begins a line,
// behind an empty one.
std::string separator_after(std::string_view tail) {
    if (tail.empty() || tail.ends_with("\n\n") || tail.ends_with("\n\r\n") || tail == "\n") return "";
    return tail.ends_with('\n') ? "\n" : "\n\n";
}

}  // namespace

std::string books_name(const std::string& mailbox) { return "." + mailbox + ".books"; }

Result<Fd> open_own(Files& files, DirRef dir, const std::string& name, int flags, mode_t mode) {
    // Without O_NONBLOCK a FIFO would let us wait for ever.
    auto fd = files.open(dir, name, flags | O_NONBLOCK | O_NOCTTY, mode);
    if (!fd) return fd;
    const std::string path = std::string(dir.path) + "/" + name;
    auto st = look_at(fd->get(), path);
    if (!st) return std::move(st).error();
    if (!S_ISREG(st->st_mode))
        return Error{Outcome::trouble, "cannot use " + path, "it is not a regular file", "move it away", 0};
    if (st->st_nlink > 1)
        return Error{Outcome::trouble, "cannot use " + path, "it has other names (hard links)",
                     "remove the other names: a mailbox must have one", 0};
    return fd;
}

Result<std::optional<Mailbox>> Mailbox::open(Files& files, const Rules& rules, Fd dir, std::string dir_path,
                                             std::string name, Missing missing) {
    Mailbox mailbox(files, rules, std::move(dir), std::move(dir_path), std::move(name));
    auto there = mailbox.open_files(missing);
    if (!there) return std::move(there).error();
    if (!*there) return std::optional<Mailbox>();
    return std::optional<Mailbox>(std::move(mailbox));
}

Result<bool> Mailbox::open_files(Missing missing) {
    // O_DSYNC: what is written there is durable, or has failed.
    auto books = open_own(*files_, dir(), books_name(name_), O_RDWR | O_DSYNC);
    if (!books && books.error().sys != ENOENT) return std::move(books).error();
    const bool exists = books || missing == Missing::make;
    auto file = exists ? open_or_make(*files_, dir(), name_, O_RDWR, rules_->file_mode)
                       : open_own(*files_, dir(), name_, O_RDWR);
    if (!file) {
        if (!exists && file.error().sys == ENOENT) return false;
        return std::move(file).error();
    }
    if (!books) books = open_or_make(*files_, dir(), books_name(name_), O_RDWR | O_DSYNC, rules_->file_mode);
    if (!books) return std::move(books).error();
    file_ = *std::move(file);
    books_ = *std::move(books);
    return true;
}

bool Mailbox::is_empty() const {
    struct stat st {};
    return ::fstat(file_.get(), &st) == 0 && st.st_size == 0;
}

// False: the name is another file's, or nobody's, by now.
Result<bool> Mailbox::still_there() {
    auto ours = look_at(file_.get(), path());
    if (!ours) return std::move(ours).error();
    auto named = files_->stat(dir(), name_);
    if (!named && named.error().sys == ENOENT) return false;
    if (!named) return std::move(named).error();
    return named->st_ino == ours->st_ino && named->st_dev == ours->st_dev;
}

Result<std::uint64_t> Mailbox::append(const StagedText& text) {
    using std::chrono::milliseconds;
    constexpr milliseconds kLongestPause{50};
    const Deadline deadline = Deadline::in(rules_->locks.timeout);
    MailboxLock lock(*files_, rules_->locks, dir(), name_);
    std::string held_by = "another delivery is going on";
    for (milliseconds pause{1};; pause = std::min(pause * 2, kLongestPause)) {
        // First among deliveries of Roost, which have the books for it, then against other programs.
        auto alone = RecordLock::try_take(books_.get(), books_path());
        if (!alone) return std::move(alone).error();
        if (*alone) {
            auto taken = lock.try_take(file_.get());
            if (!taken) return std::move(taken).error();
            if (!*taken) held_by = lock.held_by();
            auto there = *taken ? still_there() : Result<bool>(false);
            if (!there) return std::move(there).error();
            if (*there) {
                auto grown = append_locked(text);
                lock.release();
                return grown;
            }
            lock.release();
            if (*taken) {
                alone->reset();
                auto opened = open_files(Missing::leave);
                if (!opened) return std::move(opened).error();
                if (!*opened)
                    return Error{
                        Outcome::trouble, "cannot deliver to " + path(), "the mailbox was removed meanwhile", {}, 0};
                held_by = "another program keeps replacing the file";
            }
        }
        if (deadline.expired())
            return Error{Outcome::trouble, "cannot lock " + path(), held_by,
                         "see that it ends; mbox.lock-timeout says how long to wait", 0};
        alone->reset();
        std::this_thread::sleep_for(std::min(pause, deadline.remaining() + milliseconds(1)));
    }
}

Result<void> Mailbox::write_text(const std::string& separator, const StagedText& text, std::uint64_t at) {
    if (::lseek(file_.get(), static_cast<off_t>(at), SEEK_SET) < 0)
        return system_error(errno, "cannot write " + path());
    auto written = files_->write(file_.get(), separator + text.head(), path());
    if (written) written = text.write_rest(*files_, file_.get(), path());
    if (written) written = files_->sync_data(file_.get(), path());
    return written;
}

Result<std::uint64_t> Mailbox::append_locked(const StagedText& text) {
    auto journal = read_journal(books_.get(), books_path());
    if (!journal) return std::move(journal).error();
    if (journal->intent) {
        auto taken_back = take_back(*files_, file_.get(), path(), *journal->intent);
        if (!taken_back) return std::move(taken_back).error();
        journal->intent.reset();
    }
    auto before = look_at(file_.get(), path());
    if (!before) return std::move(before).error();
    auto books = look_at(books_.get(), books_path());
    if (!books) return std::move(books).error();
    const auto size = static_cast<std::uint64_t>(before->st_size);
    // Whoever made one of the files may have been killed before its name was durable.
    if (size == 0 || books->st_size == 0) {
        auto synced = files_->sync(dir_.get(), dir_path_);
        if (!synced) return std::move(synced).error();
    }
    if (size == 0) journal->count = Count::of(*before, 0);
    if (journal->count && !journal->count->fits(*before)) journal->count.reset();

    const std::size_t tail = std::min<std::uint64_t>(size, 3);
    const auto last = read_at(file_.get(), path(), size - tail, tail);
    if (!last) return last.error();
    const std::string separator = separator_after(*last);
    const std::uint64_t length = separator.size() + text.size();
    journal->intent = Intent{before->st_ino, size, length, (separator + text.head()).substr(0, Intent::kWitness)};
    auto done = write_journal(*files_, books_.get(), books_path(), *journal);
    if (!done) return std::move(done).error();

    const auto settle = [&](std::uint64_t more) -> Result<void> {
        auto now = look_at(file_.get(), path());
        if (!now) return std::move(now).error();
        Journal settled;
        if (journal->count) settled.count = Count::of(*now, journal->count->messages + more);
        return write_journal(*files_, books_.get(), books_path(), settled);
    };
    done = write_text(separator, text, size);
    // The message counts as delivered only when no power cut can bring the intent back.
    if (done) done = settle(1);
    if (done) return length;
    auto cut = cut_off(*files_, file_.get(), path(), size);
    if (cut) {
        cut = settle(0);
    } else {
        log(LogLevel::warning, cut.error().text() + ": the next delivery takes back what was appended");
        cut = write_journal(*files_, books_.get(), books_path(), *journal);
    }
    if (!cut) log(LogLevel::warning, cut.error().text());
    return std::move(done).error();
}

}  // namespace roost::mbox
