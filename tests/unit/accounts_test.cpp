#include "store/accounts.h"

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

#include "catch.h"
#include "db_scratch.h"

using namespace roost;

namespace {

constexpr std::uint64_t kSize = 10;  // of each message in these tests

// Mailboxes that are nothing but their usage. Any thread.
class CountingMda : public Mda {
public:
    std::map<std::string, Usage> boxes;
    std::string unreadable;
    int looks = 0;

    Result<Readiness> check(const User& user) override {
        if (user.allocated("box.name") != nullptr) return Readiness{};
        return Readiness{{"box.name"}};
    }
    Result<Usage> usage(const User& user, const Folder& /*account*/, const Usage&) override {
        const std::lock_guard lock(mutex_);
        ++looks;
        if (user.name() == unreadable) return system_error(EIO, "cannot read the mailbox");
        return boxes[user.name()];
    }
    Result<Usage> recount(const User& user, const Folder& account) override { return usage(user, account, {}); }
    Result<Settings> allocate(const User&) override { return Settings{}; }
    Result<void> release(const User&, const Settings&) override { return {}; }
    Result<std::unique_ptr<Pending>> prepare(const User& user, const Delivery&, const Message&) override {
        return std::unique_ptr<Pending>(std::make_unique<Ready>(*this, user.name()));
    }
    Result<void> purge(const User&) override { return {}; }

private:
    class Ready : public Pending {
    public:
        Ready(CountingMda& mda, std::string user) : mda_(mda), user_(std::move(user)) {}
        const SyncPlan& plan() const override { return plan_; }
        Result<Receipt> publish() override {
            std::this_thread::yield();
            const std::lock_guard lock(mda_.mutex_);
            Usage& used = mda_.boxes[user_];
            used = {used.storage + kSize, used.messages + 1};
            return Receipt{{}, {}, kSize};
        }

    private:
        CountingMda& mda_;
        std::string user_;
        SyncPlan plan_;
    };

    std::mutex mutex_;
};

struct Fixture {
    explicit Fixture(std::vector<std::string> overrides = {}) : config(configure(std::move(overrides))) {}

    scratch::Dir dir;
    Config config;
    CountingMda mda;
    Files files;
    Reservations reservations;
    std::map<std::string, UserRecord> records;
    int listings = 0;
    Accounts accounts{{config, mda, files, reservations, [this](std::string_view domain, const auto& visit) {
                           ++listings;
                           for (const auto& [name, record] : records)
                               if (record.domain == domain && !visit(name, record)) break;
                           return Result<void>();
                       }}};

    User add(const std::string& name, Usage used = {}, Settings settings = {}, Settings domain_settings = {}) {
        UserRecord record;
        record.name = name;
        record.settings = std::move(settings);
        record.domain_settings = std::move(domain_settings);
        record.allocation = Settings{{"box.name", name}};
        const std::size_t at = name.rfind('@');
        if (at != std::string::npos) record.domain = name.substr(at + 1);
        records[name] = record;
        mda.boxes[name] = used;
        return scratch::must(User::make(config, record));
    }
    Accounts::Admission admit(const User& user, Accounts::Room* room = nullptr) {
        return scratch::must(accounts.admit(user, {}, kSize, kSize, room));
    }
    // One delivery from the door to the mailbox.
    Outcome deliver(const User& user) {
        Accounts::Room room;
        const Outcome outcome = admit(user, &room).outcome;
        if (outcome != Outcome::delivered) return outcome;
        auto pending = scratch::must(mda.prepare(user, {}, Message::from_text("x")));
        scratch::must(accounts.publish(user, room, *pending));
        return outcome;
    }
    Usage domain_books() {
        DomainBooks books(files, dir.path());
        const auto said = scratch::must(books.peek("x"));
        REQUIRE(said.has_value());
        return *said;
    }

private:
    Config configure(std::vector<std::string> overrides) {
        overrides.push_back("store.state=" + dir.path());
        return scratch::must(Config::make(scratch::must(ConfigFile::read("/dev/null", overrides)), Schema()));
    }
};

}  // namespace

TEST_CASE("admission: each limit of user and domain at, below and above, and the text says which is full") {
    const auto ok = Outcome::delivered;
    const auto full = Outcome::over_quota;
    struct Row {
        const char* what;
        Settings user;
        Settings domain;
        Usage own;     // of the user
        Usage others;  // of the domain's other user
        Outcome want;
        const char* text;
    };
    const Row rows[] = {
        {"no limits", {}, {}, {1000, 100}, {1000, 100}, ok, ""},
        {"user bytes: exactly", {{"quota.storage", "100"}}, {}, {90, 9}, {500, 5}, ok, ""},
        {"user bytes: above",
         {{"quota.storage", "100"}},
         {},
         {91, 9},
         {},
         full,
         "the mailbox is full: 91 of 100 bytes"},
        {"user count: the last", {{"quota.messages", "5"}}, {}, {0, 4}, {}, ok, ""},
        {"user count: full", {{"quota.messages", "5"}}, {}, {0, 5}, {}, full, "the mailbox is full: 5 of 5 messages"},
        {"domain bytes: below", {}, {{"domain-quota.storage", "100"}}, {30, 3}, {59, 5}, ok, ""},
        {"domain bytes: exactly", {}, {{"domain-quota.storage", "100"}}, {30, 3}, {60, 5}, ok, ""},
        {"domain bytes: above",
         {},
         {{"domain-quota.storage", "100"}},
         {30, 3},
         {61, 5},
         full,
         "the domain x is full: 91 of 100 bytes"},
        {"domain count: the last", {}, {{"domain-quota.messages", "9"}}, {30, 3}, {61, 5}, ok, ""},
        {"domain count: full",
         {},
         {{"domain-quota.messages", "8"}},
         {30, 3},
         {61, 5},
         full,
         "the domain x is full: 8 of 8 messages"},
        {"both: the user's is said first",
         {{"quota.messages", "3"}},
         {{"domain-quota.messages", "8"}, {"domain-quota.storage", "100"}},
         {30, 3},
         {61, 5},
         full,
         "the mailbox is full: 3 of 3 messages"},
        {"both kinds of a domain",
         {{"quota.messages", "4"}},
         {{"domain-quota.messages", "8"}, {"domain-quota.storage", "1000"}},
         {30, 3},
         {61, 5},
         full,
         "the domain x is full: 91 of 1000 bytes, 8 of 8 messages"},
        {"a domain of 0 takes nothing",
         {},
         {{"domain-quota.storage", "0"}},
         {},
         {},
         full,
         "the domain x is full: 0 of 0 bytes"},
        {"a domain is deferred as its user",
         {{"quota.when-full", "defer"}},
         {{"domain-quota.messages", "0"}},
         {},
         {},
         Outcome::over_quota_deferred,
         "the domain x is full: 0 of 0 messages"},
        {"the user's grace is not the domain's",
         {{"quota.grace", "1K"}},
         {{"domain-quota.storage", "9"}},
         {},
         {},
         full,
         "the domain x is full: 0 of 9 bytes"},
        {"too large wins",
         {{"quota.message", "9"}},
         {{"domain-quota.messages", "0"}},
         {},
         {},
         Outcome::message_too_large,
         "the message has 10 bytes, the limit is 9"},
    };
    for (const Row& row : rows) {
        INFO(row.what);
        Fixture f;
        const User user = f.add("a@x", row.own, row.user, row.domain);
        f.add("b@x", row.others);
        f.add("c@y", {5000, 5000});
        const auto said = f.admit(user);
        CHECK(said.outcome == row.want);
        CHECK(said.text == row.text);
    }
}

TEST_CASE("a domain's limits come from the file too, for each domain by itself; a name without one has none") {
    Fixture f({"domain-quota.messages=2"});
    const User a = f.add("a@x", {20, 2});
    const User b = f.add("b@y", {10, 1});
    const User c = f.add("plain", {50, 5});
    CHECK(f.admit(a).outcome == Outcome::over_quota);
    CHECK(f.admit(b).outcome == Outcome::delivered);
    CHECK(f.admit(c).outcome == Outcome::delivered);
}

TEST_CASE("a domain is summed once; admission looks at no other user's mailbox after that") {
    Fixture f({"domain-quota.messages=1000"});
    const User a = f.add("a@x");
    for (int i = 0; i < 50; ++i) f.add("user" + std::to_string(i) + "@x", {10, 1});
    CHECK(f.deliver(a) == Outcome::delivered);
    CHECK(f.mda.looks == 51);
    f.mda.looks = 0;
    for (int i = 0; i < 20; ++i) CHECK(f.deliver(a) == Outcome::delivered);
    CHECK(f.mda.looks == 0);
    CHECK(f.listings == 1);
    CHECK(f.domain_books() == Usage{710, 71});
}

TEST_CASE("a user whose record is broken does not stop the domain's mail; an unreadable mailbox does for now") {
    Fixture f({"domain-quota.messages=5"});
    const User a = f.add("a@x", {10, 1});
    f.add("b@x", {20, 2});
    f.add("wrong@x", {990, 99});
    f.records["wrong@x"].settings = {{"quota.storage", "many"}};
    f.mda.unreadable = "b@x";
    const auto refused = f.accounts.admit(a, {}, kSize, kSize, nullptr);
    REQUIRE_FALSE(refused);
    CHECK(is_temporary(refused.error().outcome));
    f.mda.unreadable.clear();
    CHECK(f.admit(a).outcome == Outcome::delivered);
    CHECK(f.domain_books() == Usage{30, 3});
}

TEST_CASE("mail that came while a domain had no limits counts when it has some again") {
    Fixture f;
    const Settings limited{{"domain-quota.messages", "3"}};
    const User free = f.add("a@x");
    User held = f.add("a@x", {}, {}, limited);
    CHECK(f.deliver(held) == Outcome::delivered);
    CHECK(f.deliver(free) == Outcome::delivered);
    CHECK(f.deliver(free) == Outcome::delivered);
    CHECK(f.deliver(held) == Outcome::over_quota);
}

TEST_CASE("a count of the domain sees what readers removed") {
    Fixture f({"domain-quota.messages=3"});
    const User a = f.add("a@x", {30, 3});
    CHECK(f.deliver(a) == Outcome::over_quota);
    f.mda.boxes["a@x"] = {10, 1};
    CHECK(f.deliver(a) == Outcome::over_quota);  // by the books of a moment ago
    CHECK(scratch::must(f.accounts.recount_domain("x")) == Usage{10, 1});
    CHECK(f.deliver(a) == Outcome::delivered);
}

TEST_CASE("room that is promised counts until the message is published or dropped") {
    Fixture f({"domain-quota.messages=2", "quota.messages=1"});
    const User a = f.add("a@x");
    const User b = f.add("b@x");
    const User c = f.add("c@x");
    {
        Accounts::Room of_a;
        Accounts::Room of_b;
        CHECK(f.admit(a, &of_a).outcome == Outcome::delivered);
        CHECK(f.admit(a).text == "the mailbox is full: 1 of 1 messages");
        CHECK(f.admit(b, &of_b).outcome == Outcome::delivered);
        CHECK(f.admit(c).text == "the domain x is full: 2 of 2 messages");
    }
    CHECK(f.admit(a).outcome == Outcome::delivered);
    CHECK(f.admit(c).outcome == Outcome::delivered);
}

TEST_CASE("200 deliveries of different users at once fill a domain's room for 100 exactly") {
    Fixture f({"domain-quota.messages=100"});
    constexpr int kThreads = 20;
    std::vector<User> users;
    for (int i = 0; i < 200; ++i) users.push_back(f.add("user" + std::to_string(i) + "@x"));
    std::atomic<int> delivered{0};
    std::atomic<int> refused{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
        threads.emplace_back([&, t] {
            for (int i = t; i < 200; i += kThreads) {
                const Outcome outcome = f.deliver(users[static_cast<std::size_t>(i)]);
                if (outcome == Outcome::delivered) ++delivered;
                if (outcome == Outcome::over_quota) ++refused;
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(delivered == 100);
    CHECK(refused == 100);
    CHECK(f.domain_books() == Usage{1000, 100});
}
