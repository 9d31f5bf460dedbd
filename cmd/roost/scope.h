// The users that a command about quota is told to look at.
#pragma once

#include "command_line.h"
#include "config/config.h"
#include "user/sql_user_db.h"
#include "user/user.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace roost::cli {

// Several ways to name users may stand together; none of them twice makes anybody come twice.
struct Scope {
    std::vector<std::string> users;    // as the database holds names
    std::vector<std::string> domains;  // all of their users
    bool all = false;                  // else the above

    // True if all users of the domain are meant.
    bool has_domain(std::string_view domain) const;

    // "NAME ...", "--domain" and "--all" of a command, for its messages. Errors are malformed: names that cannot be,
    // --all beside others, nothing at all unless `all_by_default`.
    static Result<Scope> of(const Options& options, std::string_view command, bool all_by_default);
};

// Calls `visit` with each user's record, those of a domain in the order of names. A user that is named and does not
// exist is an Error before anything is visited. `visit` returns false to stop.
Result<void> each_in(SqlUserDb& db, const Scope& scope, const std::function<bool(Result<UserRecord>)>& visit);

}  // namespace roost::cli
