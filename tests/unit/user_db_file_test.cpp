// The file that the user database is: what it can be, and opening it for one lookup.

#include <chrono>
#include <filesystem>
#include <fstream>

#include "catch.h"
#include "db/schema.h"
#include "user/sql_user_db.h"
#include "user/sql_user_impl.h"
#include "user_site.h"

using namespace roost;
using namespace std::chrono_literals;
using scratch::Foreign;
using scratch::has;
using scratch::must;
using scratch::open_existing;
using scratch::UserSite;

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
