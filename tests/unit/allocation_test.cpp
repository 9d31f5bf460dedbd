// What creators are made of: one allocation per user, whoever else writes meanwhile.
#include "catch.h"

#include "module/allocation.h"

#include <functional>

using namespace roost;

namespace {

Config empty_config() { return *Config::make(*ConfigFile::read("/dev/null", {}), Schema()); }

// One user's row, with somebody else at work: `before_write` runs just before each write.
class Row : public UserDb {
public:
    Row() { record.name = "alice@example.org"; }

    Result<std::optional<UserRecord>> find(std::string_view /*name*/) override {
        if (gone) return std::optional<UserRecord>();
        return std::optional<UserRecord>(record);
    }
    Result<bool> add_allocation(const UserRecord& seen, const Settings& allocation) override {
        ++writes;
        if (before_write) before_write(*this);
        if (seen.version != record.version) return false;
        allocate(allocation);
        return true;
    }
    Result<void> overwrite_allocation(std::string_view /*name*/, const Settings& allocation) override {
        allocate(allocation);
        return {};
    }
    Result<std::unique_ptr<Lock>> lock(std::string_view /*name*/, Deadline /*deadline*/) override {
        return std::make_unique<Lock>();
    }
    Result<std::uint32_t> own_number(std::string_view /*pool*/, std::string_view /*name*/, IdRange range) override {
        return range.from;
    }

    void allocate(const Settings& allocation) {
        record.allocation = allocation;
        ++record.version;
    }

    UserRecord record;
    bool gone = false;
    int writes = 0;
    std::function<void(Row&)> before_write;
};

// A module that makes mailboxes "/1", "/2" and so on, a new one at each call, and remembers what was released.
class Volumes : public Mda {
public:
    Result<Readiness> check(const User& user) override {
        if (user.allocated("fake.path") != nullptr) return Readiness{};
        return Readiness{{"fake.path"}};
    }
    Result<Settings> allocate(const User& /*user*/) override { return Settings{{key, "/" + std::to_string(++made)}}; }
    Result<void> release(const User& user, const Settings& allocation) override {
        REQUIRE(user.allocated("fake.path") != nullptr);
        CHECK(allocation.at("fake.path") != *user.allocated("fake.path"));
        released.push_back(allocation.at("fake.path"));
        if (release_fails) return system_error(EIO, "cannot remove");
        return {};
    }
    Result<std::unique_ptr<Pending>> prepare(const User& /*user*/, const Delivery& /*delivery*/,
                                             const Message& /*message*/) override {
        return config_error("prepare", "not here");
    }
    Result<Usage> usage(const User& /*user*/, const Folder& /*account*/, const Usage& /*coming*/) override {
        return Usage{};
    }
    Result<Usage> recount(const User& /*user*/, const Folder& /*account*/) override { return Usage{}; }
    Result<void> purge(const User& /*user*/) override { return {}; }

    std::string key = "fake.path";
    int made = 0;
    bool release_fails = false;
    std::vector<std::string> released;
};

struct Scene {
    Config config = empty_config();
    Row db;
    Volumes mda;

    Result<User> create(std::chrono::milliseconds within = std::chrono::minutes(1)) {
        return allocate_if_unchanged(db, mda, *User::make(config, db.record), Deadline::in(within));
    }
};

std::string path_of(const Result<User>& user) {
    REQUIRE(user);
    REQUIRE(user->allocated("fake.path") != nullptr);
    return *user->allocated("fake.path");
}

}  // namespace

TEST_CASE("allocation: alone, one mailbox is made, written and kept") {
    Scene scene;
    CHECK(path_of(scene.create()) == "/1");
    CHECK(scene.db.record.allocation == Settings{{"fake.path", "/1"}});
    CHECK(scene.mda.made == 1);
    CHECK(scene.mda.released.empty());
}

TEST_CASE("allocation: a complete user is returned as it is") {
    Scene scene;
    scene.db.allocate({{"fake.path", "/there"}});
    CHECK(path_of(scene.create()) == "/there");
    CHECK(scene.mda.made == 0);
    CHECK(scene.db.writes == 0);
}

TEST_CASE("allocation: the loser of a race releases its mailbox and takes the winner's") {
    Scene scene;
    scene.db.before_write = [](Row& row) { row.allocate({{"fake.path", "/winner"}}); };
    CHECK(path_of(scene.create()) == "/winner");
    CHECK(scene.mda.released == std::vector<std::string>{"/1"});
}

TEST_CASE("allocation: the loser of a race keeps the mailbox that the winner found too") {
    Scene scene;
    scene.db.before_write = [](Row& row) { row.allocate({{"fake.path", "/1"}}); };
    CHECK(path_of(scene.create()) == "/1");
    CHECK(scene.mda.released.empty());
}

TEST_CASE("allocation: a release that fails does not keep mail from the winner's mailbox") {
    Scene scene;
    scene.mda.release_fails = true;
    scene.db.before_write = [](Row& row) { row.allocate({{"fake.path", "/winner"}}); };
    CHECK(path_of(scene.create()) == "/winner");
}

TEST_CASE("allocation: when only other columns changed it is tried again with the new record") {
    Scene scene;
    scene.db.before_write = [](Row& row) {
        if (row.writes == 1) ++row.record.version;
    };
    CHECK(path_of(scene.create()) == "/2");
    CHECK(scene.db.record.allocation == Settings{{"fake.path", "/2"}});
    CHECK(scene.mda.released == std::vector<std::string>{"/1"});  // what the first attempt made is no orphan
}

TEST_CASE("allocation: a record that keeps changing ends at the deadline, temporarily") {
    Scene scene;
    scene.db.before_write = [](Row& row) { ++row.record.version; };
    const auto user = scene.create(std::chrono::milliseconds(20));
    REQUIRE_FALSE(user);
    CHECK(is_temporary(user.error().outcome));
}

TEST_CASE("allocation: a user removed meanwhile is no such user") {
    Scene scene;
    scene.db.before_write = [](Row& row) {
        row.gone = true;
        ++row.record.version;
    };
    const auto user = scene.create();
    REQUIRE_FALSE(user);
    CHECK(user.error().outcome == Outcome::no_such_user);
}

TEST_CASE("allocation: what the record holds of other modules stays") {
    Scene scene;
    scene.db.allocate({{"other.path", "/elsewhere"}});
    CHECK(path_of(scene.create()) == "/1");
    CHECK(scene.db.record.allocation == Settings{{"fake.path", "/1"}, {"other.path", "/elsewhere"}});
}

TEST_CASE("allocation: a module that leaves out what it needs is named as the fault, not tried for ever") {
    Scene scene;
    scene.mda.key = "fake.wrong";
    const auto user = scene.create();
    REQUIRE_FALSE(user);
    CHECK(user.error().outcome == Outcome::misconfigured);
    CHECK(scene.db.writes == 1);
}
