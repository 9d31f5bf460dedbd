#include "restore.h"

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

// How often a message is looked for that mail programs move away just then.
constexpr int kLooks = 5;

// The directory that a file lies in.
struct Home {
    std::string path;
    Fd dir;
};

Result<Home> open_home(Files& files, const Mailbox& mailbox, const Spot& spot) {
    Home out;
    out.path = mailbox.path;
    Fd folder;
    if (!spot.folder.empty()) {
        auto opened = files.open_dir(mailbox.ref(), spot.folder);
        if (!opened) return std::move(opened).error();
        folder = *std::move(opened);
        out.path += "/" + spot.folder;
    }
    auto dir = files.open_dir({folder ? folder.get() : mailbox.root.get(), out.path}, spot.part);
    if (!dir) return std::move(dir).error();
    out.path += "/" + spot.part;
    out.dir = *std::move(dir);
    return out;
}

// A file that was looked at.
struct Look {
    bool whole = false;  // it holds just the message's bytes
    Fd file;             // empty: it is a link
    nlink_t links = 0;   // how many names it had then
};

Result<Look> look_at(Files& files, const Home& home, const std::string& name, const std::string& header,
                     const Message& message) {
    auto file = files.open({home.dir.get(), home.path}, name, O_RDONLY | O_NONBLOCK);
    if (!file && file.error().sys == ELOOP) return Look{};
    if (!file) return std::move(file).error();
    const std::string path = home.path + "/" + name;
    struct stat st {};
    if (::fstat(file->get(), &st) != 0) return system_error(errno, "cannot look at " + path);
    // What the disk refused to take may still be in memory, as if it had been written: only the disk tells.
    static_cast<void>(::posix_fadvise(file->get(), 0, 0, POSIX_FADV_DONTNEED));
    bool same = S_ISREG(st.st_mode) && static_cast<std::uint64_t>(st.st_size) == header.size() + message.size();
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
    return Look{same, *std::move(file), st.st_nlink};
}

// Writes the message into the folder's tmp/, and moves it from there over the file `name` in `home`, or to new/ if
// there is none.
Result<void> put(Files& files, const Mailbox& mailbox, const Place& place, const Home* home,
                 const std::string& name_there, const std::string& header, const Message& message) {
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
    const DirRef to = home != nullptr ? DirRef{home->dir.get(), home->path} : DirRef{maildir.fresh.get(), fresh_path};
    if (done) done = files.rename(tmp, name, to, home != nullptr ? name_there : place.name);
    if (!done) static_cast<void>(files.unlink(tmp, name));
    return done;
}

// Puts the message in place of the torn file `name`. ENOENT: a mail program has moved that one on meanwhile.
Result<void> replace(Files& files, const Mailbox& mailbox, const Place& place, const Home& home,
                     const std::string& name, const Look& torn, const std::string& header, const Message& message) {
    auto done = put(files, mailbox, place, &home, name, header, message);
    struct stat st {};
    if (!done || !torn.file || ::fstat(torn.file.get(), &st) != 0 || st.st_nlink < torn.links) return done;
    // It lost no name, so ours is a second one beside it.
    done = files.unlink({home.dir.get(), home.path}, name);
    return done ? system_error(ENOENT, "cannot replace " + home.path + "/" + name) : done;
}

// The message is whole, but its counts could not be forgotten: where nothing can be written, nothing need be put right.
// Such a volume may also have given up writing, with the message still in memory alone. Syncing the volume may do
// nothing then; syncing the file tells.
Result<void> leave(Files& files, const Home& home, const std::string& name, const Fd& file, const Error& error) {
    if (error.sys != EROFS) return error;
    auto done = files.sync(file.get(), home.path + "/" + name);
    return done ? files.sync(home.dir.get(), home.path) : done;
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

Result<std::optional<Spot>> Restorer::find(const Mailbox& mailbox, const Place& place) {
    const std::string folder = place.folder.empty() ? "" : folder_directory(place.folder);
    const Spot fresh{folder, "new", place.name};
    // Where it was put is where most lie; then wherever a reader may have moved it.
    if (auto home = open_home(files_, mailbox, fresh))
        if (files_.stat({home->dir.get(), home->path}, place.name)) return std::optional(fresh);
    return index_.find(files_, mailbox, folder, unique_part(place.name));
}

Result<bool> Restorer::restore(const Mailbox& mailbox, const std::string& place_text, const std::string& header,
                               const Message& message) {
    auto place = parse_place(place_text);
    if (!place) return std::move(place).error();
    // Before the mailbox is listed, since it changes the mailbox.
    const auto forgotten = forget_counts(files_, mailbox, place->folder);
    Volume& volume = volumes_[mailbox.state.st_dev];
    if (!volume.directory) {
        volume.directory.reset(::fcntl(mailbox.root.get(), F_DUPFD_CLOEXEC, 0));
        volume.path = mailbox.path;
    }
    for (int looks = 1;; ++looks) {
        auto done = look(mailbox, *place, header, message, forgotten);
        // Once more, for whoever has counted meanwhile, without what was put there.
        if (done && *done)
            if (auto again = forget_counts(files_, mailbox, place->folder); !again) return std::move(again).error();
        if (done || done.error().sys != ENOENT || looks == kLooks) return done;
        // A mail program has moved or removed what was found.
        index_ = {};
    }
}

Result<bool> Restorer::look(const Mailbox& mailbox, const Place& place, const std::string& header,
                            const Message& message, const Result<void>& forgotten) {
    auto spot = find(mailbox, place);
    if (!spot) return std::move(spot).error();
    if (!*spot) {
        auto done = put(files_, mailbox, place, nullptr, {}, header, message);
        if (!done) return std::move(done).error();
        index_.add(files_, mailbox, {place.folder.empty() ? "" : folder_directory(place.folder), "new", place.name});
        return true;
    }
    auto home = open_home(files_, mailbox, **spot);
    if (!home) return std::move(home).error();
    auto seen = look_at(files_, *home, (*spot)->name, header, message);
    if (!seen) return std::move(seen).error();
    if (seen->whole) {
        auto left = forgotten ? forgotten : leave(files_, *home, (*spot)->name, seen->file, forgotten.error());
        if (!left) return std::move(left).error();
        return false;
    }
    auto done = replace(files_, mailbox, place, *home, (*spot)->name, *seen, header, message);
    if (!done) return std::move(done).error();
    return true;
}

Result<void> Restorer::settle() {
    Result<void> done;
    for (const auto& [device, volume] : volumes_)
        if (done) done = files_.sync_volume(volume.directory.get(), volume.path);
    volumes_.clear();
    index_ = {};
    return done;
}

}  // namespace roost::maildir
