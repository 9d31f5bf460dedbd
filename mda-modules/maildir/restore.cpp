#include "restore.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "books.h"
#include "entries.h"
#include "folder.h"
#include "unique_name.h"

namespace roost::maildir {
namespace {

// A file of the mailbox.
struct Spot {
    std::string path;  // of the directory
    Fd dir;
    std::string name;
};

// What a name keeps when flags are added to it.
std::string_view base_of(std::string_view name) { return name.substr(0, name.find(':')); }

bool is_not_there(const Error& error) { return error.sys == ENOENT || error.sys == ENOTDIR || error.sys == ELOOP; }

// The file of that base name in one directory.
Result<std::optional<Spot>> find_in(Files& files, DirRef maildir, const char* part, std::string_view base) {
    auto dir = files.open_dir(maildir, part);
    if (!dir && is_not_there(dir.error())) return std::optional<Spot>();
    if (!dir) return std::move(dir).error();
    Spot spot{std::string(maildir.path) + "/" + part, *std::move(dir), {}};
    auto listed = each_entry(spot.dir.get(), spot.path, [&](const Entry& entry) -> Result<void> {
        if (base_of(entry.name) == base) spot.name = entry.name;
        return {};
    });
    if (!listed) return std::move(listed).error();
    if (spot.name.empty()) return std::optional<Spot>();
    return std::optional(std::move(spot));
}

Result<std::optional<Spot>> find_in_maildir(Files& files, DirRef maildir, std::string_view base) {
    for (const char* part : {"new", "cur"}) {
        auto found = find_in(files, maildir, part, base);
        if (!found || *found) return found;
    }
    return std::optional<Spot>();
}

// First where it was put, then wherever a reader may have moved it.
Result<std::optional<Spot>> find(Files& files, const Mailbox& mailbox, const Place& place) {
    const std::string_view base = base_of(place.name);
    const std::string own = place.folder.empty() ? "" : folder_directory(place.folder);
    std::vector<std::string> folders{own};
    auto listing = files.open_dir(mailbox.ref(), ".");
    if (!listing) return std::move(listing).error();
    auto listed = each_entry(listing->get(), mailbox.path, [&](const Entry& entry) -> Result<void> {
        const bool may_be = entry.name.starts_with('.') && (entry.type == DT_DIR || entry.type == DT_UNKNOWN);
        if (may_be && entry.name != own) folders.push_back(entry.name);
        return {};
    });
    if (!listed) return std::move(listed).error();
    if (!own.empty()) folders.emplace_back();
    for (const std::string& folder : folders) {
        if (folder.empty()) {
            auto found = find_in_maildir(files, mailbox.ref(), base);
            if (!found || *found) return found;
            continue;
        }
        auto dir = files.open_dir(mailbox.ref(), folder);
        if (!dir && is_not_there(dir.error())) continue;
        if (!dir) return std::move(dir).error();
        auto found = find_in_maildir(files, {dir->get(), mailbox.path + "/" + folder}, base);
        if (!found || *found) return found;
    }
    return std::optional<Spot>();
}

// Whether the file holds just these bytes; synced then, so that it stays so.
Result<bool> is_whole(Files& files, const Spot& spot, const std::string& header, const Message& message) {
    auto file = files.open({spot.dir.get(), spot.path}, spot.name, O_RDONLY | O_NONBLOCK);
    if (!file && is_not_there(file.error())) return false;
    if (!file) return std::move(file).error();
    const std::string path = spot.path + "/" + spot.name;
    struct stat st {};
    if (::fstat(file->get(), &st) != 0) return system_error(errno, "cannot look at " + path);
    if (!S_ISREG(st.st_mode) || static_cast<std::uint64_t>(st.st_size) != header.size() + message.size()) return false;
    bool same = true;
    const auto compare = [&](std::string_view expected) -> Result<void> {
        std::array<char, 16384> buffer{};
        while (same && !expected.empty()) {
            const ssize_t got = ::read(file->get(), buffer.data(), std::min(buffer.size(), expected.size()));
            if (got < 0) return system_error(errno, "cannot read " + path);
            const std::string_view piece(buffer.data(), static_cast<std::size_t>(got));
            same = !piece.empty() && expected.starts_with(piece);
            expected.remove_prefix(piece.size());
        }
        return {};
    };
    auto done = compare(header);
    if (done) done = message.each(compare);
    if (!done) return std::move(done).error();
    if (!same) return false;
    done = files.sync_data(file->get(), path);
    if (done) done = files.sync(spot.dir.get(), spot.path);
    if (!done) return std::move(done).error();
    return true;
}

// Writes the message into the folder's tmp/, and moves it from there over `spot`, or to new/ if there is none.
Result<void> put(Files& files, const Mailbox& mailbox, const Place& place, const std::optional<Spot>& spot,
                 const std::string& header, const Message& message) {
    auto target = open_target(files, mailbox, place.folder, true);
    if (!target) return std::move(target).error();
    const Maildir& maildir = target->maildir;
    const std::string tmp_path = maildir.tmp_path();
    const std::string fresh_path = maildir.fresh_path();
    const DirRef tmp{maildir.tmp.get(), tmp_path};
    const std::string name = unique_name();
    const std::string path = tmp_path + "/" + name;
    auto file = files.open(tmp, name, O_WRONLY | O_CREAT | O_EXCL, mailbox.file_mode);
    if (!file) return std::move(file).error();
    auto done = files.set_mode(file->get(), mailbox.file_mode, path);
    if (done) done = files.write(file->get(), header, path);
    if (done) done = message.write_to(files, file->get(), path);
    if (done) done = files.sync_data(file->get(), path);
    const DirRef to = spot ? DirRef{spot->dir.get(), spot->path} : DirRef{maildir.fresh.get(), fresh_path};
    if (done) done = files.rename(tmp, name, to, spot ? spot->name : place.name);
    if (!done) {
        static_cast<void>(files.unlink(tmp, name));
        return done;
    }
    done = files.sync(to.fd, to.path);
    if (done && !spot) done = files.sync(mailbox.root.get(), mailbox.path);
    return done;
}

// Of the mailbox, and of the folder if it is counted apart.
Result<void> forget_counts(Files& files, const Mailbox& mailbox, const Folder& folder) {
    auto forgotten = forget_count(files, mailbox);
    if (!forgotten || folder.empty()) return forgotten;
    auto books = open_folder_books(files, mailbox, folder);
    if (!books) return std::move(books).error();
    return *books ? forget_count(files, **books) : Result<void>();
}

}  // namespace

std::string render_place(const Place& place) { return place.name + "\n" + folder_name(place.folder); }

Result<Place> parse_place(const std::string& text) {
    const std::size_t end = text.find('\n');
    const std::string name = text.substr(0, end);
    auto folder = parse_folder(end == std::string::npos ? "" : text.substr(end + 1));
    if (end == std::string::npos || name.empty() || name.starts_with('.') || name.find('/') != std::string::npos ||
        !folder)
        return Error{Outcome::trouble, "a delivery in the journal", "it does not say where it went",
                     "it was not written by the module maildir", 0};
    return Place{*std::move(folder), name};
}

Result<bool> restore(Files& files, const Mailbox& mailbox, const std::string& place_text, const std::string& header,
                     const Message& message) {
    auto place = parse_place(place_text);
    if (!place) return std::move(place).error();
    auto spot = find(files, mailbox, *place);
    if (!spot) return std::move(spot).error();
    if (*spot) {
        auto whole = is_whole(files, **spot, header, message);
        if (!whole) return whole;
        if (*whole) {
            auto forgotten = forget_counts(files, mailbox, place->folder);
            if (!forgotten) return std::move(forgotten).error();
            return false;
        }
    }
    auto done = put(files, mailbox, *place, *spot, header, message);
    if (done) done = forget_counts(files, mailbox, place->folder);
    if (!done) return std::move(done).error();
    return true;
}

}  // namespace roost::maildir
