#include "books.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <string>
#include <utility>

#include "base/log.h"
#include "count.h"
#include "folder.h"
#include "size_file.h"
#include "stamp.h"
#include "unique_name.h"

namespace roost::maildir {
namespace {

// How long a count that says "full" is believed without looking again.
constexpr std::time_t kStaleSeconds = std::time_t{15} * 60;

std::string path_of(const Mailbox& mailbox) { return mailbox.path + "/" + kSizeFileName; }

// At 5120 bytes a file is to be counted anew, which takes a second for a million messages: too long for every 700th
// delivery. Mailboxes of up to this many messages are counted whenever their file is full, larger ones as much more
// seldom as they are larger; the other times the lines of the file are summed up. So what a crash left wrong is found,
// and counting costs a delivery the same in any mailbox.
constexpr std::uint64_t kAlwaysCounted = 10'000;
// A file of more bytes is not summed up: others let it grow, and nobody knows how far it can be trusted.
constexpr std::size_t kSummedUpLimit = 16 * kSizeFileLimit;

constexpr int kForEntries = O_RDWR | O_APPEND | O_NONBLOCK;

// The size of an open file; nothing if it was replaced.
std::optional<off_t> size_of(int fd) {
    struct stat now {};
    return ::fstat(fd, &now) == 0 && now.st_nlink > 0 ? std::optional(now.st_size) : std::nullopt;
}

std::string line_of(const Usage& used) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    const auto number = [](std::uint64_t n) { return static_cast<std::int64_t>(n < kMost ? n : kMost); };
    return size_line(number(used.storage), number(used.messages));
}

// Puts a new file with these lines in place of the old one, with its stamp. The stamp comes first: a file with
// another's stamp is counted anew, whoever was killed or faster in between.
Result<void> write(Files& files, const Mailbox& mailbox, const Terms& terms, const std::string& lines,
                   const struct timespec& cur_changed) {
    const std::string text = size_header(terms.limits) + lines;

    auto maildir = open_maildir(files, mailbox.ref(), mailbox.directory_mode);
    if (!maildir) return std::move(maildir).error();
    const std::string tmp_path = maildir->tmp_path();
    const DirRef tmp{maildir->tmp.get(), tmp_path};
    const std::string name = unique_name();
    auto fd = files.open(tmp, name, O_WRONLY | O_CREAT | O_EXCL, mailbox.file_mode);
    if (!fd) return std::move(fd).error();
    const std::string path = tmp_path + "/" + name;
    Result<void> done = files.set_mode(fd->get(), mailbox.file_mode, path);
    if (done) done = files.write(fd->get(), text, path);
    auto stamp = stamp_for(fd->get(), terms, cur_changed);
    if (done && !stamp) done = stamp.error();
    if (done) done = write_stamp(files, mailbox, tmp, *stamp);
    if (done) done = files.rename(tmp, name, mailbox.ref(), kSizeFileName);
    if (!done) static_cast<void>(files.unlink(tmp, name));
    // Somebody who counts all folders may have removed the stamp in between, and would believe our file.
    if (done && !stamp->empty() && !is_stamp(files, mailbox, *stamp)) return forget_count(files, mailbox);
    return done;
}

// Sums the lines of a full file up, in a new one. Nothing: it is to be counted.
std::optional<SizeFile> sum_up(Files& files, const Mailbox& mailbox, const Terms& terms, int full) {
    // A folder's stamp would have to say anew when its cur changed.
    if (terms.apart) return std::nullopt;
    const auto text = files.read_all(full, path_of(mailbox), kSummedUpLimit);
    if (!text) return std::nullopt;
    const auto said = parse_size_file(*text, terms.limits);
    if (!said || said->used.messages <= kAlwaysCounted) return std::nullopt;
    const auto times = std::min<std::uint64_t>(said->used.messages / kAlwaysCounted, UINT32_MAX);
    if (::arc4random_uniform(static_cast<std::uint32_t>(times)) == 0) return std::nullopt;
    const auto ours = has_stamp(files, mailbox, full, terms);
    if (!ours || !*ours) return std::nullopt;
    // With a second line, so that it is not taken for a count.
    auto written = write(files, mailbox, terms, line_of(said->used) + size_line(0, 0), {});
    // What another process entered meanwhile is in the old file alone.
    struct stat st {};
    const bool missed = ::fstat(full, &st) != 0 || static_cast<std::size_t>(st.st_size) != text->size();
    if (written && missed) written = forget_count(files, mailbox);
    if (!written) log(LogLevel::warning, written.error().text());
    return missed ? std::nullopt : said;
}

// What the file says, or nothing if it is to be counted.
Result<std::optional<SizeFile>> read(Files& files, Mailbox& mailbox, const Terms& terms) {
    // A folder's stamp tells of what readers did meanwhile.
    if (!terms.apart && mailbox.books && size_of(mailbox.books->file.get()) == mailbox.books->size)
        return std::optional(mailbox.books->said);
    mailbox.books.reset();
    // Open for a delivery's line too, which comes next, where that is allowed. Not blocking: a mail user may have put a
    // FIFO there.
    auto file = files.open(mailbox.ref(), kSizeFileName, kForEntries);
    const bool for_entries = static_cast<bool>(file);
    if (!file && (file.error().sys == EACCES || file.error().sys == EPERM || file.error().sys == EROFS))
        file = files.open(mailbox.ref(), kSizeFileName, O_RDONLY | O_NONBLOCK);
    if (!file && file.error().sys == ENOENT) return std::optional<SizeFile>();
    if (!file) return std::move(file).error();
    std::array<char, kSizeFileLimit> text{};
    const ssize_t got = ::pread(file->get(), text.data(), text.size(), 0);
    if (got < 0 && errno != ESPIPE) return system_error(errno, "cannot read " + path_of(mailbox));
    const auto size = static_cast<std::size_t>(std::max<ssize_t>(got, 0));
    if (size >= kSizeFileLimit) return sum_up(files, mailbox, terms, file->get());
    const auto said = parse_size_file({text.data(), size}, terms.limits);
    if (!said) return said;
    auto ours = has_stamp(files, mailbox, file->get(), terms);
    if (!ours) return std::move(ours).error();
    if (!*ours) return std::optional<SizeFile>();
    mailbox.books.emplace(ReadBooks{*std::move(file), for_entries, got, *said});
    return said;
}

bool is_old(Files& files, const Mailbox& mailbox) {
    const auto st = files.stat(mailbox.ref(), kSizeFileName);
    if (!st) return true;
    const std::time_t age = std::time(nullptr) - st->st_mtime;
    return age < 0 || age >= kStaleSeconds;  // the clock was wrong then, or is now
}

// A count is a new file, whoever makes it. False where the file system does not tell.
bool counted_lately(Files& files, const ReadBooks& books) {
    const std::time_t age = std::time(nullptr) - files.made(books.file.get()).value_or(0);
    return age >= 0 && age < kStaleSeconds;
}

// Counts, and puts the books right; `written` tells whether that worked.
Result<Usage> count_anew(Files& files, const Mailbox& mailbox, const Terms& terms, Result<void>& written) {
    auto count = Count::make(files, mailbox, terms.count_trash, terms.left_out);
    if (!count) return std::move(count).error();
    written = write(files, mailbox, terms, line_of(count->used()), count->cur_changed());
    // A delivery while we counted may or may not be in the sum, and its own line went into the file that we replaced.
    if (written && !count->still_holds(files, mailbox)) written = forget_count(files, mailbox);
    return count->used();
}

}  // namespace

Terms terms_of(const User& user, const FolderRules& rules, const Folder& account) {
    Terms out{rules.limits(account, limits_of(user.settings())),
              user.settings().flag("maildir.count-trash"),
              !account.empty(),
              {}};
    if (out.apart) return out;
    for (const FolderRule& rule : rules.all())
        if (rule.counted != FolderRule::Counted::mailbox) out.left_out.insert(folder_directory(rule.folder));
    return out;
}

Result<Usage> usage(Files& files, Mailbox& mailbox, const Terms& terms, const Usage& coming) {
    auto books = read(files, mailbox, terms);
    if (!books) return std::move(books).error();
    if (*books) {
        const SizeFile& said = **books;
        if (fits(said.used, terms.limits, coming) || (said.lines == 1 && !is_old(files, mailbox))) return said.used;
        if (coming == Usage{} && mailbox.books && counted_lately(files, *mailbox.books)) return said.used;
    }
    Result<void> written;
    auto counted = count_anew(files, mailbox, terms, written);
    // What was counted is true even if it could not be written down, as on a full disk.
    if (counted && !written) log(LogLevel::warning, written.error().text());
    return counted;
}

Result<Usage> recount(Files& files, const Mailbox& mailbox, const Terms& terms) {
    Result<void> written;
    auto counted = count_anew(files, mailbox, terms, written);
    if (counted && !written) return std::move(written).error();
    return counted;
}

bool begin_books(Files& files, const Mailbox& mailbox, const Terms& terms) {
    // Without limits nobody asks; what needs a stamp is written with the first count.
    if (!needs_usage(terms.limits) || !terms.left_out.empty()) return false;
    auto file = files.open(mailbox.ref(), kSizeFileName, O_WRONLY | O_CREAT | O_EXCL, mailbox.file_mode);
    if (!file) return false;
    auto done = files.set_mode(file->get(), mailbox.file_mode, path_of(mailbox));
    if (done) done = files.write(file->get(), size_header(terms.limits) + size_line(0, 0), path_of(mailbox));
    // Part of it may be there; if it stays, a reader finds it wanting.
    if (!done) static_cast<void>(files.unlink(mailbox.ref(), kSizeFileName));
    return static_cast<bool>(done);
}

Result<void> forget_count(Files& files, const Mailbox& mailbox) {
    auto removed = files.unlink(mailbox.ref(), kSizeFileName);
    return removed ? remove_stamp(files, mailbox) : removed;
}

Result<void> forget_other_count(Files& files, const Mailbox& mailbox, const Terms& terms) {
    auto file = files.open(mailbox.ref(), kSizeFileName, O_RDONLY | O_NONBLOCK);
    if (!file) return file.error().sys == ENOENT ? Result<void>() : std::move(file).error();
    auto ours = has_stamp(files, mailbox, file->get(), terms);
    if (!ours) return std::move(ours).error();
    return *ours ? Result<void>() : forget_count(files, mailbox);
}

Result<std::optional<Mailbox>> open_folder_books(Files& files, const Mailbox& mailbox, const Folder& folder) {
    const std::string name = folder_directory(folder);
    const auto none = [](const Error& error) {
        return error.sys == ENOENT || error.sys == ENOTDIR || error.sys == ENAMETOOLONG;
    };
    auto dir = files.open_dir(mailbox.ref(), name);
    if (!dir && none(dir.error())) return std::optional<Mailbox>();
    if (!dir) return std::move(dir).error();
    Mailbox out{mailbox.path + "/" + name, {}, *std::move(dir), mailbox.owner, mailbox.directory_mode,
                mailbox.file_mode,         {}};
    auto cur = files.stat(out.ref(), "cur");
    if (!cur && none(cur.error())) return std::optional<Mailbox>();
    if (!cur) return std::move(cur).error();
    return std::optional<Mailbox>(std::move(out));
}

Result<Entered> Entered::enter(Files& files, Mailbox& mailbox, const Terms& terms, std::uint64_t bytes) {
    Entered out;
    out.bytes_ = bytes;
    auto read = std::exchange(mailbox.books, std::nullopt);
    const bool known = read && read->for_entries && size_of(read->file.get());
    auto file = known ? Result<Fd>(std::move(read->file)) : files.open(mailbox.ref(), kSizeFileName, kForEntries);
    if (!file && file.error().sys == ENOENT) return out;
    if (!file) return std::move(file).error();
    // Books under other terms are not for this message.
    auto ours = known ? Result<bool>(true) : has_stamp(files, mailbox, file->get(), terms);
    if (!ours) return std::move(ours).error();
    if (!*ours) {
        auto removed = forget_count(files, mailbox);
        if (!removed) return std::move(removed).error();
        return out;
    }
    if (!needs_usage(terms.limits)) {
        // Without limits nobody asks for usage at each delivery, so nobody else would notice a file that is too long or
        // tells the limits of yesterday to an IMAP server.
        std::array<char, kSizeFileLimit> text{};
        const ssize_t got = ::pread(file->get(), text.data(), text.size(), 0);
        const std::string_view said(text.data(), got < 0 ? 0 : static_cast<std::size_t>(got));
        if (said.size() >= kSizeFileLimit || !has_limits(said, terms.limits)) {
            auto removed = forget_count(files, mailbox);
            if (!removed) return std::move(removed).error();
            return out;
        }
    }
    auto written = files.write(file->get(), size_line(static_cast<std::int64_t>(bytes), 1), path_of(mailbox));
    if (!written) {
        // Part of the line may be there: without a file the next reader counts.
        auto removed = forget_count(files, mailbox);
        if (!removed) return std::move(written).error();
        return out;
    }
    out.file_ = *std::move(file);
    return out;
}

void Entered::take_back(Files& files, const Mailbox& mailbox) {
    if (!file_) return;
    const std::string line = size_line(-static_cast<std::int64_t>(bytes_), -1);
    if (!files.write(file_.get(), line, path_of(mailbox))) static_cast<void>(forget_count(files, mailbox));
    file_.reset();
}

void Entered::confirm(Files& files, const Mailbox& mailbox) {
    struct stat st {};
    const bool replaced = file_ ? ::fstat(file_.get(), &st) != 0 || st.st_nlink == 0
                                : static_cast<bool>(files.stat(mailbox.ref(), kSizeFileName));
    file_.reset();
    if (!replaced) return;
    auto removed = forget_count(files, mailbox);
    if (!removed) log(LogLevel::warning, removed.error().text());
}

}  // namespace roost::maildir
