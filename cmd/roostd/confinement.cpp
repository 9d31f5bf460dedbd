#include "confinement.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "base/fd.h"

namespace roost {
namespace {

// Before its second version Landlock forbids all moves between directories, which every delivery does.
constexpr long kLeastAbi = 2;
constexpr long kTruncateAbi = 3;
constexpr std::uint64_t kTruncate = 1U << 14U;  // LANDLOCK_ACCESS_FS_TRUNCATE, which older headers lack

constexpr std::uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE;
constexpr std::uint64_t kRead = kReadFile | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kWriteFile = LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr std::uint64_t kWrite = kWriteFile | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                                 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                                 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                                 LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
// Devices are made by nobody.
constexpr std::uint64_t kNever = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;

Error cannot(std::string why, std::string hint = {}) {
    return {Outcome::misconfigured, "not confined to its directories", std::move(why), std::move(hint), 0};
}

// The path without links; empty if it is not there.
std::string real_path(const std::string& path) {
    const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
    return real ? real.get() : std::string();
}

// The same, of the nearest directory above it if it is not there.
std::string nearest_path(std::string path) {
    while (true) {
        std::string real = real_path(path);
        if (!real.empty()) return real;
        const std::size_t slash = path.find_last_of('/');
        if (slash == std::string::npos || slash == 0) return "/";
        path.resize(slash);
    }
}

bool is_below(std::string_view path, std::string_view top) {
    return top == "/" || path == top || (path.starts_with(top) && path.substr(top.size()).starts_with('/'));
}

}  // namespace

Result<void> Confinement::begin(const Reach& reach) {
    // NOLINTBEGIN(cppcoreguidelines-pro-type-vararg): there are no wrappers for these calls
    const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0 && errno == EPERM)
        return cannot("Landlock may not be used here", "let the service manager permit the system calls landlock_*");
    if (abi < kLeastAbi) return cannot("this kernel has no Landlock, or not that of Linux 5.19");
    const std::uint64_t truncate = abi >= kTruncateAbi ? kTruncate : 0;

    landlock_ruleset_attr attributes{};
    attributes.handled_access_fs = kRead | kWrite | kNever | truncate;
    const Fd rules(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)));
    if (!rules) return cannot(system_error(errno, "Landlock").why);

    std::vector<Grant> grants;
    const auto grant = [&](const std::string& path, bool writes) -> Result<void> {
        const Fd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
        struct stat st {};
        if (!fd || ::fstat(fd.get(), &st) != 0) return cannot(system_error(errno, "cannot open " + path).text());
        const bool folder = S_ISDIR(st.st_mode);
        std::uint64_t access = folder ? kRead : kReadFile;
        if (writes) access |= (folder ? kWrite : kWriteFile) | truncate;
        landlock_path_beneath_attr rule{};
        rule.allowed_access = access;
        rule.parent_fd = fd.get();
        if (::syscall(SYS_landlock_add_rule, rules.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
            return cannot(system_error(errno, "Landlock, about " + path).text());
        grants.push_back({path, st.st_dev, st.st_ino, writes});
        return {};
    };
    for (const std::string& path : reach.writes) {
        const std::string nearest = nearest_path(path);
        if (nearest == "/")
            return cannot("the program is to write to " + path + ", and no directory above that is there but /",
                          "make it, and restart roostd");
        if (auto granted = grant(nearest, true); !granted) return granted;
    }
    for (const std::string& path : reach.reads)
        if (const std::string real = real_path(path); !real.empty())
            if (auto granted = grant(real, false); !granted) return granted;
    if (::syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0) return cannot(system_error(errno, "Landlock").why);
    // NOLINTEND(cppcoreguidelines-pro-type-vararg)
    grants_ = std::move(grants);
    return {};
}

Result<void> Confinement::admits(const Reach& reach) const {
    if (!on()) return {};
    const auto check = [&](const std::string& asked, const std::string& path, bool writes) -> Result<void> {
        constexpr const char* kHint = "restart roostd";
        for (const Grant& each : grants_) {
            if ((writes && !each.writes) || !is_below(path, each.path)) continue;
            struct stat st {};
            if (::stat(each.path.c_str(), &st) == 0 && st.st_dev == each.device && st.st_ino == each.inode) return {};
            return config_error(asked, each.path + " was mounted or made anew since roostd confined itself", kHint);
        }
        return config_error(asked, "it is not among the directories that roostd confined itself to when it started",
                            kHint);
    };
    for (const std::string& path : reach.writes)
        if (auto within = check(path, nearest_path(path), true); !within) return within;
    for (const std::string& path : reach.reads)
        if (const std::string real = real_path(path); !real.empty())
            if (auto within = check(path, real, false); !within) return within;
    return {};
}

}  // namespace roost
