#include "recovery.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/log.h"
#include "text.h"

namespace roost::mbox {
namespace {

// Another program may end the line that it finds unfinished before it begins its message.
bool is_foreign_message(std::string_view text) {
    return begins_with_from_line(text) || (text.starts_with('\n') && begins_with_from_line(text.substr(1)));
}

// How many bytes from intent.size on are certainly of its text, up to the foreign message that follows them, if there
// is one; 0 if another program rewrote the file. `present`: how many bytes are there.
Result<std::uint64_t> own_length(int fd, const std::string& path, const Intent& intent, std::uint64_t present) {
    const std::size_t want = std::min<std::uint64_t>(present, intent.witness.size() + kLongestFromLine);
    auto read = read_at(fd, path, intent.size, want);
    if (!read) return std::move(read).error();
    const std::string_view seen = *read;
    const std::size_t compared = std::min(seen.size(), intent.witness.size());
    const std::size_t equal = static_cast<std::size_t>(
        std::mismatch(seen.begin(), seen.begin() + static_cast<std::ptrdiff_t>(compared), intent.witness.begin())
            .first -
        seen.begin());

    if (equal < compared) {
        // A foreign message may go on for some bytes like ours; our text has no From_ line but its first. At the very
        // start there would be nothing of ours.
        const std::size_t lowest = equal > kLongestFromLine ? equal - kLongestFromLine : 1;
        for (std::size_t at = equal; at >= lowest; --at)
            if (seen[at - 1] != '>' && is_foreign_message(seen.substr(at))) return at;
        return 0;
    }
    if (present <= compared) return present;
    std::uint64_t end = std::min(present, intent.length);
    if (intent.length > intent.witness.size()) {
        // What lies behind the witness is ours up to the next From_ line.
        const std::uint64_t begin = intent.size + compared - std::min(compared, kLongestFromLine) + 1;
        auto found = find_from_lines(fd, path, begin, intent.size + end, Where::anywhere, [&](std::uint64_t at) {
            end = at - intent.size;
            return false;
        });
        if (!found) return std::move(found).error();
    }
    if (end == present) return end;
    auto next = read_at(fd, path, intent.size + end, kLongestFromLine);
    if (!next) return std::move(next).error();
    return is_foreign_message(*next) ? end : 0;
}

Result<void> blank_out(Files& files, int fd, const std::string& path, std::uint64_t begin, std::uint64_t length) {
    if (::lseek(fd, static_cast<off_t>(begin), SEEK_SET) < 0) return system_error(errno, "cannot write " + path);
    const std::string lines(std::min<std::uint64_t>(length, Intent::kWitness), '\n');
    while (length > 0) {
        const std::string_view piece = std::string_view(lines).substr(0, std::min<std::uint64_t>(length, lines.size()));
        auto written = files.write(fd, piece, path);
        if (!written) return written;
        length -= piece.size();
    }
    return files.sync_data(fd, path);
}

}  // namespace

Result<void> cut_off(Files& files, int fd, const std::string& path, std::uint64_t size) {
    auto cut = files.truncate(fd, size, path);
    if (!cut) return cut;
    return files.sync_data(fd, path);
}

Result<void> take_back(Files& files, int fd, const std::string& path, const Intent& intent) {
    struct stat st {};
    if (::fstat(fd, &st) != 0) return system_error(errno, "cannot look at " + path);
    const auto size = static_cast<std::uint64_t>(st.st_size);
    if (st.st_ino != intent.inode || size <= intent.size) return {};
    const auto own = own_length(fd, path, intent, size - intent.size);
    if (!own) return own.error();
    if (*own == 0) {
        log(LogLevel::warning, path +
                                   ": a delivery was interrupted, and another program has changed the mailbox "
                                   "since: it is left as it is");
        return {};
    }
    log(LogLevel::info, path + ": taking back an interrupted delivery");
    if (*own == size - intent.size) return cut_off(files, fd, path, intent.size);
    return blank_out(files, fd, path, intent.size, *own);
}

}  // namespace roost::mbox
