// What start-up does with what a crash left in a journal.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "store/journal.h"
#include "store/journal_files.h"
#include "store/journal_format.h"

namespace roost {
namespace {

// A segment as it was found.
struct Found {
    std::string name;
    std::uint64_t size = 0;
    std::string bytes;   // zeroes where the disk could not read it
    bool torn = false;   // there are such places
    journal::Scan scan;  // of `bytes`
};

Result<std::vector<std::string>> names_in(const std::string& path) {
    std::vector<std::string> out;
    DIR* dir = ::opendir(path.c_str());
    if (dir == nullptr) return system_error(errno, "cannot list " + path);
    while (const dirent* entry = ::readdir(dir)) {  // NOLINT(concurrency-mt-unsafe): the stream is ours
        const std::string_view name = entry->d_name;
        struct stat st {};
        if (!name.starts_with("segment-") && !name.starts_with("kept-")) continue;
        if (::fstatat(::dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode)) continue;
        out.emplace_back(name);
    }
    ::closedir(dir);
    return out;
}

// The file's first `size` bytes. False: some cannot be read, and are zeroes.
bool read(Files& files, int file, std::uint64_t size, std::string& out) {
    constexpr std::uint64_t kPiece = 64 * journal::kBlock;
    out.assign(size, '\0');
    bool whole = true;
    std::uint64_t piece = kPiece;
    for (std::uint64_t at = 0; at < size;) {
        const std::span<char> place(out.data() + at, std::min(piece, size - at));
        if (files.read_at(file, at, place)) {
            at += place.size();
        } else if (piece > journal::kBlock) {
            piece = journal::kBlock;
        } else {
            whole = false;
            std::fill(place.begin(), place.end(), '\0');
            at += place.size();
        }
    }
    return whole;
}

Result<Found> read_segment(Files& files, DirRef dir, const std::string& name) {
    constexpr std::uint64_t kLimit = 1024UL * 1024 * 1024;
    const std::string path = std::string(dir.path) + "/" + name;
    auto file = files.open(dir, name, O_RDONLY);
    if (!file) return std::move(file).error();
    Found out{name, 0, {}, false, {}};
    struct stat st {};
    if (::fstat(file->get(), &st) != 0) return system_error(errno, "cannot look at " + path);
    out.size = static_cast<std::uint64_t>(st.st_size);
    if (out.size > kLimit) return system_error(EFBIG, "cannot read " + path);
    out.torn = !read(files, file->get(), std::min<std::uint64_t>(out.size, journal::kBlock), out.bytes);
    const auto state = journal::state_of(out.bytes);
    if (state && !state->in_use) {
        out.scan.state = *state;
        return out;
    }
    out.torn = !read(files, file->get(), out.size, out.bytes);
    out.scan = journal::scan(out.bytes);
    return out;
}

// Another name, a free one, for a file that is to be put aside.
Result<std::string> link_aside(Files& files, DirRef dir, const std::string& name, const std::string& kept) {
    for (int tries = 0;; ++tries) {
        std::string to = kept + (tries == 0 ? "" : "." + std::to_string(tries));
        auto done = files.link(dir, name, dir, to);
        if (done) return to;
        if (done.error().sys != EEXIST) return std::move(done).error();
    }
}

// What became of a delivery.
enum class Fate { there, restored, orphan };

struct Store {
    const Config& config;
    UserDb& db;
    Mda& mda;
};

Result<Fate> bring_back(const Store& store, const journal::Entry& entry, const Message& message) {
    auto record = store.db.find(entry.user);
    if (!record) return std::move(record).error();
    if (!*record) return Fate::orphan;
    // Written anew meanwhile, or its mailbox was given up as lost.
    if (!(*record)->allocation)
        return Error{Outcome::trouble, "mail of " + entry.user, "the user has no mailbox any more",
                     "make one: roost user allocate " + entry.user + "; then start roostd again", 0};
    auto user = User::make(store.config, **std::move(record));
    if (!user) return std::move(user).error();
    auto restored = store.mda.restore(*user, entry.place, entry.header, message);
    if (!restored) return std::move(restored).error();
    return *restored ? Fate::restored : Fate::there;
}

// A delivery in a segment: the offset of its record, and which one it is there.
using Position = std::pair<std::uint64_t, std::uint32_t>;

// What was found out about the deliveries of a segment.
struct Looked {
    std::size_t held = 0;       // how many there are
    std::set<Position> failed;  // those that could not be brought back
};

void tell(const std::string& text) { log(LogLevel::error, "journal: " + text); }

Looked look_for(const Store& store, const journal::Scan& scan, const std::set<journal::Cancel>& cancelled,
                JournalRecovery& total) {
    Looked out;
    std::map<std::string, std::size_t> faults;  // a mailbox that is away is told of once, not for each of its mails
    std::map<std::string, std::size_t> gone;
    const auto each = [&](const auto& bring) {
        for (const journal::Record& record : scan.records) {
            if (!record.deliveries) continue;
            const Message message = Message::from_text(std::string(record.deliveries->message));
            for (std::uint32_t i = 0; i < record.deliveries->entries.size(); ++i) {
                const Position position{record.offset, i};
                if (cancelled.count({scan.state.generation, record.offset, i}) != 0) continue;
                if (out.failed.count(position) != 0) continue;
                const Result<void> done = bring(record.deliveries->entries[i], message);
                if (done) continue;
                ++faults[done.error().text()];
                out.failed.insert(position);
            }
        }
    };
    for (const journal::Record& record : scan.records)
        if (record.deliveries) out.held += record.deliveries->entries.size();
    each([&](const journal::Entry& entry, const Message& message) -> Result<void> {
        ++total.deliveries;
        const auto fate = bring_back(store, entry, message);
        if (!fate) return fate.error();
        if (*fate == Fate::restored) ++total.restored;
        if (*fate == Fate::orphan) ++gone[entry.user];
        return {};
    });
    if (auto settled = store.mda.settle_restored(); !settled) {
        // One by one, so that no mail on a sound volume is kept for it. What was written may be lost, and an error is
        // told once: it is looked for again.
        tell(settled.error().text());
        each([&](const journal::Entry& entry, const Message& message) -> Result<void> {
            const auto fate = bring_back(store, entry, message);
            if (!fate) return fate.error();
            return store.mda.settle_restored();
        });
    }
    const auto times = [](std::size_t count) {
        return count > 1 ? " (" + std::to_string(count) + " deliveries)" : std::string();
    };
    for (const auto& [text, count] : faults) tell(text + times(count));
    for (const auto& [user, count] : gone) {
        total.orphans += count;
        log(LogLevel::warning, "journal: mail of " + user + " is passed over: there is no such user" + times(count));
    }
    total.failed += out.failed.size();
    return out;
}

// A segment of that generation with these deliveries of another one alone.
std::string extract(const journal::Scan& scan, const std::set<Position>& wanted, std::uint64_t generation) {
    std::string out = journal::first_block({generation, true});
    for (const journal::Record& record : scan.records) {
        if (!record.deliveries) continue;
        std::vector<const journal::Entry*> entries;
        for (std::uint32_t i = 0; i < record.deliveries->entries.size(); ++i)
            if (wanted.count({record.offset, i}) != 0) entries.push_back(&record.deliveries->entries[i]);
        if (entries.empty()) continue;
        std::string text;
        journal::RecordWriter writer(text);
        writer.deliveries(entries.size());
        for (const journal::Entry* entry : entries) writer.entry(entry->user, entry->place, entry->header);
        writer.message_size(record.deliveries->message.size());
        writer.message_bytes(record.deliveries->message);
        writer.end();
        journal::seal(text, generation);
        out += text;
    }
    return out;
}

// Writes a segment of the deliveries that could not be brought back. Returns its name.
Result<std::string> write_kept(Files& files, DirRef dir, const std::string& bytes, std::uint64_t generation) {
    const std::string name = "kept-" + std::to_string(generation);
    auto done = journal::make_file(
        files, dir, [&](int file, std::string_view path) { return files.write(file, bytes, path); },
        [&] { return files.rename_new(dir, journal::kUnfinished, dir, name); });
    if (!done) return std::move(done).error();
    return name;
}

// A journal's directory, and the highest generation in it.
struct Room {
    Files& files;
    DirRef dir;
    std::uint64_t segment_size;
    std::uint64_t& generation;
};

bool is_kept(std::string_view name) { return name.starts_with("kept-"); }

// What is not understood, or could not be brought back, is kept; all else is done with, and a segment holds nothing.
Result<void> be_done_with(const Room& room, const Found& found, bool damaged, const Looked& looked,
                          JournalRecovery& total) {
    const std::string& name = found.name;
    const std::string path = std::string(room.dir.path) + "/" + name;
    const bool failed = !looked.failed.empty();
    const bool stays = failed && is_kept(name) && !damaged && looked.failed.size() == looked.held;
    if (failed) {
        std::string kept = name;
        if (!stays) {
            // By itself: what is done with may be deleted by its user before the next start looks for it again.
            const std::uint64_t generation = ++room.generation;
            auto written = write_kept(room.files, room.dir, extract(found.scan, looked.failed, generation), generation);
            if (!written) return std::move(written).error();
            kept = *std::move(written);
        }
        ++total.kept;
        tell(path + " holds mail that could not be brought back: it is kept as " + kept);
    }
    if (stays) return {};

    std::string aside;
    const auto put_aside = [&]() -> Result<void> {
        const auto& state = found.scan.state;
        const std::uint64_t number = state.in_use ? state.generation : static_cast<std::uint64_t>(std::time(nullptr));
        auto linked = link_aside(room.files, room.dir, name, "damaged-" + std::to_string(number));
        if (!linked) return std::move(linked).error();
        aside = *std::move(linked);
        return {};
    };
    Result<void> done;
    if (is_kept(name)) {
        if (damaged) done = put_aside();
        if (done) done = room.files.unlink(room.dir, name);
    } else if (damaged) {
        done = journal::make_segment(room.files, room.dir, name, room.segment_size, put_aside);
    } else {
        auto file = room.files.open(room.dir, name, O_WRONLY);
        if (!file) return std::move(file).error();
        const std::string block = journal::first_block({found.scan.state.generation, false});
        done = room.files.write_at(file->get(), 0, block, path);
        if (done) done = room.files.sync_data(file->get(), path);
    }
    if (!done || !damaged) return done;
    ++total.kept;
    tell(path + " is damaged: what can be read was brought back; it is kept as " + aside);
    return {};
}

}  // namespace

Result<JournalRecovery> Journal::recover(const Config& config, UserDb& db, Mda& mda) {
    const DirRef dir{dir_.get(), plan_.dir};
    auto names = names_in(plan_.dir);
    if (!names) return std::move(names).error();
    std::multimap<std::uint64_t, std::string> by_generation;
    std::set<journal::Cancel> cancelled;
    bool used = false;
    for (const std::string& name : *names) {
        auto found = read_segment(files_, dir, name);
        if (!found) return std::move(found).error();
        generation_ = std::max(generation_, found->scan.state.generation);
        used = used || found->scan.state.generation > 0;
        for (const journal::Record& record : found->scan.records)
            if (!record.deliveries) cancelled.insert(record.cancel);
        by_generation.emplace(found->scan.state.generation, name);
    }

    // What a crash left of a file that was being made; what it was made of is still where it was.
    if (auto gone = files_.unlink(dir, journal::kUnfinished); !gone) return std::move(gone).error();
    JournalRecovery total;
    for (unsigned i = 0; used && i < plan_.segments; ++i) {
        const std::string name = "segment-" + std::to_string(i);
        if (std::find(names->begin(), names->end(), name) != names->end()) continue;
        tell(plan_.dir + "/" + name + " is missing: mail that was nowhere else yet is lost with it");
    }
    for (const auto& numbered : by_generation) {
        const std::string& name = numbered.second;
        // Once more, so that there is never more than one of them in memory.
        auto found = read_segment(files_, dir, name);
        if (!found) return std::move(found).error();
        const journal::Scan& scan = found->scan;
        // What was cut off may have been mail, unless there never was any.
        const bool cut = !is_kept(name) && used && !plan_.can_be(found->size) &&
                         (scan.state.in_use || found->size < plan_.segment_size);
        const bool damaged = scan.damaged || found->torn || cut;
        if (!scan.state.in_use && !damaged) continue;
        const Looked looked = look_for({config, db, mda}, scan, cancelled, total);
        if (auto done = be_done_with({files_, dir, plan_.segment_size, generation_}, *found, damaged, looked, total);
            !done)
            return std::move(done).error();
    }
    if (auto synced = files_.sync(dir.fd, dir.path); !synced) return std::move(synced).error();
    if (total.deliveries > 0)
        log(LogLevel::info, "journal: " + std::to_string(total.deliveries) + " deliveries were looked for, " +
                                std::to_string(total.restored) + " of them brought back, " +
                                std::to_string(total.orphans) + " belonged to users that are gone, " +
                                std::to_string(total.failed) + " could not be brought back");
    return total;
}

Result<void> Journal::forget_kept(Files& files, const std::string& path, const std::string& user) {
    auto opened = files.open_dir({AT_FDCWD, {}}, path);
    if (!opened) return opened.error().sys == ENOENT ? Result<void>() : std::move(opened).error();
    const DirRef dir{opened->get(), path};
    auto names = names_in(path);
    if (!names) return std::move(names).error();
    for (const std::string& name : *names) {
        if (!is_kept(name)) continue;
        auto owner = files.stat(dir, name);
        auto found = read_segment(files, dir, name);
        if (!owner || !found) return owner ? std::move(found).error() : std::move(owner).error();
        std::size_t held = 0;
        std::set<Position> others;
        for (const journal::Record& record : found->scan.records) {
            if (!record.deliveries) continue;
            for (std::uint32_t i = 0; i < record.deliveries->entries.size(); ++i, ++held)
                if (record.deliveries->entries[i].user != user) others.emplace(record.offset, i);
        }
        if (others.size() == held) continue;
        Result<void> done;
        if (others.empty()) {
            done = files.unlink(dir, name);
        } else {
            done = journal::make_file(
                files, dir,
                [&](int file, std::string_view unfinished) {
                    auto written =
                        files.write(file, extract(found->scan, others, found->scan.state.generation), unfinished);
                    if (!written || ::geteuid() != 0) return written;
                    return files.set_owner(file, owner->st_uid, owner->st_gid, unfinished);
                },
                [&] { return files.rename(dir, journal::kUnfinished, dir, name); });
        }
        if (!done) return done;
    }
    return files.sync(dir.fd, path);
}

}  // namespace roost
