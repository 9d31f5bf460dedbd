// A dict as the authority, and services that share a limit with the mail.
#include "accounts_fixture.h"

#include <ctime>
#include <fstream>

#include "store/resting_dict.h"

using namespace accounts;
namespace fs = std::filesystem;

namespace {

const std::string kStorage = "a@x priv/quota/storage";
const std::string kMessages = "a@x priv/quota/messages";

void have(MemoryDict& dict, const std::string& name, std::uint64_t storage, std::uint64_t messages) {
    dict.values[name + " priv/quota/storage"] = std::to_string(storage);
    dict.values[name + " priv/quota/messages"] = std::to_string(messages);
}

Usage counters(MemoryDict& dict, const std::string& name) {
    return {std::stoull(dict.values.at(name + " priv/quota/storage")),
            std::stoull(dict.values.at(name + " priv/quota/messages"))};
}

}  // namespace

TEST_CASE("dict authority: the counters say what a mailbox holds, and each delivery adds to them") {
    MemoryDict dict;
    Fixture f({"quota.messages=5"}, &dict);
    const User a = f.add("a@x", {990, 99});
    have(dict, "a@x", 30, 3);
    CHECK(f.deliver(a) == Outcome::delivered);
    CHECK(f.deliver(a) == Outcome::delivered);
    CHECK(f.admit(a).text == "the mailbox is full: 5 of 5 messages");
    CHECK(counters(dict, "a@x") == Usage{50, 5});
    CHECK(f.mda.looks == 0);
}

TEST_CASE("dict authority: a missing or malformed counter is counted from the store and set") {
    for (const char* broken : {"", "x", "-1", "1.5", "12 "}) {
        INFO(broken);
        MemoryDict dict;
        Fixture f({"quota.messages=3"}, &dict);
        const User a = f.add("a@x", {20, 2});
        have(dict, "a@x", 0, 0);
        dict.values[kMessages] = broken;
        if (*broken == '\0') dict.values.erase(kMessages);
        CHECK(f.deliver(a) == Outcome::delivered);
        CHECK(f.deliver(a) == Outcome::over_quota);
        CHECK(counters(dict, "a@x") == Usage{30, 3});
    }
}

TEST_CASE("dict authority: a user without limits is counted where there are counters, and makes none") {
    MemoryDict dict;
    Fixture f({}, &dict);
    const User a = f.add("a@x");
    CHECK(f.deliver(a) == Outcome::delivered);
    CHECK(dict.values.empty());
    have(dict, "a@x", 30, 3);
    have(dict, "@x", 40, 4);
    CHECK(f.deliver(a) == Outcome::delivered);
    CHECK(counters(dict, "a@x") == Usage{40, 4});
    CHECK(counters(dict, "@x") == Usage{50, 5});
}

TEST_CASE("dict authority: without the dict mail for a limited user waits; nothing bounces, nothing goes past") {
    MemoryDict dict;
    Fixture f({}, &dict);
    const User limited = f.add("a@x", {}, {{"quota.messages", "5"}});
    const User free = f.add("b@x");
    const User full = f.add("c@x", {}, {{"quota.messages", "0"}});
    dict.down = true;
    for (const User& user : {limited, full}) {
        const auto refused = f.accounts.admit(user, {}, kSize, kSize, nullptr);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().outcome == Outcome::trouble);
    }
    CHECK(f.deliver(free) == Outcome::delivered);
}

TEST_CASE("dict authority: what could not be added is counted anew, after a restart too") {
    MemoryDict dict;
    Fixture f({"domain-quota.messages=100"}, &dict);
    const User a = f.add("a@x", {20, 2}, {{"quota.messages", "100"}});
    have(dict, "a@x", 20, 2);
    have(dict, "@x", 20, 2);
    Accounts::Room room;
    REQUIRE(f.admit(a, &room).outcome == Outcome::delivered);
    auto pending = scratch::must(f.mda.prepare(a, {}, Message::from_text("x")));
    dict.down = true;
    CHECK(f.accounts.publish(a, room, *pending));  // it is in the mailbox, so it is delivered
    CHECK_FALSE(f.accounts.mailbox(a, {}));
    dict.down = false;
    CHECK(counters(dict, "a@x") == Usage{20, 2});
    Accounts again({f.config, f.mda, f.files, f.reservations,
                    [&](std::string_view, const auto& visit) {
                        visit("a@x", f.records["a@x"]);
                        return Result<void>();
                    },
                    &dict, nullptr});
    CHECK(scratch::must(again.admit(a, {}, kSize, kSize, nullptr)).outcome == Outcome::delivered);
    CHECK(counters(dict, "a@x") == Usage{30, 3});
    CHECK(counters(dict, "@x") == Usage{30, 3});
    dict.calls = 0;
    CHECK(scratch::must(again.mailbox(a, {})) == Usage{30, 3});
    CHECK(dict.calls == 1);
}

TEST_CASE("dict authority: a message that was taken back makes its user be counted anew") {
    MemoryDict dict;
    Fixture f({"quota.messages=9"}, &dict);
    const User a = f.add("a@x");
    CHECK(f.deliver(a) == Outcome::delivered);
    f.mda.boxes["a@x"] = {};
    f.accounts.withdrawn(a);
    CHECK(scratch::must(f.accounts.mailbox(a, {})) == Usage{});
    CHECK(counters(dict, "a@x") == Usage{});
}

TEST_CASE("dict authority: a domain's counters are its users' summed once, and a full domain is refused") {
    MemoryDict dict;
    Fixture f({"domain-quota.messages=6"}, &dict);
    const User a = f.add("a@x", {20, 2});
    f.add("b@x", {30, 3});
    have(dict, "a@x", 10, 1);  // what the dict says of a user is what counts
    CHECK(f.deliver(a) == Outcome::delivered);
    CHECK(counters(dict, "@x") == Usage{50, 5});
    CHECK(f.deliver(a) == Outcome::delivered);
    CHECK(f.admit(a).text == "the domain x is full: 6 of 6 messages");
    CHECK(f.listings == 1);
    CHECK_FALSE(fs::exists(f.dir / "domain-quota"));
}

TEST_CASE("dict authority: what is in a folder counted apart is in the domain's counters alone") {
    MemoryDict dict;
    Fixture f({"quota.folder.Spam.messages=1", "quota.messages=5", "domain-quota.messages=9"}, &dict);
    const User a = f.add("a@x");
    CHECK(f.deliver(a) == Outcome::delivered);
    CHECK(f.deliver(a, {"Spam"}) == Outcome::delivered);
    CHECK(f.deliver(a, {"Spam"}) == Outcome::over_quota);
    CHECK(counters(dict, "a@x") == Usage{10, 1});
    CHECK(counters(dict, "@x") == Usage{20, 2});
}

TEST_CASE("dict authority: recount puts the counters right") {
    MemoryDict dict;
    Fixture f({"quota.messages=9"}, &dict);
    const User a = f.add("a@x", {20, 2});
    have(dict, "a@x", 500, 1);
    have(dict, "@x", 1, 1);
    CHECK(scratch::must(f.accounts.recount(a, {})) == Usage{20, 2});
    CHECK(counters(dict, "a@x") == Usage{20, 2});
    CHECK(scratch::must(f.accounts.recount_domain("x")) == Usage{20, 2});
    CHECK(counters(dict, "@x") == Usage{20, 2});
}

TEST_CASE("dict authority: a count waits for what is visible and not added yet, of users and domains alike") {
    MemoryDict dict;
    Fixture f({}, &dict);
    const User a = f.add("a@x", {20, 2});
    have(dict, "a@x", 20, 2);
    have(dict, "@x", 20, 2);
    dict.slow = std::chrono::milliseconds(100);
    Outcome outcome = Outcome::trouble;
    std::thread delivery([&] { outcome = f.deliver(User(a)); });
    while (scratch::must(f.mda.usage(a, {}, {})) == Usage{20, 2}) std::this_thread::yield();
    SECTION("a user") { CHECK(scratch::must(f.accounts.recount(a, {})) == Usage{30, 3}); }
    SECTION("a domain") { CHECK(scratch::must(f.accounts.recount_domain("x")) == Usage{30, 3}); }
    delivery.join();
    CHECK(outcome == Outcome::delivered);
    CHECK(counters(dict, "a@x") == Usage{30, 3});
    CHECK(counters(dict, "@x") == Usage{30, 3});
}

TEST_CASE("dict authority: a mark that is left while somebody counts stays until the next count") {
    MemoryDict dict;
    Fixture f({}, &dict);
    const User a = f.add("a@x", {20, 2});
    have(dict, "a@x", 0, 0);
    f.accounts.withdrawn(a);
    CHECK(scratch::must(f.accounts.doubts()).size() == 2);
    // The message that cannot be added comes while the store is looked at, and the look misses it.
    f.mda.on_look = [&, done = false]() mutable {
        if (std::exchange(done, true)) return;
        f.mda.boxes["a@x"] = {30, 3};
        f.accounts.withdrawn(a);
    };
    CHECK(scratch::must(f.accounts.settle_doubt("a@x", &a)));
    CHECK(counters(dict, "a@x") == Usage{30, 3});
    CHECK(scratch::must(f.accounts.settle_doubt("@x", nullptr)));
    CHECK(scratch::must(f.accounts.doubts()).empty());
}

TEST_CASE("dict authority: a count that fails leaves the mark") {
    MemoryDict dict;
    Fixture f({}, &dict);
    const User a = f.add("a@x", {20, 2});
    have(dict, "a@x", 0, 0);
    f.accounts.withdrawn(a);
    f.mda.unreadable = "a@x";
    CHECK_FALSE(scratch::must(f.accounts.settle_doubt("a@x", &a)));
    dict.down = true;
    CHECK_FALSE(f.accounts.settle_doubt("a@x", &a));
    CHECK(scratch::must(f.accounts.doubts()).size() == 2);
    dict.down = false;
    f.mda.unreadable.clear();
    CHECK(scratch::must(f.accounts.settle_doubt("a@x", &a)));
    CHECK(counters(dict, "a@x") == Usage{20, 2});
    CHECK(scratch::must(f.accounts.doubts()) == std::vector<std::string>{"@x"});
}

TEST_CASE("dict authority: names of any kind are marked and found again") {
    MemoryDict dict;
    Fixture f({}, &dict);
    const std::vector<std::string> names{"%41@x", ".hidden@x", "a/b@x", "@", "b", "\x01\x7f@x", "%"};
    for (const std::string& name : names) f.accounts.withdrawn(f.add(name));
    auto found = scratch::must(f.accounts.doubts());
    for (const std::string& name : names) CHECK(std::erase(found, name) == 1);
    CHECK(found == std::vector<std::string>{"@x"});
}

TEST_CASE("dict authority: 200 deliveries at once fill room for 100 exactly") {
    MemoryDict dict;
    Fixture f({"quota.messages=100"}, &dict);
    const User a = f.add("a@x");
    std::atomic<int> delivered{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 20; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 10; ++i)
                if (f.deliver(a) == Outcome::delivered) ++delivered;
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(delivered == 100);
    CHECK(counters(dict, "a@x") == Usage{1000, 100});
}

TEST_CASE("unified quota: the limit applies to the sum of mail and other services, for users who share it") {
    struct Row {
        const char* what;
        Settings user;
        std::map<std::string, std::string> reported;
        Outcome want;
        const char* text;
    };
    const auto ok = Outcome::delivered;
    const auto full = Outcome::over_quota;
    const Settings shared{{"quota.unified", "yes"}, {"quota.storage", "100"}, {"quota.messages", "10"}};
    const Row rows[] = {
        {"nothing reported", shared, {}, ok, ""},
        {"exactly", shared, {{kStorage + "/files", "60"}}, ok, ""},
        {"above",
         shared,
         {{kStorage + "/files", "61"}},
         full,
         "the mailbox is full: 91 of 100 bytes, 3 of 10 messages, other services included"},
        {"services add up", shared, {{kStorage + "/files", "50"}, {kStorage + "/calendar", "11"}}, full, nullptr},
        {"messages too", shared, {{kMessages + "/calendar", "7"}}, full, nullptr},
        {"a service that nobody named", shared, {{kStorage + "/other", "99"}}, ok, ""},
        {"mail's own share", shared, {{kStorage + "/mail", "99"}}, ok, ""},
        {"no number", shared, {{kStorage + "/files", "lots"}}, ok, ""},
        {"beyond all numbers",
         shared,
         {{kStorage + "/files", "18446744073709551615"}, {kStorage + "/calendar", "5"}},
         full,
         nullptr},
        {"not shared", {{"quota.storage", "100"}, {"quota.messages", "10"}}, {{kStorage + "/files", "99"}}, ok, ""},
    };
    for (const Row& row : rows) {
        INFO(row.what);
        MemoryDict dict;
        dict.values = row.reported;
        Fixture f({"quota.unified.services=files calendar mail"}, nullptr, &dict);
        const auto said = f.admit(f.add("a@x", {30, 3}, row.user));
        CHECK(said.outcome == row.want);
        if (row.text != nullptr) CHECK(said.text == row.text);
    }
}

TEST_CASE("unified quota: an outage falls back to the last known figures, then to mail alone, never to a refusal") {
    MemoryDict dict;
    dict.values[kStorage + "/files"] = "80";
    Fixture f({"quota.unified.services=files", "quota.unified.max-age=1h", "quota.unified=yes", "quota.storage=100"},
              nullptr, &dict);
    const User a = f.add("a@x", {15, 1});
    CHECK(f.admit(a).outcome == Outcome::over_quota);
    dict.down = true;
    const auto known_since = [&](std::time_t age) {
        std::ofstream(f.dir / "unified/a@x") << std::time(nullptr) - age << " 80 0\n";
    };
    known_since(60);
    CHECK(f.admit(a).outcome == Outcome::over_quota);
    known_since(3601);
    CHECK(f.admit(a).outcome == Outcome::delivered);
    std::ofstream(f.dir / "unified/a@x") << "nonsense";
    CHECK(f.admit(a).outcome == Outcome::delivered);
    fs::remove(f.dir / "unified/a@x");
    CHECK(f.admit(a).outcome == Outcome::delivered);
    CHECK(f.deliver(a) == Outcome::delivered);
}

TEST_CASE("unified quota: the dict is asked once in some seconds, and what is reported is seen at once") {
    MemoryDict dict;
    Fixture f({"quota.unified.services=files", "quota.unified=yes", "quota.storage=100"}, nullptr, &dict);
    const User a = f.add("a@x", {15, 1});
    CHECK(f.admit(a).outcome == Outcome::delivered);
    CHECK(f.admit(a).outcome == Outcome::delivered);
    CHECK(dict.calls == 1);
    scratch::must(f.accounts.report(a, "files", 80, std::nullopt));
    CHECK(dict.values == std::map<std::string, std::string>{{kStorage + "/files", "80"}});
    CHECK(f.admit(a).outcome == Outcome::over_quota);
}

TEST_CASE("unified quota: the mail tells other services what it holds, for users who share") {
    MemoryDict dict;
    Fixture f({"quota.unified.services=files"}, nullptr, &dict);
    f.accounts.settle(f.add("b@x", {50, 5}));
    CHECK(dict.values.empty());
    const std::map<std::string, std::string> told{{kStorage + "/mail", "30"}, {kMessages + "/mail", "3"}};
    const User a = f.add("a@x", {30, 3}, {{"quota.unified", "yes"}});
    f.accounts.settle(a);
    CHECK(dict.values == told);
    dict.values.clear();
    scratch::must(f.accounts.recount(a, {}));
    CHECK(dict.values == told);
    dict.down = true;
    f.accounts.settle(a);  // nobody is told of it
}

TEST_CASE("dict authority: behind the verdict a user without limits is counted anew, too") {
    MemoryDict dict;
    Fixture f({}, &dict);
    const User a = f.add("a@x");
    have(dict, "a@x", 0, 0);
    dict.down = true;
    CHECK(f.deliver(a) == Outcome::delivered);
    f.accounts.settle(a);
    dict.down = false;
    f.accounts.settle(a);
    CHECK(counters(dict, "a@x") == Usage{10, 1});
}

TEST_CASE("a dict that failed is left alone for a while, then asked again") {
    auto owned = std::make_unique<MemoryDict>();
    MemoryDict& dict = *owned;
    RestingDict resting(std::move(owned), std::chrono::milliseconds(50));
    const std::vector<std::string> keys{"priv/quota/storage"};
    const auto ask = [&] { return static_cast<bool>(resting.get("a@x", keys, Deadline::in(std::chrono::seconds(1)))); };
    dict.down = true;
    CHECK_FALSE(ask());
    dict.down = false;
    for (int i = 0; i < 3; ++i) static_cast<void>(ask());
    const int calls = dict.calls;
    CHECK(calls <= 4);
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    CHECK(ask());
}
