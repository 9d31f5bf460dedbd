#include "base/result.h"

#include <cerrno>
#include <system_error>

namespace roost {

std::string Error::text() const {
    std::string out = what;
    if (!why.empty()) out += ": " + why;
    if (!hint.empty()) out += ": " + hint;
    return out;
}

Error system_error(int sys, std::string what, std::string hint) {
    const bool full = sys == ENOSPC || sys == EDQUOT;
    if (sys == EMFILE && hint.empty()) hint = "raise the limit of open files: ulimit -n, or LimitNOFILE of the service";
    if (sys == EROFS && hint.empty())
        hint = "mount it for writing, or in systemd's unit name it in ReadWritePaths: see Mail elsewhere in roostd(8)";
    return {full ? Outcome::store_full : Outcome::trouble, std::move(what), std::generic_category().message(sys),
            std::move(hint), sys};
}

Error config_error(std::string what, std::string why, std::string hint) {
    return {Outcome::misconfigured, std::move(what), std::move(why), std::move(hint), 0};
}

}  // namespace roost
