// What lookups in the user database answer.

#include <chrono>

#include "catch.h"
#include "user/sql_user_db.h"
#include "user/sql_user_impl.h"
#include "user_site.h"

using namespace roost;
using namespace std::chrono_literals;
using scratch::has;
using scratch::must;
using scratch::UserSite;

TEST_CASE("a bare name inserted by another program is a whole record") {
    UserSite site;
    site.sql("INSERT INTO users (name) VALUES ('alice@example.org')");
    const UserRecord record = site.get("alice@example.org");
    CHECK(record.name == "alice@example.org");
    CHECK(record.domain == "example.org");
    CHECK(record.enabled);
    CHECK(record.settings.empty());
    CHECK_FALSE(record.allocation);
    CHECK(record.version == 0);
    CHECK(record.plan.empty());
}

TEST_CASE("names are found in any case, however they were written, and cannot stand twice") {
    UserSite site;
    site.sql(
        "INSERT INTO users (name) VALUES ('ALICE@Example.ORG'); INSERT INTO domains VALUES ('EXAMPLE.org', 'Gold', "
        "'{\"quota.messages\": 5}'); INSERT INTO plans VALUES ('gOLD', '{\"quota.storage\": \"1G\"}')");
    for (const char* name : {"alice@example.org", "ALICE@EXAMPLE.ORG", "Alice@Example.org"}) {
        const UserRecord record = site.get(name);
        CHECK(record.name == "alice@example.org");
        CHECK(record.domain_settings == Settings{{"quota.messages", "5"}});
        CHECK(record.plan == "gold");
        CHECK(record.plan_settings == Settings{{"quota.storage", "1G"}});
    }
    CHECK_THROWS(site.sql("INSERT INTO users (name) VALUES ('alice@example.org')"));
    CHECK_FALSE(must(site.db->add_user("alice@EXAMPLE.org", {}, true)));
}

TEST_CASE("an unknown name is an answer, not an Error") {
    UserSite site;
    site.sql("INSERT INTO users (name) VALUES ('alice')");
    for (const std::string& name :
         {std::string("bob"), std::string(""), std::string("alice\0", 6), std::string("ali%"), std::string("'; --"),
          std::string("alice@"), std::string("\xff"), std::string("a\nb"), std::string(100000, 'a')}) {
        const auto found = site.db->find(name);
        REQUIRE(found);
        CHECK_FALSE(*found);
    }
}

TEST_CASE("the domain is what stands behind the last at-sign") {
    UserSite site;
    site.sql(
        "INSERT INTO users (name) VALUES ('a@b@c.d'), ('plain'), ('end@');"
        "INSERT INTO domains (name, settings) VALUES ('c.d', '{\"a\":1}'), ('b@c.d', '{\"a\":2}'), ('plain', "
        "'{\"a\":3}'), ('', '{\"a\":4}')");
    CHECK(site.get("a@b@c.d").domain_settings == Settings{{"a", "1"}});
    CHECK(site.get("plain").domain.empty());
}

TEST_CASE("a changed record is seen by the next lookup of the same connection") {
    UserSite site;
    site.sql("INSERT INTO users (name) VALUES ('alice')");
    CHECK(site.get("alice").enabled);
    site.sql("UPDATE users SET enabled = 0, settings = '{\"quota.storage\":\"1M\"}'");
    CHECK_FALSE(site.get("alice").enabled);
    CHECK(site.get("alice").settings == Settings{{"quota.storage", "1M"}});
    site.sql("DELETE FROM users");
    CHECK_FALSE(must(site.db->find("alice")));
}

TEST_CASE("a lookup leaves nothing of an earlier one behind") {
    UserSite site;
    site.sql(
        "INSERT INTO plans (name) VALUES ('gold'); INSERT INTO domains VALUES ('full', 'gold', '{\"a\":1}');"
        "INSERT INTO users (name, allocation) VALUES ('x@full', '{\"p\":\"/x\"}'); INSERT INTO users (name) VALUES "
        "('x@bare')");
    CHECK(site.get("x@full").allocation);
    const UserRecord bare = site.get("x@bare");
    CHECK_FALSE(bare.allocation);
    CHECK(bare.allocation_text.empty());
    CHECK(bare.domain_settings.empty());
    CHECK(bare.plan.empty());
}

TEST_CASE("a lookup lets go of its snapshot, so that the log can be folded back beside it") {
    UserSite site;
    site.sql("INSERT INTO users (name) VALUES ('alice')");
    CHECK(site.get("alice").enabled);
    CHECK(site.ask("PRAGMA wal_checkpoint(TRUNCATE)") == "0|0|0|");
}

TEST_CASE("columns that are NULL or hold no JSON are told apart") {
    UserSite site;
    site.sql(
        "INSERT INTO users (name, settings) VALUES ('null@x', NULL), ('bad@x', 'quota.storage=1G'), ('empty@x', "
        "''), ('list@x', '[]'), ('deep@x', '{\"quota.storage\":{\"a\":1}}'), ('twice@x', '{\"a\":1,\"a\":2}');"
        "INSERT INTO users (name, allocation) VALUES ('alloc@x', '{]'), ('blob@x', CAST('{\"a\":\"b\"}' AS BLOB));"
        "INSERT INTO domains (name, settings) VALUES ('bad.dom', 'x'), ('null.dom', NULL);"
        "INSERT INTO users (name) VALUES ('a@bad.dom'), ('a@null.dom')");
    CHECK(site.get("null@x").settings.empty());
    CHECK(site.get("a@null.dom").domain_settings.empty());
    CHECK(has(site.find_error("bad@x"), "user bad@x, column settings: not JSON"));
    CHECK(has(site.find_error("empty@x"), "user empty@x, column settings: not JSON"));
    CHECK(has(site.find_error("list@x"), "user list@x, column settings: it is a list"));
    CHECK(has(site.find_error("deep@x"), "the value of 'quota.storage' is an object"));
    CHECK(has(site.find_error("twice@x"), "the key 'a' stands twice"));
    CHECK(has(site.find_error("alloc@x"), "user alloc@x, column allocation: not JSON"));
    CHECK(has(site.find_error("a@bad.dom"), "domain bad.dom, column settings: not JSON"));
    CHECK(site.get("blob@x").allocation == Settings{{"a", "b"}});
    // The connection goes on after each of them.
    CHECK(site.get("null@x").enabled);
}

TEST_CASE("columns of a wrong type are Errors that name the column") {
    UserSite site;
    site.sql(
        "INSERT INTO users (name, enabled) VALUES ('word', 'yes'), ('two', 2), ('text', '0');"
        "INSERT INTO users (name, version) VALUES ('v', 'new'), ('half', 1.5)");
    CHECK(has(site.find_error("word"), "user word, column enabled: 'yes' is not a whole number"));
    CHECK(has(site.find_error("v"), "user v, column version"));
    CHECK(has(site.find_error("half"), "user half, column version"));
    CHECK(site.get("two").enabled);
    CHECK_FALSE(site.get("text").enabled);
}

TEST_CASE("a domain on a plan that does not exist is an Error, for its limits would be lifted unseen") {
    UserSite site;
    site.sql(
        "INSERT INTO users (name) VALUES ('a@x'), ('a@y'); INSERT INTO domains (name, plan) VALUES ('x', 'glod'), "
        "('y', '')");
    CHECK(has(site.find_error("a@x"), "domain x: its plan glod does not exist: make it: roost plan set glod"));
    CHECK(site.get("a@y").plan.empty());
    site.sql("INSERT INTO plans (name, settings) VALUES ('glod', 'x')");
    CHECK(has(site.find_error("a@x"), "plan glod, column settings: not JSON"));
}

TEST_CASE("a lookup searches by key in every table, at any size, and runs one statement") {
    UserSite site;
    auto db = must(Database::open("sqlite:" + site.path, Database::Missing::fail, 1s));
    std::string plan;
    int steps = 0;
    must(db->read("explain", [&](soci::session& sql) -> Result<void> {
        const std::string name = "a@b";
        std::string detail;
        int id = 0;
        int parent = 0;
        int unused = 0;
        soci::statement explain =
            (sql.prepare << "EXPLAIN QUERY PLAN " + find_query(), soci::use(name), soci::use(name), soci::into(id),
             soci::into(parent), soci::into(unused), soci::into(detail));
        for (bool got = explain.execute(true); got; got = explain.fetch()) {
            plan += detail + "\n";
            ++steps;
        }
        return {};
    }));
    INFO(plan);
    CHECK(steps == 3);
    CHECK_FALSE(has(plan, "SCAN"));
    CHECK_FALSE(has(plan, "TEMP"));
    for (const char* table : {"SEARCH u USING PRIMARY KEY", "SEARCH d USING PRIMARY KEY", "SEARCH p USING PRIMARY KEY"})
        CHECK(has(plan, table));
}
