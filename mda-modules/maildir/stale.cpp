#include "stale.h"

#include <dirent.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <ctime>
#include <string_view>

#include "entries.h"

namespace roost::maildir {
namespace {

constexpr std::time_t kStaleSeconds = std::time_t{36} * 60 * 60;
// More must wait for the next delivery: none is to pay for all the rubbish of a crash.
constexpr int kMostAtOnce = 32;

// What became of a directory's entries within so many seconds may not show in its time of change.
constexpr std::time_t kBlurSeconds = 2;

// The directories that were empty, each as a number that stands for which one it is and when it last changed. A table
// that is full forgets: whoever is forgotten is looked at again.
std::array<std::atomic<std::uint64_t>, 65536> empty_ones;

std::uint64_t number_of(const struct stat& st) {
    std::uint64_t number = 0;
    for (const auto part :
         {static_cast<std::uint64_t>(st.st_dev), static_cast<std::uint64_t>(st.st_ino),
          static_cast<std::uint64_t>(st.st_mtim.tv_sec), static_cast<std::uint64_t>(st.st_mtim.tv_nsec)}) {
        number = (number ^ part) * 0x9e3779b97f4a7c15U;  // 2^64 by the golden ratio: spreads every bit upwards
        number ^= number >> 32U;
    }
    return number | 1U;  // never that of a place in the table that nobody has taken
}

std::atomic<std::uint64_t>& place_of(std::uint64_t number) { return empty_ones[(number >> 1U) % empty_ones.size()]; }

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
    bool empty = true;
    struct stat before {};
    if (::fstat(tmp.fd, &before) != 0) return;
    const auto swept = each_entry(
        tmp.fd, tmp.path,
        [&](const Entry& entry) -> Result<void> {
            empty = false;
            if (removed >= kMostAtOnce || entry.name.starts_with('.') || is_recent_name(entry.name, now)) return {};
            const auto st = files.stat(tmp, entry.name);
            if (!st || !S_ISREG(st->st_mode)) return {};
            if (std::max({st->st_atime, st->st_mtime, st->st_ctime}) > now - kStaleSeconds) return {};
            if (files.unlink(tmp, entry.name)) ++removed;
            return {};
        },
        true);
    if (!swept || !empty || before.st_mtim.tv_sec > now - kBlurSeconds) return;
    const std::uint64_t number = number_of(before);
    place_of(number).store(number, std::memory_order_relaxed);
}

bool is_known_empty(const struct stat& tmp) {
    const std::uint64_t number = number_of(tmp);
    return place_of(number).load(std::memory_order_relaxed) == number;
}

}  // namespace roost::maildir
