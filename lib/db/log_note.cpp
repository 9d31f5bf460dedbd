#include "db/log_note.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <type_traits>

namespace roost {
namespace {

constexpr const char* kAttribute = "user.roost.database";

static_assert(std::has_unique_object_representations_v<LogNote>, "it is stored as it lies in memory");

// Of the database header. It never falls; transactions that change the first page make it grow, but several in a row
// of one connection may have the same number.
std::uint32_t change_counter(const LogNote::Header& header) {
    constexpr std::size_t kAt = 24;
    std::uint32_t out = 0;
    for (std::size_t i = kAt; i < kAt + sizeof out; ++i) out = out << 8U | header[i];
    return out;
}

}  // namespace

bool LogNote::follows(const LogNote& former) const {
    if (header == former.header) return true;
    return database == former.database &&
           static_cast<std::int32_t>(change_counter(header) - change_counter(former.header)) >= 0;
}

std::optional<LogNote::File> identify(const std::string& path, std::uint64_t* size) {
    struct statx st {};
    if (::statx(AT_FDCWD, path.c_str(), AT_STATX_SYNC_AS_STAT, STATX_INO | STATX_BTIME | STATX_SIZE, &st) != 0)
        return std::nullopt;
    if (size != nullptr) *size = st.stx_size;
    LogNote::File out{st.stx_ino, 0, 0};
    if ((st.stx_mask & STATX_BTIME) != 0) {
        out.born = st.stx_btime.tv_sec;
        out.born_nanoseconds = st.stx_btime.tv_nsec;
    }
    return out;
}

std::optional<LogNote> read_log_note(const std::string& log, const LogNote::File& self) {
    LogNote note;
    if (::getxattr(log.c_str(), kAttribute, &note, sizeof note) != sizeof note || note.log != self) return std::nullopt;
    return note;
}

void write_log_note(const std::string& log, const LogNote& note) noexcept {
    (void)::setxattr(log.c_str(), kAttribute, &note, sizeof note, 0);
}

void remove_log_note(const std::string& log) noexcept { (void)::removexattr(log.c_str(), kAttribute); }

}  // namespace roost
