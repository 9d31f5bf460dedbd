#include "accounts_fixture.h"

using namespace accounts;

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

TEST_CASE("a folder counted apart fills by itself, and in the domain; an ignored one fills nothing") {
    Fixture f({"quota.folder.Spam.messages=1", "quota.folder.Junk.ignore=yes", "quota.messages=2",
               "domain-quota.messages=4"});
    const User a = f.add("a@x");
    CHECK(f.deliver(a, {"Spam"}) == Outcome::delivered);
    CHECK(f.admit(a, nullptr, {"Spam"}).text == "the folder Spam is full: 1 of 1 messages");
    CHECK(f.deliver(a) == Outcome::delivered);
    CHECK(f.deliver(a, {"Lists"}) == Outcome::delivered);
    CHECK(f.admit(a).text == "the mailbox is full: 2 of 2 messages");
    CHECK(f.domain_books() == Usage{30, 3});
    CHECK(f.deliver(f.add("b@x")) == Outcome::delivered);
    CHECK(f.admit(a, nullptr, {"Spam"}).outcome == Outcome::over_quota);
    CHECK(f.admit(f.add("c@x")).text == "the domain x is full: 4 of 4 messages");
    for (int i = 0; i < 3; ++i) CHECK(f.deliver(a, {"Junk"}) == Outcome::delivered);
    CHECK(f.domain_books() == Usage{40, 4});
    CHECK(scratch::must(f.accounts.recount_domain("x")) == Usage{40, 4});
}

TEST_CASE("a named folder's extra room is for deliveries into it alone") {
    Fixture f({"quota.folder.Trash.messages=+2", "quota.messages=1"});
    const User a = f.add("a@x", {10, 1});
    CHECK(f.admit(a).outcome == Outcome::over_quota);
    CHECK(f.deliver(a, {"Trash"}) == Outcome::delivered);
    CHECK(f.deliver(a, {"Trash"}) == Outcome::delivered);
    CHECK(f.deliver(a, {"Trash"}) == Outcome::over_quota);
}
