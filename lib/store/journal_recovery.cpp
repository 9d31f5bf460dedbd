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
#include <string>
#include <vector>

#include "base/log.h"
#include "store/journal.h"
#include "store/journal_format.h"

namespace roost {
namespace {

// A segment as it was found.
struct Found {
    std::string name;
    std::uint64_t size = 0;
    std::string bytes;
    journal::Scan scan;  // of `bytes`
};

Result<std::vector<std::string>> names_in(const std::string& path) {
    std::vector<std::string> out;
    DIR* dir = ::opendir(path.c_str());
    if (dir == nullptr) return system_error(errno, "cannot list " + path);
    while (const dirent* entry = ::readdir(dir)) {  // NOLINT(concurrency-mt-unsafe): the stream is ours
        const std::string_view name = entry->d_name;
        if (name.starts_with("segment-") || name.starts_with("kept-")) out.emplace_back(name);
    }
    ::closedir(dir);
    return out;
}

Result<Found> read_segment(Files& files, DirRef dir, const std::string& name) {
    constexpr std::size_t kLimit = 1024UL * 1024 * 1024;
    const std::string path = std::string(dir.path) + "/" + name;
    auto file = files.open(dir, name, O_RDONLY);
    if (!file) return std::move(file).error();
    Found out{name, 0, std::string(journal::kBlock, '\0'), {}};
    struct stat st {};
    if (::fstat(file->get(), &st) != 0) return system_error(errno, "cannot look at " + path);
    out.size = static_cast<std::uint64_t>(st.st_size);
    if (::pread(file->get(), out.bytes.data(), out.bytes.size(), 0) < 0)
        return system_error(errno, "cannot read " + path);
    const auto state = journal::state_of(out.bytes);
    if (state && !state->in_use) {
        out.scan.state = *state;
        return out;
    }
    auto bytes = files.read_all(file->get(), path, kLimit);
    if (!bytes) return std::move(bytes).error();
    out.bytes = *std::move(bytes);
    out.scan = journal::scan(out.bytes);
    return out;
}

// Puts a file aside under a name that is free, unless it has been already.
Result<std::string> put_aside(Files& files, DirRef dir, const std::string& name, const std::string& kept) {
    if (name.starts_with(kept)) return name;
    for (int tries = 0;; ++tries) {
        std::string to = kept + (tries == 0 ? "" : "." + std::to_string(tries));
        auto done = files.rename_new(dir, name, dir, to);
        if (done) return to;
        if (done.error().sys != EEXIST) return std::move(done).error();
    }
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

    JournalRecovery total;
    for (unsigned i = 0; used && i < plan_.segments; ++i) {
        const std::string name = "segment-" + std::to_string(i);
        if (std::find(names->begin(), names->end(), name) != names->end()) continue;
        log(LogLevel::error,
            "journal: " + plan_.dir + "/" + name + " is missing: mail that was nowhere else yet is lost with it");
    }
    for (const auto& [generation, name] : by_generation) {
        // Once more, so that there is never more than one of them in memory.
        auto found = read_segment(files_, dir, name);
        if (!found) return std::move(found).error();
        const Found& segment = *found;
        const journal::Scan& scan = segment.scan;
        // What was cut off may have been mail, unless there never was any.
        const bool cut = segment.name.starts_with("segment-") && used && !plan_.can_be(segment.size) &&
                         (scan.state.in_use || segment.size < plan_.segment_size);
        const bool damaged = scan.damaged || cut;
        if (!scan.state.in_use && !damaged) continue;
        bool failed = false;
        for (const journal::Record& record : scan.records) {
            if (!record.deliveries) continue;
            const Message message = Message::from_text(std::string(record.deliveries->message));
            std::uint32_t index = 0;
            for (const journal::Entry& entry : record.deliveries->entries) {
                if (cancelled.count({scan.state.generation, record.offset, index++}) != 0) continue;
                ++total.deliveries;
                auto user = db.find(entry.user);
                // One without a mailbox is another one of the same name.
                if (user && (!*user || !(*user)->allocation)) {
                    ++total.orphans;
                    continue;
                }
                auto made = user ? User::make(config, **std::move(user)) : Result<User>(std::move(user).error());
                auto restored = made ? mda.restore(*made, entry.place, entry.header, message)
                                     : Result<bool>(std::move(made).error());
                if (!restored) {
                    log(LogLevel::error, "journal: " + restored.error().text());
                    failed = true;
                } else if (*restored) {
                    ++total.restored;
                }
            }
        }
        if (auto settled = mda.settle_restored(); !settled) {
            log(LogLevel::error, "journal: " + settled.error().text());
            failed = true;
        }
        // What is not understood, or could not be brought back, is kept; all else is done with.
        const std::string number =
            std::to_string(scan.state.in_use ? scan.state.generation : static_cast<std::uint64_t>(std::time(nullptr)));
        Result<void> done;
        if (failed || damaged) {
            ++total.kept;
            auto kept = put_aside(files_, dir, segment.name, (failed ? "kept-" : "damaged-") + number);
            if (!kept) return std::move(kept).error();
            log(LogLevel::error, "journal: " + plan_.dir + "/" + segment.name +
                                     (failed ? " holds mail that could not be brought back: it is kept as "
                                             : " is damaged: what can be read was brought back; it is kept as ") +
                                     *kept);
        } else if (segment.name.starts_with("kept-")) {
            done = files_.unlink(dir, segment.name);
        } else {
            auto file = files_.open(dir, segment.name, O_WRONLY);
            const std::string path = plan_.dir + "/" + segment.name;
            if (!file) return std::move(file).error();
            done = files_.write_at(file->get(), 0, journal::first_block({scan.state.generation, false}), path);
            if (done) done = files_.sync_data(file->get(), path);
        }
        if (!done) return std::move(done).error();
    }
    if (auto synced = files_.sync(dir.fd, dir.path); !synced) return std::move(synced).error();
    if (total.deliveries > 0)
        log(LogLevel::info, "journal: " + std::to_string(total.deliveries) + " deliveries were looked for, " +
                                std::to_string(total.restored) + " of them brought back, " +
                                std::to_string(total.orphans) + " belonged to users that are gone");
    return total;
}

}  // namespace roost
