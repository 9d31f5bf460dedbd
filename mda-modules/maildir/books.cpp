#include "books.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <limits>
#include <string>
#include <utility>

#include "base/log.h"
#include "count.h"
#include "size_file.h"
#include "unique_name.h"

namespace roost::maildir {
namespace {

constexpr const char* kName = "maildirsize";

// How long a count that says "full" is believed without looking again.
constexpr std::time_t kStaleSeconds = std::time_t{15} * 60;

std::string path_of(const Mailbox& mailbox) { return mailbox.path + "/" + kName; }

// What the file says, or nothing if it is to be counted.
Result<std::optional<SizeFile>> read(Files& files, const Mailbox& mailbox, const Limits& limits) {
    auto text = files.read_small(mailbox.ref(), kName, kSizeFileLimit - 1);
    if (text) return parse_size_file(*text, limits);
    if (text.error().sys == ENOENT || text.error().sys == EFBIG) return std::optional<SizeFile>();
    return std::move(text).error();
}

bool is_old(Files& files, const Mailbox& mailbox) {
    const auto st = files.stat(mailbox.ref(), kName);
    return !st || std::time(nullptr) - st->st_mtime >= kStaleSeconds;
}

// Puts a new file in place of the old one.
Result<void> write(Files& files, const Mailbox& mailbox, const Limits& limits, const Usage& used) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    const auto number = [](std::uint64_t n) { return static_cast<std::int64_t>(n < kMost ? n : kMost); };
    const std::string text = size_header(limits) + size_line(number(used.storage), number(used.messages));

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
    if (done) done = files.rename(tmp, name, mailbox.ref(), kName);
    if (!done) static_cast<void>(files.unlink(tmp, name));
    return done;
}

// Counts, and puts the books right; `written` tells whether that worked.
Result<Usage> count_anew(Files& files, const Mailbox& mailbox, const Terms& terms, Result<void>& written) {
    auto count = Count::make(files, mailbox, terms.count_trash);
    if (!count) return std::move(count).error();
    written = write(files, mailbox, terms.limits, count->used());
    // A delivery while we counted may or may not be in the sum, and its own line went into the file that we replaced.
    if (written && !count->still_holds(files, mailbox)) written = files.unlink(mailbox.ref(), kName);
    return count->used();
}

}  // namespace

Terms terms_of(const User& user) { return {limits_of(user.settings()), user.settings().flag("maildir.count-trash")}; }

Result<Usage> usage(Files& files, const Mailbox& mailbox, const Terms& terms, const Usage& coming) {
    auto books = read(files, mailbox, terms.limits);
    if (!books) return std::move(books).error();
    if (*books) {
        const SizeFile& said = **books;
        if (fits(said.used, terms.limits, coming) || (said.lines == 1 && !is_old(files, mailbox))) return said.used;
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

Result<void> forget_count(Files& files, const Mailbox& mailbox) { return files.unlink(mailbox.ref(), kName); }

Result<Entered> Entered::enter(Files& files, const Mailbox& mailbox, const Terms& terms, std::uint64_t bytes) {
    Entered out;
    out.bytes_ = bytes;
    // Not blocking: a mail user may have put a FIFO there.
    auto file = files.open(mailbox.ref(), kName, O_RDWR | O_APPEND | O_NONBLOCK);
    if (!file && file.error().sys == ENOENT) return out;
    if (!file) return std::move(file).error();
    if (!needs_usage(terms.limits)) {
        // Without limits nobody asks for usage at each delivery, so nobody else would notice a file that is too long or
        // tells the limits of yesterday to an IMAP server.
        std::array<char, kSizeFileLimit> text{};
        const ssize_t got = ::pread(file->get(), text.data(), text.size(), 0);
        const std::string_view said(text.data(), got < 0 ? 0 : static_cast<std::size_t>(got));
        if (said.size() >= kSizeFileLimit || !has_limits(said, terms.limits)) {
            auto removed = files.unlink(mailbox.ref(), kName);
            if (!removed) return std::move(removed).error();
            return out;
        }
    }
    auto written = files.write(file->get(), size_line(static_cast<std::int64_t>(bytes), 1), path_of(mailbox));
    if (!written) {
        // Part of the line may be there: without a file the next reader counts.
        auto removed = files.unlink(mailbox.ref(), kName);
        if (!removed) return std::move(written).error();
        return out;
    }
    out.file_ = *std::move(file);
    return out;
}

void Entered::take_back(Files& files, const Mailbox& mailbox) {
    if (!file_) return;
    const std::string line = size_line(-static_cast<std::int64_t>(bytes_), -1);
    if (!files.write(file_.get(), line, path_of(mailbox))) static_cast<void>(files.unlink(mailbox.ref(), kName));
    file_.reset();
}

void Entered::confirm(Files& files, const Mailbox& mailbox) {
    struct stat st {};
    const bool replaced = file_ ? ::fstat(file_.get(), &st) != 0 || st.st_nlink == 0
                                : static_cast<bool>(files.stat(mailbox.ref(), kName));
    file_.reset();
    if (!replaced) return;
    auto removed = files.unlink(mailbox.ref(), kName);
    if (!removed) log(LogLevel::warning, removed.error().text());
}

}  // namespace roost::maildir
