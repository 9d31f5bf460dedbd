// A user database to test with.
#pragma once

#include <memory>
#include <string>

#include "catch.h"
#include "db_scratch.h"
#include "user/sql_user_db.h"

namespace scratch {

// A database in a private directory.
struct UserSite {
    Dir dir;
    std::string path = dir / "users.db";
    std::unique_ptr<roost::SqlUserDb> db = open_db(path);

    void sql(const std::string& text) { Foreign(path).run(text); }
    std::string ask(const std::string& text) { return Foreign(path).ask(text); }
    roost::UserRecord get(const std::string& name) {
        auto found = must(db->find(name));
        REQUIRE(found);
        return *found;
    }
    std::string find_error(const std::string& name) {
        const auto found = db->find(name);
        REQUIRE_FALSE(found);
        CHECK(found.error().outcome == roost::Outcome::misconfigured);
        return found.error().text();
    }
};

inline roost::Result<std::unique_ptr<roost::SqlUserDb>> open_existing(const std::string& path) {
    return roost::SqlUserDb::open("sqlite:" + path, roost::SqlUserDb::Missing::fail, kBusyTime);
}

}  // namespace scratch
