#include "privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

namespace roost {
namespace {

constexpr std::uint64_t bit(int capability) { return std::uint64_t{1} << static_cast<unsigned>(capability); }

// Ports below 1024, which a reload may name, too.
constexpr std::uint64_t kAnybody = bit(CAP_NET_BIND_SERVICE);
// To act as the users whom mailboxes belong to, and to hand a new mailbox over (SETUID, SETGID, CHOWN); to get at the
// database, the state and mailboxes that belong to others (DAC_OVERRIDE), and to set the modes of files made for them
// (FOWNER). A thread that acts as a user has none of the latter three: the kernel drops them with setfsuid(2).
constexpr std::uint64_t kRoot =
    kAnybody | bit(CAP_SETUID) | bit(CAP_SETGID) | bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FOWNER);

Error refused(const char* what) {
    Error error = system_error(errno, what);
    error.outcome = Outcome::misconfigured;
    return error;
}

// The sets of capset(2), in two words each.
using Sets = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;

Result<void> keep_only(std::uint64_t kept) {
    // First what programs could gain; it takes a capability to do it, which is then dropped. Without that capability
    // no_new_privs does.
    for (int each = 0; ::prctl(PR_CAPBSET_READ, each, 0, 0, 0) >= 0; ++each)
        if ((kept & bit(each)) == 0 && ::prctl(PR_CAPBSET_DROP, each, 0, 0, 0) != 0 && errno != EPERM)
            return refused("cannot limit the capabilities of programs");
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL)
        return refused("cannot give up ambient capabilities");

    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    Sets sets{};
    if (::syscall(SYS_capget, &header, sets.data()) != 0) return refused("cannot read the capabilities");
    unsigned shift = 0;
    for (__user_cap_data_struct& word : sets) {
        word.permitted &= static_cast<std::uint32_t>(kept >> shift);
        word.effective = word.permitted;
        word.inheritable = 0;
        shift += 32;
    }
    if (::syscall(SYS_capset, &header, sets.data()) != 0) return refused("cannot give up capabilities");
    return {};
}

}  // namespace

Result<void> give_up_privileges() {
    const bool root = ::geteuid() == 0;
    // Where that is not permitted, as in a container, there is nothing to be done about the groups.
    if (root && ::setgroups(0, nullptr) != 0 && errno != EPERM) return refused("cannot give up supplementary groups");
    if (auto kept = keep_only(root ? kRoot : kAnybody); !kept) return kept;
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return refused("cannot give up new privileges");
    return {};
}

}  // namespace roost
