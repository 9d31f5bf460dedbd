// Administration of the user database.
#include "catch.h"
#include "db_scratch.h"
#include "user/sql_user_db.h"

using namespace roost;
using scratch::Foreign;
using scratch::has;
using scratch::must;

namespace {

struct AdminSite {
    scratch::Dir dir;
    std::string path = dir / "users.db";
    std::unique_ptr<SqlUserDb> db = scratch::open_db(path);

    void sql(const std::string& text) { Foreign(path).run(text); }
    std::string ask(const std::string& text) { return Foreign(path).ask(text); }
    // The names that a listing gives, "!" after those that come as an Error.
    std::string list(const std::string& domain) {
        std::string names;
        must(db->each_user(domain, [&](std::string_view name, const Result<UserRecord>& record) {
            names += std::string(name) + (record ? " " : "! ");
            return true;
        }));
        return names;
    }
};

}  // namespace

TEST_CASE("a user is added once, with lower-case name, settings and state") {
    AdminSite site;
    CHECK(must(site.db->add_user("Alice@Example.ORG", {{"quota.storage", "1G"}}, false)));
    CHECK_FALSE(must(site.db->add_user("alice@example.org", {}, true)));
    CHECK(site.ask("SELECT * FROM users") == "alice@example.org|0|{\"quota.storage\":\"1G\"}|-|0|");
}

TEST_CASE("names that could never be looked up or shown are refused") {
    AdminSite site;
    for (const std::string& name :
         {std::string(""), std::string("a\0b", 3), std::string("a\nb"), std::string("\x7f"), std::string("a\xff")}) {
        CHECK_FALSE(site.db->add_user(name, {}, true));
        CHECK_FALSE(site.db->change_domain(name, {}, std::nullopt));
        CHECK_FALSE(site.db->change_plan(name, {}));
    }
    CHECK(site.ask("SELECT * FROM users") == "");
}

TEST_CASE("SQL in a name or a value is text") {
    AdminSite site;
    const std::string nasty = "x'); DROP TABLE users; --";
    CHECK(must(site.db->add_user(nasty, {{nasty, nasty}}, true)));
    const auto found = must(site.db->find(nasty));
    REQUIRE(found);
    CHECK(found->name == "x'); drop table users; --");
    CHECK(found->settings == Settings{{nasty, nasty}});
    CHECK(must(site.db->remove_user(nasty, true)));
}

TEST_CASE("settings of a user are set and removed, and the version grows") {
    AdminSite site;
    CHECK_FALSE(must(site.db->change_user("alice", {{"a", "1"}}, true)));
    site.sql("INSERT INTO users (name, settings) VALUES ('ALICE', '{\"a\":1,\"b\":true}')");
    CHECK(must(site.db->change_user("alice", {{"a", "2"}, {"b", std::nullopt}, {"c", "x"}, {"d", std::nullopt}},
                                    std::nullopt)));
    auto record = *must(site.db->find("alice"));
    CHECK(record.settings == Settings{{"a", "2"}, {"c", "x"}});
    CHECK(record.version == 1);
    CHECK(record.enabled);
    CHECK(must(site.db->change_user("alice", {}, false)));
    record = *must(site.db->find("alice"));
    CHECK_FALSE(record.enabled);
    CHECK(record.version == 2);
    CHECK(record.settings == Settings{{"a", "2"}, {"c", "x"}});
}

TEST_CASE("malformed settings are not overwritten by a change") {
    AdminSite site;
    site.sql("INSERT INTO users (name, settings) VALUES ('alice', 'rubbish')");
    CHECK(has(scratch::error_text(site.db->change_user("alice", {{"a", "1"}}, std::nullopt)),
              "user alice, column settings: not JSON"));
    CHECK(site.ask("SELECT settings, version FROM users") == "rubbish|0|");
    CHECK(must(site.db->change_user("alice", {}, false)));
}

TEST_CASE("changes by many processes at once all arrive") {
    AdminSite site;
    CHECK(must(site.db->add_user("alice", {}, true)));
    const auto statuses = scratch::in_processes(8, [&](int i) {
        auto db = scratch::open_db(site.path);
        return must(db->change_user("alice", {{"k" + std::to_string(i), "v"}}, std::nullopt)) ? 0 : 1;
    });
    CHECK(statuses == std::vector<int>(8, 0));
    const auto record = *must(site.db->find("alice"));
    CHECK(record.settings.size() == 8);
    CHECK(record.version == 8);
}

TEST_CASE("a removed user keeps the number unless it is to be forgotten") {
    AdminSite site;
    CHECK(must(site.db->add_user("alice", {}, true)));
    CHECK(must(site.db->own_number("uid", "alice", {5, 9})) == 5);
    CHECK(must(site.db->remove_user("ALICE", false)));
    CHECK(site.ask("SELECT name, number FROM numbers") == "alice|5|");
    CHECK_FALSE(must(site.db->remove_user("alice", false)));
    CHECK(must(site.db->add_user("alice", {}, true)));
    CHECK(must(site.db->remove_user("alice", true)));
    CHECK(site.ask("SELECT count(*) FROM numbers") == "0|");
}

TEST_CASE("a listing is in the order of names, whole or of one domain, with each one's domain and plan") {
    AdminSite site;
    must(site.db->change_plan("gold", {{"quota.storage", "1G"}}));
    must(site.db->change_domain("b.org", {{"quota.messages", "7"}}, "gold"));
    site.sql(
        "INSERT INTO users (name) VALUES ('zoe@b.org'), ('Bob@B.ORG'), ('alice@a.org'), ('plain'), ('x@y@b.org'), "
        "('x@cb.org'), ('b.org')");
    CHECK(site.list("") == "alice@a.org b.org bob@b.org plain x@cb.org x@y@b.org zoe@b.org ");
    CHECK(site.list("B.org") == "bob@b.org x@y@b.org zoe@b.org ");
    CHECK(site.list("none.org").empty());
    must(site.db->each_user("", [&](std::string_view name, const Result<UserRecord>& record) {
        REQUIRE(record);
        const auto looked_up = *must(site.db->find(name));
        CHECK(record->name == looked_up.name);
        CHECK(record->domain == looked_up.domain);
        CHECK(record->domain_settings == looked_up.domain_settings);
        CHECK(record->plan == looked_up.plan);
        CHECK(record->plan_settings == looked_up.plan_settings);
        return true;
    }));
}

TEST_CASE("a listing goes on past malformed records and stops when told") {
    AdminSite site;
    site.sql(
        "INSERT INTO users (name) VALUES ('a'), ('c'), ('e'); INSERT INTO users (name, settings) VALUES ('B', '['),"
        " ('d' || char(10), '{}')");
    CHECK(site.list("") == "a b! c d\n! e ");
    std::string names;
    must(site.db->each_user("", [&](std::string_view name, const Result<UserRecord>&) {
        names += name;
        return names.size() < 2;
    }));
    CHECK(names == "ab");
}

TEST_CASE("a listing longer than a batch has every user once, also when the visitor changes them") {
    AdminSite site;
    site.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
        "INSERT INTO users (name) SELECT iif(i % 2, 'User', 'USER') || i || '@x' FROM n");
    int visited = 0;
    must(site.db->each_user("x", [&](std::string_view name, const Result<UserRecord>&) {
        ++visited;
        return visited % 100 != 0 || must(site.db->change_user(name, {{"seen", "1"}}, std::nullopt));
    }));
    CHECK(visited == 1000);
    CHECK(site.ask("SELECT count(*) FROM users WHERE version = 1") == "10|");
}

TEST_CASE("domains and plans are made by what is set on them, found in any case, listed and removed") {
    AdminSite site;
    must(site.db->change_plan("Gold", {{"quota.storage", "1G"}}));
    must(site.db->change_plan("silver", {}));
    must(site.db->change_plan("gold", {{"quota.messages", "5"}, {"quota.storage", std::nullopt}}));
    CHECK(must(site.db->find_plan("GOLD"))->settings == Settings{{"quota.messages", "5"}});
    CHECK(must(site.db->plans()).size() == 2);
    CHECK(must(site.db->plans())[0].name == "gold");

    must(site.db->change_domain("Example.ORG", {{"quota.storage", "2G"}}, std::nullopt));
    CHECK(must(site.db->find_domain("example.org"))->plan.empty());
    must(site.db->change_domain("example.org", {}, "GOLD"));
    must(site.db->change_domain("example.org", {{"quota.messages", "9"}}, std::nullopt));
    const auto domain = *must(site.db->find_domain("EXAMPLE.org"));
    CHECK(domain.name == "example.org");
    CHECK(domain.plan == "gold");
    CHECK(domain.settings == Settings{{"quota.messages", "9"}, {"quota.storage", "2G"}});
    must(site.db->change_domain("example.org", {}, ""));
    CHECK(must(site.db->domains())[0].plan.empty());

    CHECK_FALSE(must(site.db->find_domain("none")));
    CHECK_FALSE(must(site.db->find_plan("none")));
    CHECK(must(site.db->remove_domain("EXAMPLE.ORG")));
    CHECK_FALSE(must(site.db->remove_domain("example.org")));
    CHECK(must(site.db->remove_plan("gold")));
    CHECK_FALSE(must(site.db->remove_plan("gold")));
}

TEST_CASE("no domain is put on a plan that does not exist, and no plan in use is removed") {
    AdminSite site;
    CHECK(has(scratch::error_text(site.db->change_domain("x.org", {}, "gold")),
              "domain x.org: there is no plan gold: make it first: roost plan set gold"));
    CHECK_FALSE(must(site.db->find_domain("x.org")));
    must(site.db->change_plan("gold", {}));
    must(site.db->change_domain("x.org", {}, "gold"));
    CHECK(has(scratch::error_text(site.db->remove_plan("gold")), "the domain x.org is on it"));
    CHECK(must(site.db->find_plan("gold")));
}

TEST_CASE("malformed settings of a domain or plan are reported by name") {
    AdminSite site;
    site.sql(
        "INSERT INTO domains (name, settings) VALUES ('x', '1'); INSERT INTO plans (name, settings) VALUES ('p', "
        "'1')");
    CHECK(has(scratch::error_text(site.db->find_domain("x")), "domain x, column settings"));
    CHECK(has(scratch::error_text(site.db->domains()), "domain x, column settings"));
    CHECK(has(scratch::error_text(site.db->change_domain("x", {{"a", "1"}}, std::nullopt)), "domain x"));
    CHECK(has(scratch::error_text(site.db->find_plan("p")), "plan p, column settings"));
    CHECK(has(scratch::error_text(site.db->plans()), "plan p, column settings"));
    CHECK(has(scratch::error_text(site.db->change_plan("p", {{"a", "1"}})), "plan p"));
}
