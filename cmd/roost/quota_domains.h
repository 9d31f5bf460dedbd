// The domains that quota commands come across.
#pragma once

#include "base/result.h"
#include "store/accounts.h"
#include "user/sql_user_db.h"

#include <functional>
#include <map>
#include <string>

namespace roost::cli {

// Collects the domains with limits whose users a command visits. Memory grows with them, not with the users.
class DomainsSeen {
public:
    struct Domain {
        Limits limits;
        Usage held;  // by the users that were added with their usage
    };
    // `held`: what the user holds, where the command found that out.
    void add(const User& user, const Usage& held = {});
    // Adds a domain of which no user may have been visited.
    Result<void> add(SqlUserDb& db, const Config& config, const std::string& domain);

    // By name.
    const std::map<std::string, Domain>& all() const { return domains_; }

private:
    std::map<std::string, Domain> domains_;
};

}  // namespace roost::cli
