#include "owner.h"

#include <sys/fsuid.h>
#include <unistd.h>

#include <string>

namespace roost::maildir {
namespace {

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

gid_t group_for(const User& user, uid_t uid) { return parse_id(user.settings().text("maildir.gid"))->value_or(uid); }

Result<std::optional<Owner>> owner_of(const User& user) {
    const std::string* text = user.allocated("maildir.uid");
    if (text == nullptr) return std::optional<Owner>();
    const auto id = parse_id(*text);
    if (!id || !*id)
        return config_error("allocation of " + user.name(), "maildir.uid '" + *text + "' is not a uid",
                            "correct the record");
    const uid_t uid = **id;
    if (const uid_t self = ::geteuid(); self != 0) {
        if (self == uid) return std::optional<Owner>();
        return config_error("mailbox of " + user.name(),
                            "it belongs to uid " + *text + " and Roost runs as uid " + std::to_string(self),
                            "run Roost as root, or as that user");
    }
    return std::optional<Owner>(Owner{uid, group_for(user, uid)});
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
