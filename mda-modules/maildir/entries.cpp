#include "entries.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace roost::maildir {
namespace {

// One record of getdents64(2): inode and offset of 8 bytes each, the record's length, the type, the name with a NUL.
constexpr std::size_t kLengthAt = 16;
constexpr std::size_t kTypeAt = 18;
constexpr std::size_t kNameAt = 19;

}  // namespace

Result<void> each_entry(int fd, std::string_view path, const std::function<Result<void>(const Entry&)>& visit,
                        bool one_batch) {
    alignas(8) std::array<char, 32768> buffer;
    while (true) {
        const long got = ::syscall(SYS_getdents64, fd, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error(errno, "cannot list " + std::string(path));
        if (got == 0) return {};
        for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
            const char* record = buffer.data() + at;
            std::uint16_t length = 0;
            std::memcpy(&length, record + kLengthAt, sizeof length);
            at += length;
            Entry entry{record + kNameAt, static_cast<unsigned char>(record[kTypeAt])};
            if (entry.name == "." || entry.name == "..") continue;
            if (auto visited = visit(entry); !visited) return visited;
        }
        if (one_batch) return {};
    }
}

bool is_empty(int fd, std::string_view path) {
    bool empty = ::lseek(fd, 0, SEEK_SET) == 0;
    const auto listed = each_entry(
        fd, path,
        [&](const Entry& /*entry*/) -> Result<void> {
            empty = false;
            return {};
        },
        true);
    return ::lseek(fd, 0, SEEK_SET) == 0 && listed && empty;
}

Result<std::optional<struct timespec>> settled_change(int fd, std::string_view path) {
    constexpr int kLooks = 50;
    constexpr long kNanoseconds = 1'000'000;
    for (int look = 1;; ++look) {
        struct stat st {};
        if (::fstat(fd, &st) != 0) return system_error(errno, "cannot look at " + std::string(path));
        struct timespec tick {};
        ::clock_gettime(CLOCK_REALTIME_COARSE, &tick);
        const bool this_tick = st.st_mtim.tv_sec == tick.tv_sec && st.st_mtim.tv_nsec >= tick.tv_nsec;
        if (!this_tick || look == kLooks) return std::optional(st.st_mtim);
        if (is_empty(fd, path)) return std::optional<struct timespec>();
        const struct timespec pause { 0, kNanoseconds };
        ::nanosleep(&pause, nullptr);
    }
}

bool is_unchanged(Files& files, DirRef root, const Seen& seen) {
    if (!seen.changed) {
        auto dir = files.open_dir(root, seen.path);
        return dir && is_empty(dir->get(), root.path);
    }
    const auto st = files.stat(root, seen.path);
    return st && st->st_mtim.tv_sec == seen.changed->tv_sec && st->st_mtim.tv_nsec == seen.changed->tv_nsec;
}

}  // namespace roost::maildir
