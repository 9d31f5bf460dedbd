#include "stale.h"

#include <dirent.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <string_view>

#include "entries.h"

namespace roost::maildir {
namespace {

constexpr std::time_t kStaleSeconds = std::time_t{36} * 60 * 60;
// More must wait for the next delivery: none is to pay for all the rubbish of a crash.
constexpr int kMostAtOnce = 32;

// True if the name begins with a moment within the last 36 hours, as unique names do.
bool is_recent_name(std::string_view name, std::time_t now) {
    std::time_t made = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), made);
    return error == std::errc{} && end != name.data() && made <= now && made > now - kStaleSeconds;
}

}  // namespace

void remove_stale(Files& files, DirRef tmp) {
    const std::time_t now = std::time(nullptr);
    int removed = 0;
    auto swept = each_entry(
        tmp.fd, tmp.path,
        [&](const Entry& entry) -> Result<void> {
            if (removed >= kMostAtOnce || entry.name.starts_with('.') || is_recent_name(entry.name, now)) return {};
            const auto st = files.stat(tmp, entry.name);
            if (!st || !S_ISREG(st->st_mode)) return {};
            if (std::max({st->st_atime, st->st_mtime, st->st_ctime}) > now - kStaleSeconds) return {};
            if (files.unlink(tmp, entry.name)) ++removed;
            return {};
        },
        true);
    static_cast<void>(swept);
}

}  // namespace roost::maildir
