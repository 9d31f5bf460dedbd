// What every MDA module promises of folders with limits of their own: counted in the mailbox, apart or nowhere.
#include "site.h"

#include <atomic>
#include <thread>
#include <vector>

using namespace roost;
using namespace roost::test;

namespace {

const Folder kSpam{"Spam"};
const Folder kLists{"Lists", "roost"};
const Settings kApart{{"quota.folder.Spam.storage", "1M"},
                      {"quota.folder.Lists/roost.messages", "100"},
                      {"quota.folder.Drafts.ignore", "yes"},
                      {"quota.folder.Archive.storage", "+1M"}};

Delivery into(const Folder& folder, bool create = true) { return {folder, create, {}, nullptr}; }

// Books and store agree on what an account holds.
void check_account(Site& site, const User& user, const Folder& account, const Usage& expected) {
    INFO(folder_name(account));
    CHECK(site.usage(user, {}, account) == expected);
    CHECK(site.recount(user, account) == expected);
    CHECK(site.usage(user, {}, account) == expected);
}

}  // namespace

TEST_CASE("a folder counts in the mailbox, apart or nowhere, as its rule says", "[contract]") {
    const bool asked_before = GENERATE(true, false);
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kApart);
    if (asked_before)
        for (const Folder& account : {Folder{}, kSpam, kLists}) CHECK(site.usage(alice, {}, account) == Usage{});
    Usage mailbox;
    Usage spam;
    Usage lists;
    const auto add = [&](Usage& sum, const Folder& folder) {
        const Receipt receipt = site.delivered(alice, kHello, into(folder));
        REQUIRE(receipt.folder == folder);
        sum.storage += receipt.stored;
        ++sum.messages;
    };
    Usage nowhere;
    for (int i = 0; i < 2; ++i) {
        add(mailbox, {});
        add(spam, kSpam);
        add(spam, kSpam);
        add(lists, kLists);
        add(nowhere, {"Drafts"});
        add(mailbox, {"Archive"});
        add(mailbox, {"Spam", "old"});
        add(mailbox, {"Lists"});
    }
    check_account(site, alice, {}, mailbox);
    check_account(site, alice, kSpam, spam);
    check_account(site, alice, kLists, lists);
}

TEST_CASE("a folder counted apart that does not exist holds nothing, and asking makes nothing", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kApart);
    check_account(site, alice, kSpam, {});
    const Receipt receipt = site.delivered(alice, kHello, into(kSpam, false));
    CHECK(receipt.folder.empty());
    check_account(site, alice, {}, {receipt.stored, 1});
    check_account(site, alice, kSpam, {});
}

TEST_CASE("a delivery goes where destination() says, with and without a mailbox yet", "[contract]") {
    const bool create = GENERATE(false, true);
    const std::string too_long(300, 'x');
    const auto& [wanted, can_be_made] = GENERATE_COPY(table<Folder, bool>({{{"There"}, true},
                                                                           {{"Missing"}, true},
                                                                           {{"Missing", "below"}, true},
                                                                           {{too_long}, false},
                                                                           {{"Missing", too_long}, false}}));
    CAPTURE(create, folder_name(wanted).substr(0, 40));
    Site site;
    CHECK(must(site.mda().destination(site.user("bob@example.org"), wanted, create)) ==
          (create && can_be_made ? wanted : Folder{}));
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, kHello, into({"There"}));
    const Folder said = must(site.mda().destination(alice, wanted, create));
    CHECK(said == (wanted == Folder{"There"} || (create && can_be_made) ? wanted : Folder{}));
    CHECK(must(site.mda().destination(alice, wanted, false)) == (wanted == Folder{"There"} ? wanted : Folder{}));
    CHECK(site.delivered(alice, kHello, into(wanted, create)).folder == said);
}

TEST_CASE("a message that was never published or was withdrawn is in no account", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kApart);
    const Receipt receipt = site.delivered(alice, kHello, into(kSpam));
    const Message message = Message::from_text(kHello);
    must(site.mda().prepare(alice, into(kSpam), message)).reset();
    check_account(site, alice, kSpam, {receipt.stored, 1});
    auto pending = must(site.mda().prepare(alice, into(kSpam), message));
    if (pending->plan().after.empty()) return;  // commits inside publish(): never withdrawn
    must(pending->publish());
    CHECK(site.usage(alice, {}, kSpam).messages == 2);
    must(pending->withdraw());
    pending.reset();
    check_account(site, alice, kSpam, {receipt.stored, 1});
}

TEST_CASE("other rules lead to other sums, without a recount and whatever was delivered meanwhile", "[contract]") {
    Site site;
    const auto with = [&](const Settings& settings) { return site.with_mailbox("alice@example.org", settings); };
    const Settings plain{{"quota.storage", "1M"}};
    const Settings apart{{"quota.storage", "1M"}, {"quota.folder.Spam.storage", "1M"}};
    const Settings ignored{{"quota.storage", "1M"}, {"quota.folder.Spam.ignore", "yes"}};
    const Settings both{
        {"quota.storage", "1M"}, {"quota.folder.Spam.storage", "1M"}, {"quota.folder.Lists.ignore", "yes"}};
    std::uint64_t inbox = 0;
    std::uint64_t spam = 0;
    std::uint64_t lists = 0;
    const auto deliver = [&](const User& user) {
        inbox += site.delivered(user, kHello).stored;
        spam += site.delivered(user, kHello, into(kSpam)).stored;
        lists += site.delivered(user, kHello, into({"Lists"})).stored;
    };
    const auto storage = [&](const User& user, const Folder& account = {}) {
        return site.usage(user, {}, account).storage;
    };
    for (int round = 0; round < 3; ++round) {
        INFO("round " << round);
        User alice = with(plain);
        CHECK(storage(alice) == inbox + spam + lists);
        deliver(alice);
        CHECK(storage(alice) == inbox + spam + lists);
        alice = with(apart);
        if (round != 1) CHECK(storage(alice, kSpam) == spam);
        if (round != 2) deliver(alice);
        CHECK(storage(alice) == inbox + lists);
        CHECK(storage(alice, kSpam) == spam);
        alice = with(ignored);
        if (round != 0) CHECK(storage(alice) == inbox + lists);
        deliver(alice);
        CHECK(storage(alice) == inbox + lists);
        alice = with(both);
        CHECK(storage(alice) == inbox);
        CHECK(storage(alice, kSpam) == spam);
        deliver(alice);
        CHECK(storage(alice) == inbox);
        CHECK(storage(alice, kSpam) == spam);
    }
}

TEST_CASE("deliveries under old and new rules at once leave no wrong sum behind", "[contract]") {
    constexpr int kThreads = 4;
    constexpr int kEach = 10;
    Site site;
    const User before = site.with_mailbox("alice@example.org", {{"quota.storage", "1M"}});
    const User after =
        site.with_mailbox("alice@example.org", {{"quota.storage", "1M"}, {"quota.folder.Spam.storage", "1M"}});
    site.delivered(before, kHello, into(kSpam));
    const Message message = Message::from_text(kHello);
    std::atomic<int> failures = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            const User user = t % 2 == 0 ? before : after;
            for (int i = 0; i < kEach; ++i) {
                for (const Folder& folder : {Folder{}, kSpam}) {
                    if (!site.mda().usage(user, {}, {100, 1})) ++failures;
                    auto pending = site.mda().prepare(user, into(folder), message);
                    if (!pending || !(*pending)->publish()) ++failures;
                }
                if (t == 1 && !site.mda().usage(user, kSpam, {100, 1})) ++failures;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(failures == 0);
    const std::uint64_t all = kThreads * kEach;
    CHECK(site.usage(after).messages == all);
    CHECK(site.usage(after, {}, kSpam).messages == all + 1);
    CHECK(site.usage(before).messages == 2 * all + 1);
    CHECK(site.usage(after, {}, kSpam) == site.recount(after, kSpam));
}

TEST_CASE("what a mail program puts into a folder counted apart is noticed", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kApart);
    site.delivered(alice, kHello, into(kSpam));
    CHECK(site.usage(alice, {}, kSpam).messages == 1);
    site.reader().add(alice, kSpam, kHello);
    CHECK(site.usage(alice, {}, kSpam).messages == 2);
    const Usage now = site.usage(alice, {}, kSpam);
    site.delivered(alice, kHello, into(kSpam));
    CHECK(site.usage(alice, {}, kSpam).messages == now.messages + 1);
    CHECK(site.usage(alice, {}, kSpam) == site.recount(alice, kSpam));
}
