// The connection and the schema upgrades.
#include "db/database.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include "catch.h"
#include "db/group_writer.h"
#include "db/schema.h"
#include "db_scratch.h"

using namespace roost;
using namespace std::chrono_literals;
using scratch::Foreign;
using scratch::has;

namespace {

const SchemaSteps kThreeSteps{
    "CREATE TABLE roost_schema (version INTEGER NOT NULL); CREATE TABLE things (name TEXT);"
    "INSERT INTO roost_schema (version) VALUES (1);",
    "ALTER TABLE things ADD COLUMN size INTEGER DEFAULT 7; UPDATE roost_schema SET version = 2;",
    "UPDATE things SET size = size + 1; UPDATE roost_schema SET version = 3;",
};

std::unique_ptr<Database> open(const std::string& path, Database::Missing missing = Database::Missing::create) {
    return scratch::must(Database::open("sqlite:" + path, missing, scratch::kBusyTime));
}

std::string open_error(const std::string& url, Database::Missing missing = Database::Missing::fail) {
    return scratch::error_text(Database::open(url, missing, 100ms));
}

Result<void> upgrade(Database& db, const SchemaSteps& steps, Database::Missing missing = Database::Missing::create) {
    return bring_up_to_date(db, steps, missing);
}

}  // namespace

TEST_CASE("a database is upgraded from version 1 over 2 to 3 and keeps its rows") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    scratch::must(upgrade(*open(path), {kThreeSteps[0]}));
    Foreign(path).run("INSERT INTO things VALUES ('a')");
    scratch::must(upgrade(*open(path), {kThreeSteps[0], kThreeSteps[1]}, Database::Missing::fail));
    CHECK(Foreign(path).ask("SELECT name, size FROM things") == "a|7|");
    scratch::must(upgrade(*open(path), kThreeSteps, Database::Missing::fail));
    CHECK(Foreign(path).ask("SELECT name, size FROM things") == "a|8|");
    CHECK(Foreign(path).ask("SELECT version FROM roost_schema") == "3|");
    scratch::must(upgrade(*open(path), kThreeSteps, Database::Missing::fail));
    CHECK(Foreign(path).ask("SELECT size FROM things") == "8|");
}

TEST_CASE("an upgrade over several steps of which the last fails leaves the database as it was") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    scratch::must(upgrade(*open(path), {kThreeSteps[0]}));
    auto db = open(path);
    const auto failed = upgrade(*db, {kThreeSteps[0], kThreeSteps[1], "UPDATE missing SET version = 3"});
    CHECK(scratch::error_text(failed) == "cannot upgrade the schema in " + path + ": no such table: missing");
    CHECK(Foreign(path).ask("SELECT version FROM roost_schema") == "1|");
    CHECK(Foreign(path).ask("SELECT count(*) FROM pragma_table_info('things')") == "1|");
    scratch::must(upgrade(*db, kThreeSteps));
    CHECK(Foreign(path).ask("SELECT version FROM roost_schema") == "3|");
}

TEST_CASE("a step that does not leave its number is refused and rolled back") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    auto db = open(path);
    const auto failed = upgrade(*db, {kThreeSteps[0], "CREATE TABLE more (x)"});
    CHECK(has(scratch::error_text(failed), "step 2 left version 1"));
    CHECK(Foreign(path).ask("SELECT name FROM sqlite_master") == "");
}

TEST_CASE("a schema newer than the program's is refused and not touched") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    scratch::must(upgrade(*open(path), kThreeSteps));
    const auto refused = upgrade(*open(path), {kThreeSteps[0]});
    CHECK(has(scratch::error_text(refused), "its schema is version 3, this Roost knows up to 1"));
    CHECK(refused.error().outcome == Outcome::misconfigured);
    CHECK(Foreign(path).ask("SELECT version FROM roost_schema") == "3|");
}

TEST_CASE("many processes that upgrade one database at once run each step once") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    SchemaSteps steps = kThreeSteps;
    steps.push_back("INSERT INTO things (name) VALUES ('once'); UPDATE roost_schema SET version = 4;");
    const auto statuses = scratch::in_processes(16, [&](int) { return upgrade(*open(path), steps) ? 0 : 1; });
    CHECK(statuses == std::vector<int>(16, 0));
    CHECK(Foreign(path).ask("SELECT count(*) FROM things") == "1|");
}

TEST_CASE("the released schema has steps, and only statements of a step belong to it") {
    REQUIRE(!schema_steps().empty());
    for (const auto& step : schema_steps()) CHECK(has(step, "roost_schema"));
    CHECK(split_steps("PRAGMA x;\n").empty());
    CHECK(split_steps("PRAGMA x;\n-- step 1\nA;\n-- step 2\nB;\n") ==
          SchemaSteps{"\n-- step 1\nA;", "\n-- step 2\nB;\n"});
}

TEST_CASE("a url that names no SQLite file by an absolute path is refused") {
    CHECK(has(open_error("/var/lib/roost/users.db"), "write sqlite:PATH"));
    CHECK(has(open_error("mysql://host"), "not a database that Roost can use"));
    CHECK(has(open_error("sqlite:users.db"), "not an absolute path"));
    CHECK(has(open_error("sqlite:"), "not an absolute path"));
    CHECK(has(open_error("sqlite:/a b=c"), "both a blank and '='"));
}

TEST_CASE("paths with blanks or special characters reach the file of that name") {
    const scratch::Dir dir;
    for (const char* name : {"with blank.db", "a=b.db", "100%.db", "q?x.db", "dbname=x", "\"q\".db"}) {
        const std::string path = dir / name;
        scratch::must(upgrade(*open(path), kThreeSteps));
        CHECK(std::filesystem::file_size(path) > 0);
    }
}

TEST_CASE("what stands in a database's place is told apart") {
    const scratch::Dir dir;
    SECTION("nothing") {
        const auto text = open_error("sqlite:" + (dir / "none.db"));
        CHECK(has(text, "there is no such file"));
        CHECK(has(text, "roost database create"));
        CHECK_FALSE(std::filesystem::exists(dir / "none.db"));
    }
    SECTION("a missing directory") {
        CHECK(has(open_error("sqlite:" + (dir / "no/none.db")), "there is no such file"));
        CHECK(has(open_error("sqlite:" + (dir / "no/none.db"), Database::Missing::create),
                  "make its directory first: mkdir -p " + (dir / "no")));
    }
    SECTION("a directory") { CHECK(has(open_error("sqlite:" + dir.path()), "it is a directory")); }
    SECTION("a pipe") {
        REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
        CHECK(has(open_error("sqlite:" + (dir / "fifo")), "not a regular file"));
    }
    SECTION("some other file") {
        std::ofstream(dir / "text") << std::string(5000, 'x');
        auto db = open(dir / "text");
        const auto text = scratch::error_text(upgrade(*db, kThreeSteps));
        CHECK(has(text, "file is not a database"));
        CHECK(has(text, "users.database must name an SQLite 3 database"));
    }
    SECTION("an empty file") {
        std::ofstream(dir / "empty") << "";
        auto db = open(dir / "empty");
        CHECK(has(scratch::error_text(upgrade(*db, kThreeSteps, Database::Missing::fail)), "no tables of Roost's"));
        CHECK(upgrade(*db, kThreeSteps));
    }
    SECTION("another program's database") {
        Foreign(dir / "other").run("CREATE TABLE things (x)");
        auto db = open(dir / "other");
        CHECK(has(scratch::error_text(upgrade(*db, kThreeSteps, Database::Missing::fail)), "no tables of Roost's"));
        CHECK(has(scratch::error_text(upgrade(*db, kThreeSteps)), "table things already exists"));
        CHECK(Foreign(dir / "other").ask("SELECT name FROM sqlite_master") == "things|");
    }
    SECTION("a file that may not be read") {
        scratch::must(upgrade(*open(dir / "v.db"), kThreeSteps));
        ::chmod((dir / "v.db").c_str(), 0);
        ::chmod(dir.path().c_str(), 0755);
        const auto statuses = scratch::in_processes(1, [&](int) {
            if (::geteuid() == 0 && ::seteuid(65534) != 0) return 2;
            auto db = Database::open("sqlite:" + (dir / "v.db"), Database::Missing::fail, 1s);
            return !db && db.error().sys == EACCES && has(db.error().text(), "let user id ") ? 0 : 1;
        });
        CHECK(statuses[0] == 0);
    }
    SECTION("a file that may be read only") {
        scratch::must(upgrade(*open(dir / "v.db"), kThreeSteps));
        for (const auto& entry : std::filesystem::directory_iterator(dir.path())) ::chmod(entry.path().c_str(), 0444);
        ::chmod(dir.path().c_str(), 0555);
        const auto statuses = scratch::in_processes(1, [&](int) {
            if (::geteuid() == 0 && ::seteuid(65534) != 0) return 2;
            auto db = Database::open("sqlite:" + (dir / "v.db"), Database::Missing::fail, 1s);
            if (!db) return 3;
            auto written = (*db)->write("try", [&](soci::session&) -> Result<void> {
                (*db)->run("DELETE FROM things");
                return {};
            });
            return !written && written.error().outcome == Outcome::trouble &&
                           has(written.error().text(), "let user id ")
                       ? 0
                       : 1;
        });
        CHECK(statuses[0] == 0);
        ::chmod(dir.path().c_str(), 0700);
    }
}

TEST_CASE("a new database is not for others to read and uses write-ahead logging") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    scratch::must(upgrade(*open(path), kThreeSteps));
    struct stat st {};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 0137) == 0);
    CHECK(Foreign(path).ask("PRAGMA journal_mode") == "wal|");
}

TEST_CASE("a database is in another state after every commit, whoever's, and only then") {
    const scratch::Dir dir;
    const std::string path = dir / "s.db";
    const auto db = open(path);
    scratch::must(upgrade(*db, kThreeSteps));
    std::vector<Database::State> seen;
    const auto is_new = [&] {
        const auto state = db->state();
        REQUIRE(state);
        const bool fresh = std::find(seen.begin(), seen.end(), *state) == seen.end();
        seen.push_back(*state);
        return fresh;
    };
    CHECK(is_new());
    CHECK_FALSE(is_new());
    Foreign other(path);
    for (int i = 0; i < 3; ++i) {
        other.run("INSERT INTO things (name) VALUES ('x')");
        CHECK(is_new());
        CHECK(other.ask("SELECT count(*) FROM things") == std::to_string(2 * i + 1) + "|");
        other.run("BEGIN IMMEDIATE; DELETE FROM things; ROLLBACK");
        CHECK_FALSE(is_new());
        scratch::must(db->write("write", [](soci::session& sql) -> Result<void> {
            sql << "INSERT INTO things (name) VALUES ('y')";
            return {};
        }));
        CHECK(is_new());
        CHECK(other.ask("PRAGMA wal_checkpoint(TRUNCATE)") == "0|0|0|");  // the log begins anew
    }
    other.run("PRAGMA wal_autocheckpoint = 1");
    for (int i = 0; i < 20; ++i) {
        other.run("UPDATE things SET size = " + std::to_string(i % 2));
        CHECK(is_new());
    }
    CHECK_THROWS(other.run("PRAGMA journal_mode = DELETE"));  // not while a connection is open
    CHECK(other.ask("PRAGMA journal_mode") == "wal|");
}

TEST_CASE("without a write-ahead log that stays open nothing stands for a database's state") {
    const scratch::Dir dir;
    const std::string path = dir / "s.db";
    scratch::must(upgrade(*open(path), kThreeSteps));
    const auto once = scratch::must(
        Database::open("sqlite:" + path, Database::Missing::fail, scratch::kBusyTime, Database::Use::once));
    CHECK_FALSE(once->state());
    scratch::must(once->write("write", [](soci::session& sql) -> Result<void> {
        sql << "INSERT INTO things (name) VALUES ('x')";
        return {};
    }));
    CHECK(once->state());  // writing has made it a lasting one

    const std::string old = dir / "old.db";
    Foreign(old).run("CREATE TABLE t (x)");
    const auto db = open(old);
    CHECK_FALSE(db->state());
    CHECK_FALSE(std::filesystem::exists(old + "-shm"));
}

TEST_CASE("a write that fails or throws is rolled back, and the next one works") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    auto db = open(path);
    scratch::must(upgrade(*db, kThreeSteps));
    const auto insert = [&](Result<void> end) {
        return db->write("try", [&](soci::session&) -> Result<void> {
            db->run("INSERT INTO things (name) VALUES ('x')");
            return end;
        });
    };
    CHECK_FALSE(insert(Error{Outcome::trouble, "no", "", "", 0}));
    CHECK_FALSE(db->write("try", [&](soci::session& sql) -> Result<void> {
        db->run("INSERT INTO things (name) VALUES ('x')");
        sql << "INSERT INTO things (missing) VALUES (1)";
        return {};
    }));
    CHECK(Foreign(path).ask("SELECT count(*) FROM things") == "0|");
    CHECK(insert({}));
    CHECK(Foreign(path).ask("SELECT count(*) FROM things") == "1|");
}

TEST_CASE("a writer that keeps the database past the busy time is reported, soon after it") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    scratch::must(upgrade(*open(path), kThreeSteps));
    auto db = scratch::must(Database::open("sqlite:" + path, Database::Missing::fail, 150ms));
    Foreign holder(path);
    holder.run("BEGIN EXCLUSIVE");
    const auto write = [&] { return db->write("try", [](soci::session&) -> Result<void> { return {}; }); };
    const auto start = std::chrono::steady_clock::now();
    const auto refused = write();
    const auto waited = std::chrono::steady_clock::now() - start;
    CHECK(has(scratch::error_text(refused), "another program kept it locked for more than 150 ms"));
    CHECK(has(scratch::error_text(refused), "users.busy-time"));
    CHECK(is_temporary(refused.error().outcome));
    CHECK(waited >= 100ms);
    CHECK(waited < 60s);  // "no hang": the bound is the test's patience, not a promise
    holder.run("COMMIT");
    CHECK(write());
}

TEST_CASE("a full file system is told as such") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    auto db = open(path);
    scratch::must(upgrade(*db, kThreeSteps));
    const auto failed = db->write("try", [&](soci::session&) -> Result<void> {
        db->run("PRAGMA max_page_count = 1");  // SQLite's own limit ends in the same code
        db->run("INSERT INTO things (name) VALUES (randomblob(100000))");
        return {};
    });
    REQUIRE_FALSE(failed);
    CHECK(failed.error().outcome == Outcome::store_full);
}

TEST_CASE("a connection that wrote much leaves a short log, and one that read leaves all files alone") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    {
        auto db = open(path);
        scratch::must(upgrade(*db, kThreeSteps));
        scratch::must(db->write("fill", [&](soci::session&) -> Result<void> {
            db->run("INSERT INTO things (name) VALUES (randomblob(300000))");
            return {};
        }));
        CHECK(std::filesystem::file_size(path + "-wal") > 300000);
    }
    CHECK(std::filesystem::file_size(path + "-wal") == 0);
    {
        auto db = open(path);
        scratch::must(db->write("add", [&](soci::session&) -> Result<void> {
            db->run("INSERT INTO things (name) VALUES ('small')");
            return {};
        }));
    }
    const auto log = std::filesystem::file_size(path + "-wal");
    CHECK(log > 0);
    scratch::must(upgrade(*open(path), kThreeSteps));
    CHECK(std::filesystem::file_size(path + "-wal") == log);
    CHECK(std::filesystem::exists(path + "-shm"));
    CHECK(Foreign(path).ask("SELECT count(*) FROM things") == "2|");
}

TEST_CASE("what several threads write while a commit goes on is committed together, and one failure is no other's") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    const auto db = open(path);
    scratch::must(db->use_write_ahead_log());
    Foreign(path).run("CREATE TABLE things (name TEXT UNIQUE)");
    GroupWriter writer(*db);
    constexpr std::size_t kThreads = 8;
    // Without failures, whoever saw as many rows committed as another one wrote in the same transaction.
    bool shared = false;
    for (int round = 0; round < 100 && !shared; ++round) {
        const bool failing = round % 2 == 0;
        Foreign(path).run("DELETE FROM things");
        std::vector<std::string> said(kThreads);
        std::vector<std::string> committed(kThreads);
        std::atomic<std::size_t> begun{0};
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < kThreads; ++i)
            threads.emplace_back([&, i] {
                ++begun;
                const auto done = writer.write("write", [&](soci::session& sql) -> Result<void> {
                    while (begun < kThreads) std::this_thread::yield();
                    committed[i] = Foreign(path).ask("SELECT count(*) FROM things");
                    if (failing && i == 5) return Error{Outcome::trouble, "not this one", {}, {}, 0};
                    const std::string name = std::to_string(failing && i == 6 ? 7 : i);
                    sql << "INSERT INTO things VALUES (:name)", soci::use(name);
                    return {};
                });
                said[i] = done ? "" : done.error().text();
            });
        for (auto& thread : threads) thread.join();
        const std::string names = Foreign(path).ask("SELECT name FROM things ORDER BY name");
        if (failing) {
            CHECK(said[5] == "not this one");
            CHECK(said[6].empty() != said[7].empty());
            for (const std::size_t i : {0, 1, 2, 3, 4}) CHECK(said[i].empty());
            CHECK(names == "0|1|2|3|4|7|");
        } else {
            CHECK(names == "0|1|2|3|4|5|6|7|");
            std::sort(committed.begin(), committed.end());
            shared = std::adjacent_find(committed.begin(), committed.end()) != committed.end();
        }
    }
    CHECK(shared);
}

TEST_CASE("several threads wait once, not one after the other, for a database that another program keeps locked") {
    const scratch::Dir dir;
    const std::string path = dir / "v.db";
    scratch::must(open(path)->use_write_ahead_log());
    constexpr auto kBusy = 500ms;
    auto db = scratch::must(Database::open("sqlite:" + path, Database::Missing::fail, kBusy));
    GroupWriter writer(*db);
    Foreign holder(path);
    holder.run("BEGIN IMMEDIATE");
    constexpr std::size_t kThreads = 8;
    std::vector<std::string> said(kThreads);
    std::atomic<std::size_t> ended{0};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kThreads; ++i)
        threads.emplace_back([&, i] {
            const auto done = writer.write("write " + std::to_string(i), [](soci::session&) { return Result<void>(); });
            said[i] = done ? "" : done.error().text();
            ++ended;
        });
    // The first waits alone, the others together. If each waited for itself, some would still be at it, and succeed.
    const auto until = std::chrono::steady_clock::now() + 4 * kBusy;
    while (ended < kThreads && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(10ms);
    holder.run("COMMIT");
    for (auto& thread : threads) thread.join();
    for (std::size_t i = 0; i < kThreads; ++i)
        CHECK(said[i].starts_with("cannot write " + std::to_string(i) + " in " + path + ": another program kept it"));
    CHECK(writer.write("write", [](soci::session&) { return Result<void>(); }));
}
