// Records that were looked up before.
#include "user/known_records.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "catch.h"
#include "db_scratch.h"

using namespace roost;
using scratch::Foreign;
using scratch::must;

namespace {

UserRecord record(const std::string& name, std::int64_t version = 0) {
    UserRecord out;
    out.name = name;
    out.version = version;
    return out;
}

constexpr Database::State kBefore{1, 1};
constexpr Database::State kAfter{1, 2};

}  // namespace

TEST_CASE("a record is known in the state that it was read in, and in no other") {
    KnownRecords known;
    CHECK(known.find("alice", kBefore) == nullptr);
    known.add("alice", record("alice", 7), kBefore);
    known.add("bob", record("bob"), kBefore);
    REQUIRE(known.find("alice", kBefore) != nullptr);
    CHECK(known.find("alice", kBefore)->version == 7);
    CHECK(known.find("carol", kBefore) == nullptr);
    CHECK(known.find("alice", kAfter) == nullptr);
    known.add("alice", record("alice", 8), kAfter);
    CHECK(known.find("alice", kAfter)->version == 8);
    CHECK(known.find("bob", kAfter) == nullptr);
    CHECK(known.find("bob", kBefore) == nullptr);
}

TEST_CASE("no more records are known than there is room for, and the newest is") {
    KnownRecords known;
    std::size_t found = 0;
    for (std::size_t i = 0; i < KnownRecords::kMost * 3; ++i) {
        const std::string name = std::to_string(i);
        known.add(name, record(name), kBefore);
        CHECK(known.find(name, kBefore) != nullptr);
    }
    for (std::size_t i = 0; i < KnownRecords::kMost * 3; ++i)
        if (known.find(std::to_string(i), kBefore) != nullptr) ++found;
    CHECK(found <= KnownRecords::kMost);
}

TEST_CASE("a changed domain or plan is seen by the next lookup of any of its users") {
    const scratch::Dir dir;
    const auto db = scratch::open_db(dir / "users.db");
    Foreign other(dir / "users.db");
    const auto get = [&](const char* name) { return must(db->find(name)).value(); };
    other.run(
        "INSERT INTO plans (name) VALUES ('gold'); INSERT INTO domains (name) VALUES ('x');"
        "INSERT INTO users (name) VALUES ('a@x'), ('b@x')");
    for (const char* name : {"a@x", "b@x", "a@x"}) CHECK(get(name).plan.empty());
    other.run("UPDATE domains SET plan = 'gold', settings = '{\"k\":1}'");
    for (const char* name : {"a@x", "b@x"}) {
        CHECK(get(name).plan == "gold");
        CHECK(get(name).domain_settings == Settings{{"k", "1"}});
    }
    other.run("UPDATE plans SET settings = '{\"k\":2}'");
    for (const char* name : {"A@X", "b@x"}) CHECK(get(name).plan_settings == Settings{{"k", "2"}});
}

TEST_CASE("what another process has committed is in every lookup that begins after it") {
    const scratch::Dir dir;
    const auto db = scratch::open_db(dir / "users.db");
    Foreign(dir / "users.db").run("INSERT INTO users (name) VALUES ('alice')");
    int committed[2];
    REQUIRE(::pipe(committed) == 0);
    const pid_t writer = ::fork();
    if (writer == 0) {
        int status = 1;
        try {
            Foreign other(dir / "users.db");
            other.run("PRAGMA synchronous = OFF; PRAGMA busy_timeout = 10000; PRAGMA wal_autocheckpoint = 7");
            for (std::int64_t version = 1; version <= 1000; ++version) {
                other.run("UPDATE users SET version = " + std::to_string(version));
                if (::write(committed[1], &version, sizeof version) != sizeof version) ::_exit(2);
            }
            status = 0;
        } catch (...) {
        }
        ::_exit(status);
    }
    ::close(committed[1]);
    std::atomic<bool> done{false};
    std::thread reader([&] {
        while (!done) must(db->find("alice"));
    });
    std::int64_t version = 0;
    int behind = 0;
    while (::read(committed[0], &version, sizeof version) == sizeof version)
        if (must(db->find("alice")).value().version < version) ++behind;
    done = true;
    reader.join();
    ::close(committed[0]);
    int status = 0;
    REQUIRE(::waitpid(writer, &status, 0) == writer);
    CHECK(status == 0);
    CHECK(version == 1000);
    CHECK(behind == 0);
}
