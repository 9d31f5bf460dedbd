#include "owner.h"

#include <sys/fsuid.h>
#include <unistd.h>

#include <charconv>
#include <limits>
#include <string>
#include <string_view>

namespace roost::maildir {
namespace {

// A user or group id. The largest number means "none" to the system calls.
std::optional<std::uint32_t> parse_id(std::string_view text) {
    std::uint32_t id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    if (id == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
    return id;
}

// setfsuid(2) and setfsgid(2) report no failure; asking for an impossible id returns the one in force.
void act(const Owner& owner) {
    ::setfsgid(owner.gid);
    ::setfsuid(owner.uid);
}
bool acts_as(const Owner& owner) {
    return static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))) == owner.uid &&
           static_cast<gid_t>(::setfsgid(static_cast<gid_t>(-1))) == owner.gid;
}

}  // namespace

Result<gid_t> group_for(const User& user, uid_t uid) {
    const std::string_view text = user.settings().text("maildir.gid");
    if (text.empty()) return uid;
    const auto gid = parse_id(text);
    if (!gid)
        return config_error("maildir.gid '" + std::string(text) + "'", "not a group's number",
                            "give the number that getent group prints, or leave it empty");
    return *gid;
}

Result<std::optional<Owner>> owner_of(const User& user) {
    const std::string* text = user.allocated("maildir.uid");
    if (text == nullptr) return std::optional<Owner>();
    const auto uid = parse_id(*text);
    if (!uid)
        return config_error("allocation of " + user.name(), "maildir.uid '" + *text + "' is not a uid",
                            "correct the record");
    if (const uid_t self = ::geteuid(); self != 0) {
        if (self == *uid) return std::optional<Owner>();
        return config_error("mailbox of " + user.name(),
                            "it belongs to uid " + *text + " and Roost runs as uid " + std::to_string(self),
                            "run Roost as root, or as that user");
    }
    const auto gid = group_for(user, *uid);
    if (!gid) return gid.error();
    return std::optional<Owner>(Owner{*uid, *gid});
}

Result<ActAs> ActAs::begin(const std::optional<Owner>& owner) {
    ActAs out;
    if (!owner) return out;
    const Owner before{::geteuid(), ::getegid()};
    out.before_ = before;
    act(*owner);
    if (!acts_as(*owner))
        return Error{Outcome::trouble, "cannot act as uid " + std::to_string(owner->uid), "the kernel refused it",
                     "Roost needs the capabilities CAP_SETUID and CAP_SETGID", 0};
    return out;
}

ActAs::~ActAs() {
    if (!before_) return;
    ::setfsuid(before_->uid);  // first the user: it gives back the right to change the group
    ::setfsgid(before_->gid);
}

}  // namespace roost::maildir
