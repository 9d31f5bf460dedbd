// What deliveries ask of the user database.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "catch.h"
#include "db/schema.h"
#include "db_scratch.h"
#include "user/sql_user_db.h"
#include "user/sql_user_impl.h"

using namespace roost;
using namespace std::chrono_literals;
using scratch::Foreign;
using scratch::has;
using scratch::must;

namespace {

// A database in a private directory.
struct UserSite {
    scratch::Dir dir;
    std::string path = dir / "users.db";
    std::unique_ptr<SqlUserDb> db = scratch::open_db(path);

    void sql(const std::string& text) { Foreign(path).run(text); }
    std::string ask(const std::string& text) { return Foreign(path).ask(text); }
    UserRecord get(const std::string& name) {
        auto found = must(db->find(name));
        REQUIRE(found);
        return *found;
    }
    std::string find_error(const std::string& name) {
        const auto found = db->find(name);
        REQUIRE_FALSE(found);
        CHECK(found.error().outcome == Outcome::misconfigured);
        return found.error().text();
    }
};

Result<std::unique_ptr<SqlUserDb>> open_existing(const std::string& path) {
    return SqlUserDb::open("sqlite:" + path, SqlUserDb::Missing::fail, scratch::kBusyTime);
}

}  // namespace

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

TEST_CASE("an allocation is added once, and only to the record that was seen") {
    UserSite site;
    site.sql("INSERT INTO users (name) VALUES ('alice')");
    const UserRecord seen = site.get("alice");
    CHECK(must(site.db->add_allocation(seen, {{"p", "/a"}})));
    CHECK_FALSE(must(site.db->add_allocation(seen, {{"p", "/b"}})));
    const UserRecord now = site.get("alice");
    CHECK(now.allocation == Settings{{"p", "/a"}});
    CHECK(now.version == seen.version + 1);
    CHECK(must(site.db->add_allocation(now, {{"p", "/c"}})));
    CHECK(site.get("alice").allocation == Settings{{"p", "/c"}});

    SECTION("not when another program took the allocation away without minding the version") {
        const UserRecord before = site.get("alice");
        site.sql("UPDATE users SET allocation = NULL");
        CHECK_FALSE(must(site.db->add_allocation(before, {{"p", "/d"}})));
        CHECK(must(site.db->add_allocation(site.get("alice"), {{"p", "/d"}})));
    }
    SECTION("not when a setting was changed") {
        const UserRecord before = site.get("alice");
        CHECK(must(site.db->change_user("alice", {{"quota.storage", "1M"}}, std::nullopt)));
        CHECK_FALSE(must(site.db->add_allocation(before, {{"p", "/d"}})));
    }
    SECTION("not when the user has gone") {
        const UserRecord before = site.get("alice");
        site.sql("DELETE FROM users");
        CHECK_FALSE(must(site.db->add_allocation(before, {{"p", "/d"}})));
        CHECK(site.ask("SELECT count(*) FROM users") == "0|");
    }
    SECTION("also when another program wrote it as a blob") {
        site.sql("UPDATE users SET allocation = CAST('{}' AS BLOB)");
        CHECK(must(site.db->add_allocation(site.get("alice"), {{"p", "/d"}})));
    }
    SECTION("also when the name stands in capitals") {
        site.sql("UPDATE users SET name = 'ALICE'");
        CHECK(must(site.db->add_allocation(site.get("alice"), {{"p", "/d"}})));
    }
    SECTION("not when it cannot be told in JSON") {
        CHECK(has(scratch::error_text(site.db->add_allocation(site.get("alice"), {{"p", "/\xff"}})),
                  "allocation of user alice: the value of 'p' is not UTF-8"));
    }
}

TEST_CASE("of many processes that add an allocation to the same record, exactly one does") {
    UserSite site;
    site.sql("INSERT INTO users (name) VALUES ('alice')");
    const auto statuses = scratch::in_processes(16, [&](int i) {
        auto db = must(open_existing(site.path));
        const auto seen = must(db->find("alice"));
        if (!seen || seen->allocation) return 2;
        return must(db->add_allocation(*seen, {{"p", std::to_string(i)}})) ? 0 : 1;
    });
    // A process that came late saw the winner's allocation (2).
    CHECK(std::count(statuses.begin(), statuses.end(), 0) == 1);
    CHECK(std::count(statuses.begin(), statuses.end(), 99) == 0);
    const auto winner = std::find(statuses.begin(), statuses.end(), 0) - statuses.begin();
    CHECK(site.get("alice").allocation == Settings{{"p", std::to_string(winner)}});
    CHECK(site.get("alice").version == 1);
}

TEST_CASE("an allocation is overwritten whatever is there, but not made for a user who has gone") {
    UserSite site;
    site.sql("INSERT INTO users (name, allocation) VALUES ('Alice', 'rubbish')");
    must(site.db->overwrite_allocation("alice", {{"p", "/a"}}));
    must(site.db->overwrite_allocation("ALICE", {{"p", "/b"}}));
    CHECK(site.get("alice").allocation == Settings{{"p", "/b"}});
    CHECK(site.get("alice").version == 2);
    const auto gone = site.db->overwrite_allocation("bob", {{"p", "/b"}});
    CHECK(has(scratch::error_text(gone), "allocation of user bob: the user is gone"));
}

TEST_CASE("a user's own number stays the same and is nobody else's") {
    UserSite site;
    const IdRange range{10000, 10003};
    const auto number = [&](const char* name) { return must(site.db->own_number("uid", name, range)); };
    CHECK(number("a") == 10000);
    CHECK(number("b") == 10001);
    CHECK(number("A") == 10000);
    CHECK(must(site.db->own_number("gid", "a", range)) == 10000);
    CHECK(number("c") == 10002);

    SECTION("one that was given back is not given out again while there are fresh ones") {
        CHECK_FALSE(must(site.db->remove_user("b", true)));  // there is no record, the number goes all the same
        CHECK(number("d") == 10003);
        CHECK(number("e") == 10001);
        const auto exhausted = site.db->own_number("uid", "f", range);
        CHECK(has(scratch::error_text(exhausted), "number of user f from uid 10000-10003: every number is taken"));
        CHECK(exhausted.error().outcome == Outcome::misconfigured);
        CHECK(number("a") == 10000);
        CHECK(must(site.db->own_number("uid", "f", {10000, 10010})) == 10004);
        CHECK(must(site.db->own_number("uid", "g", {9999, 10004})) == 9999);
    }
    SECTION("one outside the range is an Error") {
        const auto outside = site.db->own_number("uid", "a", {20000, 30000});
        CHECK(has(scratch::error_text(outside), "the user has 10000, which lies outside"));
        CHECK(outside.error().outcome == Outcome::misconfigured);
    }
    SECTION("the highest numbers are no exception") {
        CHECK(must(site.db->own_number("top", "a", {4294967294U, 4294967295U})) == 4294967294U);
        CHECK(must(site.db->own_number("top", "b", {4294967294U, 4294967295U})) == 4294967295U);
        CHECK_FALSE(site.db->own_number("top", "c", {4294967294U, 4294967295U}));
        CHECK_FALSE(site.db->own_number("top", "c", {2, 1}));
    }
}

TEST_CASE("numbers given out by many processes at once are all different") {
    UserSite site;
    constexpr int kProcesses = 16;
    constexpr int kEach = 8;
    const auto statuses = scratch::in_processes(kProcesses, [&](int i) {
        auto db = must(open_existing(site.path));
        for (int k = 0; k < kEach; ++k) {
            const std::string name = "u" + std::to_string(i) + "." + std::to_string(k);
            const IdRange range{1000, 1000 + kProcesses * kEach - 1};
            if (must(db->own_number("uid", name, range)) != must(db->own_number("uid", name, range))) return 1;
        }
        return 0;
    });
    CHECK(statuses == std::vector<int>(kProcesses, 0));
    CHECK(site.ask("SELECT count(DISTINCT number), count(DISTINCT name), min(number), max(number) FROM numbers") ==
          "128|128|1000|1127|");
}

TEST_CASE("two processes that write at once lose nothing") {
    UserSite site;
    constexpr int kEach = 100;
    const auto statuses = scratch::in_processes(2, [&](int i) {
        auto db = must(open_existing(site.path));
        for (int k = 0; k < kEach; ++k)
            if (!must(db->add_user("u" + std::to_string(i) + "." + std::to_string(k), {}, true))) return 1;
        return 0;
    });
    CHECK(statuses == std::vector<int>(2, 0));
    CHECK(site.ask("SELECT count(*) FROM users") == "200|");
}

TEST_CASE("one connection serves many threads") {
    UserSite site;
    site.sql("INSERT INTO users (name) VALUES ('alice')");
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&, i] {
            const std::string own = "t" + std::to_string(i);
            for (int k = 0; k < 20; ++k) {
                const auto alice = site.db->find("alice");
                if (!alice || !*alice || (*alice)->name != "alice") ++wrong;
                if (!site.db->own_number("uid", own, {1, 100})) ++wrong;
                if (!site.db->lock(own, Deadline::in(60s))) ++wrong;
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
}

TEST_CASE("threads that write at once are each told their own outcome, and no lookup waits for them") {
    UserSite site;
    constexpr int kThreads = 8;
    for (int i = 0; i < kThreads; ++i) site.sql("INSERT INTO users (name) VALUES ('u" + std::to_string(i) + "')");
    std::vector<UserRecord> seen;
    for (int i = 0; i < kThreads; ++i) seen.push_back(site.get("u" + std::to_string(i)));
    seen[3].version += 1;  // somebody else has changed it
    std::vector<std::string> added(kThreads);
    std::vector<std::string> numbers(kThreads);
    std::vector<std::thread> threads;
    Foreign holder(site.path);
    holder.run("BEGIN IMMEDIATE");
    for (std::size_t i = 0; i < kThreads; ++i)
        threads.emplace_back([&, i] {
            const auto done = site.db->add_allocation(seen[i], {{"p", std::to_string(i)}});
            added[i] = done ? (*done ? "yes" : "no") : done.error().text();
            // One more than there are numbers.
            const auto number = site.db->own_number("uid", "u" + std::to_string(i), {1, kThreads - 1});
            numbers[i] = number ? std::to_string(*number) : number.error().text();
        });
    for (int k = 0; k < 100; ++k) CHECK_FALSE(site.get("u0").allocation);
    holder.run("COMMIT");
    for (auto& thread : threads) thread.join();
    for (std::size_t i = 0; i < kThreads; ++i) {
        INFO(i);
        CHECK(added[i] == (i == 3 ? "no" : "yes"));
        CHECK(site.get("u" + std::to_string(i)).allocation.has_value() == (i != 3));
    }
    std::sort(numbers.begin(), numbers.end());
    for (std::size_t i = 0; i + 1 < kThreads; ++i) CHECK(numbers[i] == std::to_string(i + 1));
    CHECK(has(numbers.back(), "every number is taken"));
}

TEST_CASE("lookups go on beside a foreign writer, and writes end in an Error after the busy time") {
    UserSite site;
    site.sql("INSERT INTO users (name) VALUES ('alice')");
    auto db = scratch::open_db(site.path, 150ms);
    Foreign holder(site.path);
    holder.run("BEGIN EXCLUSIVE");
    CHECK(must(db->find("alice")));
    const auto refused = db->add_allocation(*must(db->find("alice")), {{"p", "/a"}});
    CHECK(has(scratch::error_text(refused), "cannot write the allocation of user alice in " + site.path));
    CHECK(has(scratch::error_text(refused), "another program kept it locked"));
    CHECK(is_temporary(refused.error().outcome));
    holder.run("COMMIT");
    CHECK(must(db->add_allocation(*must(db->find("alice")), {{"p", "/a"}})));
}

TEST_CASE("a lookup in a database that another program keeps for itself is an Error, not an unknown user") {
    UserSite site;
    site.sql("INSERT INTO users (name) VALUES ('alice')");
    site.db.reset();
    Foreign holder(site.path);
    holder.run("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; UPDATE users SET version = 9; COMMIT");
    const auto db = SqlUserDb::open("sqlite:" + site.path, SqlUserDb::Missing::fail, 100ms);
    REQUIRE_FALSE(db);
    CHECK(is_temporary(db.error().outcome));
    CHECK(has(db.error().text(), "another program kept it locked"));
}

TEST_CASE("where the file was replaced or removed, nobody is unknown and nothing is written") {
    UserSite test;
    test.sql("INSERT INTO users(name) VALUES('alice@x')");
    REQUIRE(must(test.db->add_allocation(test.get("alice@x"), {{"maildir.path", "/x"}})));
    const UserRecord alice = test.get("alice@x");
    test.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    const std::string other = test.path + ".other";
    std::filesystem::copy_file(test.path, other);
    if (GENERATE(true, false)) {
        std::filesystem::rename(other, test.path);
    } else {
        std::filesystem::remove(test.path);
    }
    const auto found = test.db->find("bob@x");
    REQUIRE_FALSE(found);
    CHECK(found.error().outcome == Outcome::trouble);
    CHECK(has(found.error().text(), "replaced or removed"));
    const auto added = test.db->add_allocation(alice, {{"maildir.path", "/y"}});
    REQUIRE_FALSE(added);
    CHECK(has(added.error().text(), "replaced or removed"));
}

TEST_CASE("the database works in the other journal mode too") {
    UserSite site;
    site.db.reset();
    site.sql("PRAGMA journal_mode = DELETE; INSERT INTO users (name) VALUES ('alice')");
    auto db = must(open_existing(site.path));
    CHECK(must(db->find("alice")));
    CHECK(must(db->add_allocation(*must(db->find("alice")), {{"p", "/a"}})));
    CHECK(site.ask("PRAGMA journal_mode") == "delete|");
}

TEST_CASE("a missing, table-less or newer database is never taken for one without users") {
    const scratch::Dir dir;
    const std::string path = dir / "users.db";
    const auto missing = open_existing(path);
    CHECK(has(scratch::error_text(missing), "roost database create"));
    CHECK(is_temporary(missing.error().outcome));
    CHECK_FALSE(std::filesystem::exists(path));

    std::ofstream(path) << "";
    const auto empty = open_existing(path);
    CHECK(has(scratch::error_text(empty), "it has no tables of Roost's"));
    CHECK(is_temporary(empty.error().outcome));

    scratch::open_db(path).reset();
    CHECK(open_existing(path));
    Foreign(path).run("UPDATE roost_schema SET version = 1000");
    const auto newer = open_existing(path);
    CHECK(has(scratch::error_text(newer), "its schema is version 1000"));
    CHECK(is_temporary(newer.error().outcome));
    CHECK_FALSE(SqlUserDb::open("sqlite:" + path, SqlUserDb::Missing::create, 1s));
}

TEST_CASE("a schema version that never was is an Error") {
    UserSite test;
    test.sql("UPDATE roost_schema SET version = -1");
    const auto opened = open_existing(test.path);
    REQUIRE_FALSE(opened);
    CHECK(has(opened.error().text(), "version -1"));
}

TEST_CASE("a damaged database is an Error, not an unknown user") {
    UserSite site;
    site.db.reset();
    site.sql("PRAGMA journal_mode = DELETE");
    {
        Foreign fill(site.path);
        fill.run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
            "INSERT INTO users (name) SELECT 'user' || i || '@example.org' FROM n");
    }
    const auto size = std::filesystem::file_size(site.path);
    {
        std::fstream file(site.path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(8192);
        file << std::string(size - 8192, '\xee');
    }
    auto db = open_existing(site.path);
    const auto found = db ? (*db)->find("user1000@example.org") : Result<std::optional<UserRecord>>(db.error());
    REQUIRE_FALSE(found);
    CHECK(is_temporary(found.error().outcome));
    CHECK(has(found.error().text(), "malformed"));
}

TEST_CASE("the schema file runs in sqlite3 and gives what roost makes") {
    UserSite site;
    const scratch::Dir other;
    Foreign by_hand(other / "users.db");
    for (const auto& step : schema_steps()) by_hand.run(step);
    const char* all = "SELECT type, name, sql FROM sqlite_master ORDER BY name";
    CHECK(by_hand.ask(all) == site.ask(all));
    CHECK(by_hand.ask("SELECT version FROM roost_schema") == site.ask("SELECT version FROM roost_schema"));
}

namespace {

Result<std::unique_ptr<SqlUserDb>> try_once(const std::string& path) {
    return SqlUserDb::open("sqlite:" + path, SqlUserDb::Missing::fail, scratch::kBusyTime, SqlUserDb::Use::once);
}
std::unique_ptr<SqlUserDb> use_once(const std::string& path) { return must(try_once(path)); }

// SQLite learns only before its first use in a process that a database may be opened for one lookup alone.
void begin_anew(const scratch::Dir& dir) {
    REQUIRE(sqlite3_shutdown() == SQLITE_OK);
    std::ofstream(dir / "empty.db");
    REQUIRE_FALSE(try_once(dir / "empty.db"));  // it has no tables
}

// SQLite's default way to the files, in which its pauses are counted and not waited for.
class CountedPauses {
public:
    CountedPauses() : vfs_(*original_) {
        vfs_.zName = "counted-pauses";
        vfs_.xSleep = [](sqlite3_vfs*, int microseconds) { return ++count_, microseconds; };
        sqlite3_vfs_register(&vfs_, 1);
    }
    ~CountedPauses() {
        sqlite3_vfs_register(original_, 1);
        sqlite3_vfs_unregister(&vfs_);
    }
    CountedPauses(const CountedPauses&) = delete;
    CountedPauses& operator=(const CountedPauses&) = delete;
    static int count() { return count_; }

private:
    static inline int count_ = 0;
    sqlite3_vfs* original_ = sqlite3_vfs_find(nullptr);
    sqlite3_vfs vfs_;
};

}  // namespace

TEST_CASE("a database opened for one lookup sets up nothing for others") {
    const scratch::Dir dir;
    begin_anew(dir);
    const std::string path = dir / "users.db";
    scratch::open_db(path);
    std::filesystem::resize_file(path + "-shm", 0);
    CHECK_FALSE(must(use_once(path)->find("alice@x")));
    CHECK(std::filesystem::file_size(path + "-shm") == 0);
}

TEST_CASE("a database opened for one lookup is not held up by a log that a killed writer had just begun") {
    const scratch::Dir dir;
    begin_anew(dir);
    const std::string path = dir / "users.db";
    scratch::open_db(path);
    Foreign writer(path);
    writer.run("INSERT INTO users (name) VALUES ('alice@x'); PRAGMA wal_checkpoint(TRUNCATE)");
    writer.run("INSERT INTO users (name) VALUES ('bob@x')");
    const std::string copy = dir / "copy.db";
    std::filesystem::copy_file(path, copy);
    for (const char* part : {"-wal", "-shm"}) std::filesystem::copy_file(path + part, copy + part);
    std::filesystem::resize_file(copy + "-wal", 32);

    const CountedPauses pauses;
    CHECK(must(use_once(copy)->find("alice@x")));
    CHECK(CountedPauses::count() == 0);
}

TEST_CASE("a database opened for one lookup says what one opened for long says") {
    const scratch::Dir dir;
    begin_anew(dir);
    for (const std::string name : {"users.db", "per%20cent?mode=memory#part", "equals=sign", "two blanks  "}) {
        INFO(name);
        const std::string path = dir / name;
        scratch::open_db(path);

        SECTION("while nobody else is connected " + name) {
            { Foreign(path).run("INSERT INTO users (name) VALUES ('alice@x')"); }
            auto db = use_once(path);
            CHECK(must(db->find("alice@x")));
            CHECK_FALSE(must(db->find("bob@x")));
            Foreign(path).run("INSERT INTO users (name) VALUES ('bob@x')");
            CHECK(must(db->find("bob@x")));
        }
        SECTION("while a writer is connected and has just written " + name) {
            Foreign writer(path);
            for (int i = 0; i < 50; ++i) {
                const std::string user = "u" + std::to_string(i) + "@x";
                writer.run("INSERT INTO users (name) VALUES ('" + user + "')");
                CHECK(must(use_once(path)->find(user)));
            }
        }
        SECTION("without the files of the write-ahead log " + name) {
            { Foreign(path).run("INSERT INTO users (name) VALUES ('alice@x'); PRAGMA wal_checkpoint(TRUNCATE)"); }
            ::unlink((path + "-wal").c_str());
            ::unlink((path + "-shm").c_str());
            CHECK(must(use_once(path)->find("alice@x")));
        }
        SECTION("and writes when it must " + name) {
            { Foreign(path).run("INSERT INTO users (name) VALUES ('alice@x')"); }
            auto db = use_once(path);
            auto record = must(db->find("alice@x"));
            REQUIRE(record);
            CHECK(must(db->add_allocation(*record, {{"box.name", "a"}})));
            CHECK(must(db->find("alice@x"))->allocation == Settings{{"box.name", "a"}});
            CHECK(Foreign(path).ask("SELECT allocation FROM users") == "{\"box.name\":\"a\"}|");
        }
    }
}
