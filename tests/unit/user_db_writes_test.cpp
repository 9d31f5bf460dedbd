// What is written into the user database, and many that read and write it at once.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "catch.h"
#include "user/sql_user_db.h"
#include "user_site.h"

using namespace roost;
using namespace std::chrono_literals;
using scratch::Foreign;
using scratch::has;
using scratch::must;
using scratch::open_existing;
using scratch::UserSite;

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

TEST_CASE("no path is given to two users whose names differ in the domain alone") {
    UserSite site;
    site.sql(
        "INSERT INTO users (name) VALUES ('info'), ('INFO@a.org'), ('info@b.org'), ('info_@b.org'), ('infox@b.org'), "
        "('info@')");
    const Settings made{{"p", "/m/it's \"info\""}, {"uid", "5000"}};
    const std::vector<std::string> others{"info", "info@a.org", "info@"};
    CHECK(must(site.db->add_allocation(site.get("info@b.org"), made)));
    for (const std::string& other : others) {
        INFO(other);
        const auto added = site.db->add_allocation(site.get(other), made);
        REQUIRE_FALSE(added);
        CHECK(added.error().outcome == Outcome::misconfigured);
        CHECK(has(added.error().text(), "is that of info@b.org already"));
        CHECK(has(scratch::error_text(site.db->overwrite_allocation(other, made)), "info@b.org"));
        CHECK(has(scratch::error_text(site.db->check_allocation(site.get(other), made)), "info@b.org"));
        CHECK_FALSE(site.get(other).allocation);
    }
    // Whatever a template would do, these have other values for %{local}.
    CHECK(must(site.db->add_allocation(site.get("info_@b.org"), made)));
    must(site.db->overwrite_allocation("infox@b.org", made));
    // Its own is nobody else's, and no path may be anybody's.
    CHECK(must(site.db->add_allocation(site.get("info@b.org"), made)));
    CHECK(must(site.db->add_allocation(site.get("info"), {{"uid", "5000"}})));
    // An administrator may want it so.
    must(site.db->change_user("info@a.org", {{"p", "/m/it's \"info\""}}, std::nullopt));
    must(site.db->check_allocation(site.get("info@a.org"), made));
    must(site.db->overwrite_allocation("info@a.org", made));
    CHECK(must(site.db->add_allocation(site.get("info@a.org"), made)));
}

TEST_CASE("of two that want one path at the same time, one gets it") {
    UserSite site;
    site.sql("INSERT INTO users (name) VALUES ('info@a.org'), ('info@b.org'), ('info@c.org'), ('info@d.org')");
    std::atomic<int> got = 0;
    std::vector<std::thread> threads;
    for (const char* name : {"info@a.org", "info@b.org", "info@c.org", "info@d.org"})
        threads.emplace_back([&, seen = site.get(name)] {
            const auto added = site.db->add_allocation(seen, {{"p", "/m/info"}});
            if (added && *added) ++got;
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(got == 1);
    CHECK(site.ask("SELECT count(*) FROM users WHERE allocation IS NOT NULL") == "1|");
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
