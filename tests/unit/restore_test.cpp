// A backup that is put in the place of the user database, and a write-ahead log that a crash left beside it.

#include <sys/xattr.h>

#include <filesystem>

#include "db/log_note.h"
#include "user_site.h"

using namespace roost;
using scratch::Foreign;
using scratch::has;
using scratch::must;
using scratch::open_existing;

namespace {

std::string numbered(const std::string& prefix, int number) { return prefix + std::to_string(number) + "@x"; }

// A process of Roost's that writes and is killed, so that a filled log stays.
void write_and_crash(const std::string& path, const std::function<void(SqlUserDb&)>& write) {
    const auto statuses = scratch::in_processes(1, [&](int) {
        auto* db = scratch::open_db(path).release();
        write(*db);
        return 0;
    });
    REQUIRE(statuses == std::vector<int>{0});
    REQUIRE(std::filesystem::file_size(path + "-wal") > 0);
}

// The users old1 to old300; `backup` has them, and the log what came after it.
struct Crashed {
    Crashed() {
        {
            auto db = scratch::open_db(path);
            for (int i = 1; i <= 300; ++i) must(db->add_user(numbered("old", i), {}, true));
        }
        write_and_crash(path, [&](SqlUserDb& db) {
            Foreign(path).run("VACUUM INTO '" + backup + "'");
            for (int i = 1; i <= 40; ++i) must(db.remove_user(numbered("old", i), false));
            for (int i = 1; i <= 200; ++i) must(db.add_user(numbered("new", i), {{"quota.storage", "1G"}}, true));
        });
    }
    // What cp(1) does where there is a file.
    void copy_over() const {
        std::filesystem::copy_file(backup, path, std::filesystem::copy_options::overwrite_existing);
    }

    scratch::Dir dir;
    std::string path = dir / "users.db";
    std::string backup = dir / "backup.db";
};

bool has_attributes(const std::string& path) {
    return ::setxattr(path.c_str(), "user.test", "x", 1, 0) == 0 && ::removexattr(path.c_str(), "user.test") == 0;
}

std::unique_ptr<SqlUserDb> open_as(const std::string& path, SqlUserDb::Use use) {
    return must(SqlUserDb::open("sqlite:" + path, SqlUserDb::Missing::fail, scratch::kBusyTime, use));
}

}  // namespace

TEST_CASE("a log that a crash left is not laid over a backup, until it is removed") {
    const Crashed site;
    if (!has_attributes(site.path)) return;
    const bool moved = GENERATE(true, false);
    if (moved) {
        std::filesystem::copy_file(site.backup, site.backup + ".copy");
        std::filesystem::rename(site.backup + ".copy", site.path);
    } else {
        site.copy_over();
    }
    for (const auto use : {SqlUserDb::Use::lasting, SqlUserDb::Use::command}) {
        const auto opened = SqlUserDb::open("sqlite:" + site.path, SqlUserDb::Missing::fail, scratch::kBusyTime, use);
        CHECK(has(scratch::error_text(opened), "remove that file"));
        CHECK(opened.error().outcome == Outcome::trouble);
    }
    // A single lookup never says that somebody is unknown.
    for (int i = 1; i <= 300; ++i) {
        auto once =
            SqlUserDb::open("sqlite:" + site.path, SqlUserDb::Missing::fail, scratch::kBusyTime, SqlUserDb::Use::once);
        if (!once) continue;
        const auto found = (*once)->find(numbered("old", i));
        if (found) CHECK(*found);
    }
    for (const char* part : {"-wal", "-shm"}) std::filesystem::remove(site.path + part);
    auto db = must(open_existing(site.path));
    must(db->check_integrity());
    CHECK(must(db->summary()).users == 300);
}

TEST_CASE("a running process says of nobody that he is unknown once its file was overwritten, and writes nothing") {
    const Crashed site;
    const bool folded = GENERATE(true, false);
    auto db = open_as(site.path, SqlUserDb::Use::lasting);
    if (folded) {
        db->fold_log();
        REQUIRE(std::filesystem::file_size(site.path + "-wal") == 0);
    } else if (!has_attributes(site.path)) {
        return;
    }
    CHECK_FALSE(must(db->find("nobody@x")));
    site.copy_over();
    const auto found = db->find("nobody@x");
    REQUIRE_FALSE(found);
    CHECK(found.error().outcome == Outcome::trouble);
    CHECK(has(found.error().text(), folded ? "reload roostd" : "remove that file"));
    CHECK_FALSE(db->add_user("bob@x", {}, true));
    db->fold_log();  // not into that file
    CHECK(Foreign(site.backup).ask("SELECT count(*) FROM users") == "300|");
    CHECK(std::filesystem::file_size(site.path) == std::filesystem::file_size(site.backup));
    if (folded) CHECK(must(must(open_existing(site.path))->summary()).users == 300);
}

TEST_CASE("a log that belongs to its database is used after a crash, whatever checkpoints there were") {
    const Crashed site;
    const auto users = [&] { return must(must(open_existing(site.path))->summary()).users; };
    SECTION("none") { CHECK(users() == 460); }
    SECTION("one of all, by another program") {
        write_and_crash(site.path, [&](SqlUserDb&) { Foreign(site.path).run("PRAGMA wal_checkpoint(PASSIVE)"); });
        CHECK(users() == 460);
    }
    SECTION("one of a part, as a reader was in the way") {
        write_and_crash(site.path, [&](SqlUserDb& db) {
            Foreign reader(site.path);
            reader.run("BEGIN; SELECT * FROM users LIMIT 1");
            for (int i = 1; i <= 400; ++i) must(db.add_user(numbered("more", i), {}, true));
            Foreign(site.path).run("PRAGMA wal_checkpoint(PASSIVE)");
        });
        CHECK(users() == 860);
    }
    SECTION("and the log began anew") {
        write_and_crash(site.path, [&](SqlUserDb& db) {
            Foreign(site.path).run("PRAGMA wal_checkpoint(RESTART)");
            for (int i = 1; i <= 400; ++i) must(db.add_user(numbered("more", i), {}, true));
        });
        CHECK(users() == 860);
    }
    SECTION("and the file was made anew inside, or switched to and fro") {
        write_and_crash(site.path, [&](SqlUserDb&) { Foreign(site.path).run("VACUUM"); });
        CHECK(users() == 460);
        Foreign(site.path).run("PRAGMA journal_mode = DELETE; PRAGMA journal_mode = WAL");
        write_and_crash(site.path, [&](SqlUserDb& db) { must(db.add_user("more@x", {}, true)); });
        CHECK(users() == 461);
    }
    SECTION("and all files were copied, with their attributes and in any order") {
        for (const char* part : {"-wal", "-shm", ""}) {
            const std::string from = site.path + part;
            std::filesystem::rename(from, from + ".moved");
            std::filesystem::copy_file(from + ".moved", from);
            std::string note(4096, '\0');
            const auto size = ::getxattr((from + ".moved").c_str(), "user.roost.database", note.data(), note.size());
            if (size > 0) ::setxattr(from.c_str(), "user.roost.database", note.data(), static_cast<size_t>(size), 0);
        }
        scratch::in_processes(1, [&](int) {
            (new Foreign(site.path))->run("PRAGMA wal_checkpoint(PASSIVE)");
            return 0;
        });
        CHECK(users() == 460);
    }
}

TEST_CASE("a backup that SQLite itself restores is the database, beside everything that is connected") {
    const Crashed site;
    auto db = open_as(site.path, SqlUserDb::Use::lasting);
    CHECK_FALSE(must(db->find("old1@x")));
    {
        Foreign from(site.backup);
        Foreign to(site.path);
        to.restore(from);
    }
    CHECK(must(db->find("old1@x")));
    CHECK_FALSE(must(db->find("new1@x")));
    must(db->add_user("later@x", {}, true));
    CHECK(must(must(open_existing(site.path))->summary()).users == 301);
    CHECK(Foreign(site.path).ask("PRAGMA journal_mode") == "wal|");
}

TEST_CASE("a log is followed by later states of the same file, and of no other") {
    const auto note = [](std::uint64_t inode, unsigned char counter, unsigned char rest) {
        LogNote out;
        out.database.inode = inode;
        out.header[27] = counter;
        out.header[28] = rest;
        return out;
    };
    const LogNote former = note(1, 5, 9);
    CHECK(note(1, 5, 9).follows(former));
    CHECK(note(1, 6, 8).follows(former));
    CHECK(note(1, 5, 8).follows(former));  // as one connection's transactions do
    CHECK_FALSE(note(1, 4, 9).follows(former));
    CHECK_FALSE(note(2, 6, 8).follows(former));
    CHECK(note(2, 5, 9).follows(former));  // a copy of the very file
    LogNote wrapped = note(1, 0, 0);
    wrapped.header[24] = wrapped.header[25] = wrapped.header[26] = wrapped.header[27] = 0xff;
    CHECK(note(1, 1, 0).follows(wrapped));
}

TEST_CASE("a command leaves in the database's own file what it wrote, and a deliverer in the log") {
    const scratch::Dir dir;
    const std::string path = dir / "users.db";
    scratch::open_db(path);
    must(open_as(path, SqlUserDb::Use::command)->add_user("alice@x", {}, true));
    CHECK(std::filesystem::file_size(path + "-wal") == 0);
    {
        auto command = open_as(path, SqlUserDb::Use::command);
        const auto alice = must(command->find("alice@x"));
        CHECK(must(command->add_allocation(*alice, {{"box.name", "a"}})));
    }
    CHECK(std::filesystem::file_size(path + "-wal") == 0);

    Foreign reader(path);
    must(open_as(path, SqlUserDb::Use::command)->add_user("bob@x", {}, true));
    reader.run("BEGIN; SELECT * FROM users LIMIT 1");
    const auto began = std::chrono::steady_clock::now();
    must(open_as(path, SqlUserDb::Use::command)->add_user("carol@x", {}, true));
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(5));  // it waits for nobody
    reader.run("COMMIT");

    const auto carol = must(open_as(path, SqlUserDb::Use::once)->find("carol@x"));
    REQUIRE(carol);
    CHECK(must(open_as(path, SqlUserDb::Use::once)->add_allocation(*carol, {{"box.name", "c"}})));
    CHECK(std::filesystem::file_size(path + "-wal") > 0);
}

TEST_CASE("a listing of a damaged database ends, and the damage is told") {
    scratch::UserSite site;
    site.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
        "INSERT INTO users (name) SELECT char(65 + 32 * (i * 17 % 101 % 2) + i % 8) || i || '@x' FROM n");
    must(site.db->check_integrity());
    site.db.reset();
    // The rows get another order than the table has: in these some batches would follow each other for ever.
    site.sql(
        "CREATE TABLE t (name TEXT NOT NULL PRIMARY KEY, enabled, settings, allocation, version) WITHOUT ROWID;"
        "INSERT INTO t SELECT * FROM users;"
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 't') "
        "WHERE name = 'users'; DELETE FROM sqlite_master WHERE name = 't'");
    auto db = must(open_existing(site.path));
    const std::string damage = scratch::error_text(db->check_integrity());
    CHECK(has(damage, "it is damaged"));
    CHECK(has(damage, "roost-users(5)"));
    int visits = 0;
    const auto listed =
        db->each_user({}, [&](std::string_view, const Result<UserRecord>&) { return ++visits < 100000; });
    CHECK(visits < 100000);
    CHECK(has(scratch::error_text(listed), "not in the order of names"));
}
