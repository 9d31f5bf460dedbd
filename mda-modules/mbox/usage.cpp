#include "usage.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <string>

#include "base/log.h"
#include "journal.h"
#include "quota/folder_rules.h"
#include "text.h"
#include "tree.h"

namespace roost::mbox {
namespace {

class Counter {
public:
    Counter(Files& files, const Rules& rules, Look look) : files_(files), rules_(rules), look_(look) {}

    // Adds one file. A folder's file counts only if it is an mbox.
    Result<void> add(DirRef dir, const std::string& name, bool folder) {
        auto st = files_.stat(dir, name);
        if (!st && st.error().sys == ENOENT) return {};
        if (!st) return std::move(st).error();
        if (st->st_size == 0) return {};
        if (look_ == Look::books) {
            const std::optional<Count> count = booked(dir, name);
            if (count && count->fits(*st)) return take(*count);
        }
        return read(dir, name, folder);
    }

    const Usage& total() const { return total_; }

private:
    Result<void> take(const Count& count) {
        total_.storage += count.size;
        total_.messages += count.messages;
        return {};
    }

    // Books that cannot be read say nothing.
    std::optional<Count> booked(DirRef dir, const std::string& name) {
        auto fd = open_own(files_, dir, books_name(name), O_RDONLY);
        if (!fd) return std::nullopt;
        auto count = read_count(fd->get(), std::string(dir.path) + "/" + books_name(name));
        return count ? *count : std::nullopt;
    }

    Result<void> read(DirRef dir, const std::string& name, bool folder) {
        auto fd = open_own(files_, dir, name, O_RDONLY);
        if (!fd && fd.error().sys == ENOENT) return {};
        if (!fd) return std::move(fd).error();
        const std::string path = std::string(dir.path) + "/" + name;
        if (folder) {
            auto begin = read_at(fd->get(), path, 0, kLongestFromLine);
            if (!begin) return std::move(begin).error();
            const std::size_t text = std::min(begin->find_first_not_of("\r\n"), begin->size());
            if (!begins_with_from_line(std::string_view(*begin).substr(text))) return {};
        }
        struct stat before {};
        if (::fstat(fd->get(), &before) != 0) return system_error(errno, "cannot look at " + path);
        std::uint64_t messages = 0;
        auto found = find_from_lines(fd->get(), path, 0, static_cast<std::uint64_t>(before.st_size), Where::line_starts,
                                     [&](std::uint64_t) {
                                         ++messages;
                                         return true;
                                     });
        if (!found) return found;
        const Count count = Count::of(before, messages);
        // The next one to ask reads the file again, at worst.
        if (auto noted = note(dir, name, count); !noted) log(LogLevel::debug, noted.error().text());
        return take(count);
    }

    // Writes what was counted, if it is still true.
    Result<void> note(DirRef dir, const std::string& name, const Count& count) {
        const std::string books = books_name(name);
        const std::string path = std::string(dir.path) + "/" + books;
        auto fd = open_own(files_, dir, books, O_RDWR);
        if (!fd && fd.error().sys == ENOENT)
            fd = open_own(files_, dir, books, O_RDWR | O_CREAT | O_EXCL, rules_.file_mode);
        if (!fd) return std::move(fd).error();
        auto alone = RecordLock::try_take(fd->get(), path);
        if (!alone) return std::move(alone).error();
        if (!*alone) return {};
        auto journal = read_journal(fd->get(), path);
        if (!journal) return std::move(journal).error();
        auto st = files_.stat(dir, name);
        if (!st) return std::move(st).error();
        if (journal->intent || !count.fits(*st)) return {};
        struct stat now {};
        if (::fstat(fd->get(), &now) != 0) return system_error(errno, "cannot look at " + path);
        // Books with something in them are books whose name is durable.
        if (now.st_size == 0) {
            auto synced = files_.sync(dir.fd, dir.path);
            if (!synced) return synced;
        }
        journal->count = count;
        return write_journal(files_, fd->get(), path, *journal);
    }

    Files& files_;
    const Rules& rules_;
    Look look_;
    Usage total_;
};

// The paths of the files of folders that do not count in the mailbox.
std::set<std::string> left_out(const Rules& rules, const User& user, const Place& place) {
    std::set<std::string> out;
    const FolderRules folders = folder_rules(user.settings());
    for (const FolderRule& rule : folders.all())
        if (rule.counted != FolderRule::Counted::mailbox)
            if (auto path = folder_path(rules, place, rule.folder)) out.insert(*std::move(path));
    return out;
}

}  // namespace

Result<Usage> count_usage(Files& files, const Rules& rules, const User& user, const Folder& account, Look look) {
    auto place = Place::of(user);
    if (!place) return std::move(place).error();
    auto dir = open_inbox_dir(files, *place);
    if (!dir) return dir.error().sys == ENOENT ? vanished(place->dir, user) : std::move(dir).error();
    Counter counter(files, rules, look);
    if (!account.empty()) {
        auto file = find_folder(files, rules, user, *place, account, false);
        if (!file) return cannot_be(file.error()) ? Result<Usage>(Usage{}) : std::move(file).error();
        if (!*file) return Usage{};
        const DirRef at{(*file)->dir.get(), (*file)->dir_path};
        // Without mbox.folder-file, a directory is no folder.
        if (const auto st = files.stat(at, (*file)->name); st && S_ISDIR(st->st_mode)) return Usage{};
        auto added = counter.add(at, (*file)->name, true);
        if (!added) return std::move(added).error();
        return counter.total();
    }
    const DirRef top{dir->get(), place->dir};
    const auto gone = [&](const std::string& name) {
        const auto st = files.stat(top, name);
        return !st && st.error().sys == ENOENT;
    };
    if (gone(place->name) && gone(books_name(place->name))) return vanished(place->dir + "/" + place->name, user);
    auto added = counter.add(top, place->name, false);
    if (!added) return std::move(added).error();
    auto folders = files.open_dir({AT_FDCWD, {}}, place->folders);
    if (!folders && folders.error().sys == ENOENT) return counter.total();
    if (!folders) return std::move(folders).error();
    const std::set<std::string> others = left_out(rules, user, *place);
    added = each_file(files, {folders->get(), place->folders}, [&](DirRef at, const std::string& name) -> Result<void> {
        // Names with a leading dot are books and other programs' indexes.
        if (name.starts_with('.') || name.ends_with(".lock")) return {};
        if (others.contains(std::string(at.path) + "/" + name)) return {};
        return counter.add(at, name, true);
    });
    if (!added) return std::move(added).error();
    return counter.total();
}

}  // namespace roost::mbox
