// What every MDA module promises of deliveries: see lib/module/mda.h.
#include "site.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "store/mail_store.h"

using namespace roost;
using namespace roost::test;

namespace {

const std::string kNote = "From: bob@example.net\nSubject: hello\n\nHello.\n";

Delivery to(Folder folder, bool create = true) { return {std::move(folder), create, {}, nullptr}; }
Delivery with(std::string header) { return {{}, true, std::move(header), nullptr}; }

std::string megabytes(std::size_t count) {
    std::string out = "Subject: large\n\n";
    while (out.size() < count << 20U) out += "line " + std::to_string(out.size()) + "\r\nFrom here on\n>From there\n";
    return out;
}

}  // namespace

TEST_CASE("what is published is readable byte for byte", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    using namespace std::string_literals;
    const std::string messages[] = {
        kNote,
        "",
        "\n",
        "\n\n\n",
        "no newline at the end",
        "Subject: nul\n\na\0b\0\n"s,
        "Subject: 8 bit \xe4\xff\xfe\n\n\x80\x81\n",
        "Subject: bare cr\n\nx\ry\r\r\nz\r",
        "Subject: crlf\r\n\r\nbody\r\n",
        "Subject: dots\n\n.\n..\n",
        "Subject: from\n\nFrom me to you\n>From me\n>>From me\n From me\nFromage\n",
        "From",
        megabytes(10),
    };
    std::vector<std::string> expected;
    for (const std::string& message : messages) {
        site.delivered(alice, message);
        expected.push_back(site.reader().as_stored(message));
        std::sort(expected.begin(), expected.end());
        CHECK((site.messages(alice) == expected));  // no printing of megabytes
    }
}

TEST_CASE("the trace fields stand before the message's bytes", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const std::string header = "Return-Path: <bob@example.net>\nDelivered-To: alice@example.org\n";
    site.delivered(alice, kNote, with(header));
    REQUIRE(site.messages(alice) == std::vector{site.reader().as_stored(header + kNote)});
}

TEST_CASE("nothing is visible before it is published, and a dropped delivery leaves nothing", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const auto clean = site.reader().leftovers(alice);
    const Usage before = site.usage(alice);
    Delivery delivery;
    delivery.may_be_nameless = GENERATE(false, true);
    {
        const auto pending = must(site.mda().prepare(alice, delivery, Message::from_text(kNote)));
        CHECK(site.messages(alice).empty());
        for (const auto& target : pending->plan().before) CHECK(::fcntl(target.fd, F_GETFD) >= 0);
        for (const auto& target : pending->plan().after) CHECK(::fcntl(target.fd, F_GETFD) >= 0);
    }
    CHECK(site.messages(alice).empty());
    CHECK(site.reader().leftovers(alice) == clean);
    CHECK(site.usage(alice) == before);
    CHECK(site.recount(alice) == before);
}

TEST_CASE("what is withdrawn is gone, unless a reader was faster, and is not counted", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "1G"}});
    site.delivered(alice, "first\n");
    const Usage before = site.usage(alice);
    Delivery delivery;
    delivery.may_be_nameless = GENERATE(false, true);
    {
        const auto pending = must(site.mda().prepare(alice, delivery, Message::from_text(kNote)));
        if (pending->plan().after.empty()) return;  // commits in its own way: never needed
        must(pending->publish());
        must(pending->withdraw());
        CHECK(site.messages(alice).size() == 1);
        CHECK(site.usage(alice) == before);
    }
    CHECK(site.reader().leftovers(alice).empty());
    const auto pending = must(site.mda().prepare(alice, delivery, Message::from_text(kNote)));
    const std::string path = must(pending->publish()).path;
    std::filesystem::rename(path, path + ".taken");
    must(pending->withdraw());
    CHECK(std::filesystem::exists(path + ".taken"));
}

TEST_CASE("usage grows by what the receipt says, and a recount agrees", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "1G"}});
    CHECK(site.usage(alice) == Usage{0, 0});
    Usage expected;
    for (const std::string& message : {kNote, std::string(), megabytes(1), std::string("x")}) {
        for (const Folder& folder : {Folder{}, Folder{"Lists", "roost"}}) {
            const Receipt receipt = site.delivered(alice, message, to(folder));
            CHECK(receipt.folder == folder);
            CHECK_FALSE(receipt.path.empty());
            expected.storage += receipt.stored;
            ++expected.messages;
            CHECK(site.usage(alice, {1, 1}) == expected);
        }
    }
    CHECK(site.recount(alice) == expected);
    CHECK(site.usage(alice) == expected);
}

TEST_CASE("usage is right for a user without limits too", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const Receipt first = site.delivered(alice, kNote);
    CHECK(site.usage(alice) == Usage{first.stored, 1});
    const Receipt second = site.delivered(alice, kNote + "x");
    CHECK(site.usage(alice) == Usage{first.stored + second.stored, 2});
}

TEST_CASE("two users' books are apart", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const User bob = site.with_mailbox("bob@example.org");
    const User local = site.with_mailbox("alice");
    site.delivered(alice, kNote);
    CHECK(site.usage(bob) == Usage{0, 0});
    CHECK(site.messages(bob).empty());
    CHECK(site.messages(local).empty());
}

TEST_CASE("a missing folder is made, or replaced by INBOX, as the delivery says", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const Folder lists{"Lists"};

    CHECK(site.delivered(alice, "1\n", to(lists, false)).folder.empty());
    CHECK_FALSE(site.reader().has_folder(alice, lists));
    CHECK(site.messages(alice).size() == 1);

    CHECK(site.delivered(alice, "2\n", to(lists, true)).folder == lists);
    CHECK(site.reader().has_folder(alice, lists));
    CHECK(site.messages(alice, lists) == std::vector{site.reader().as_stored("2\n")});

    CHECK(site.delivered(alice, "3\n", to(lists, false)).folder == lists);
    CHECK(site.messages(alice, lists).size() == 2);
    CHECK(site.messages(alice).size() == 1);
}

TEST_CASE("folders whose names nest or begin alike are apart", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    for (const Folder& folder : {Folder{"A"}, Folder{"A", "B"}, Folder{"A", "B", "C"}, Folder{"AB"}, Folder{"a"}}) {
        CHECK(site.delivered(alice, folder_name(folder) + "\n", to(folder)).folder == folder);
        CHECK(site.messages(alice, folder).size() == 1);
    }
    CHECK(site.messages(alice).empty());
}

TEST_CASE("a folder that cannot be made is replaced by INBOX", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const Folder endless(10, std::string(60, 'x'));  // longer than any file system takes as one name
    const Receipt receipt = site.delivered(alice, kNote, to(endless));
    CHECK(site.messages(alice, receipt.folder).size() == 1);
}

TEST_CASE("a twin's copy is equal, counted for each user, and outlives the other", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const User bob = site.with_mailbox("bob@example.org");
    const User carol = site.with_mailbox("carol@example.org");
    const Message message = Message::from_text(kNote);
    const std::string header = "Received: by here\n";
    auto first = must(site.mda().prepare(alice, with(header), message));
    Delivery same = with(header);
    same.twin = first.get();
    auto second = must(site.mda().prepare(bob, same, message));
    same.twin = second.get();
    auto third = must(site.mda().prepare(carol, same, message));
    const auto as_stored = site.reader().as_stored(header + kNote);

    SECTION("all are published") {
        const Receipt receipt = must(first->publish());
        CHECK(must(second->publish()).stored == receipt.stored);
        CHECK(must(third->publish()).stored == receipt.stored);
        for (const User& user : {alice, bob, carol}) {
            CHECK(site.messages(user) == std::vector{as_stored});
            CHECK(site.usage(user) == Usage{receipt.stored, 1});
            CHECK(site.recount(user) == Usage{receipt.stored, 1});
        }
        must(site.mda().purge(alice));
        CHECK(site.messages(bob) == std::vector{as_stored});
    }
    SECTION("the first is dropped") {
        first.reset();
        must(third->publish());
        must(second->publish());
        CHECK(site.messages(alice).empty());
        CHECK(site.messages(bob) == std::vector{as_stored});
        CHECK(site.messages(carol) == std::vector{as_stored});
    }
}

TEST_CASE("threads that deliver to one mailbox at once lose nothing and count right", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "1G"}});
    CHECK(site.usage(alice) == Usage{0, 0});
    constexpr int kThreads = 8;
    constexpr int kEach = 15;
    std::atomic<int> failures{0};
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (int t = 0; t < kThreads; ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; i < kEach; ++i) {
                const std::string text = std::to_string(t) + "/" + std::to_string(i) + "\n";
                const User own = alice;
                if (!site.mda().usage(own, {}, {text.size(), 1})) ++failures;
                if (!site.deliver(own, text, to(i % 3 == 0 ? Folder{"New"} : Folder{}))) ++failures;
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(failures == 0);

    std::vector<std::string> got = site.messages(alice);
    const auto more = site.messages(alice, {"New"});
    got.insert(got.end(), more.begin(), more.end());
    std::sort(got.begin(), got.end());
    std::vector<std::string> expected;
    for (int t = 0; t < kThreads; ++t)
        for (int i = 0; i < kEach; ++i)
            expected.push_back(site.reader().as_stored(std::to_string(t) + "/" + std::to_string(i) + "\n"));
    std::sort(expected.begin(), expected.end());
    CHECK(got == expected);
    const Usage used = site.usage(alice);
    CHECK(used == site.recount(alice));
    CHECK(used.messages == std::uint64_t{kThreads} * kEach);
    CHECK(site.reader().leftovers(alice).empty());
}

TEST_CASE("deliveries at the same time fill a limit to the last message and never beyond", "[contract]") {
    constexpr std::size_t kRoom = 20;
    Site site({"delivery.received=no", "delivery.return-path=no", "delivery.delivered-to=no"});
    const User alice = site.with_mailbox("alice@example.org", {{"quota.messages", std::to_string(kRoom)}});
    const auto durability = make_fsync_durability(site.files());
    const auto creator = must(make_creator(*must(load_module(ROOST_TEST_MODULES, ModuleKind::creator, "none")),
                                           ModuleHost{site.config(), site.files(), site.db()}));
    Reservations reservations;
    Accounts accounts({site.config(), site.mda(), site.files(), reservations,
                       [](std::string_view, const auto&) { return Result<void>(); }});
    MailStore store({site.config(), site.db(), site.mda(), *creator, *durability, accounts});
    Envelope envelope;
    envelope.recipients.push_back({alice.name(), {}, {}, {}, {}});

    std::atomic<std::size_t> stored{0};
    std::atomic<std::size_t> refused{0};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 2 * kRoom; ++t)
        threads.emplace_back([&] {
            const Message message = Message::from_text(kNote);
            const auto verdicts =
                store.deliver(envelope, message, Deadline::in(std::chrono::minutes(5)), MailStore::Together::no);
            if (verdicts[0].outcome == Outcome::delivered) ++stored;
            if (verdicts[0].outcome == Outcome::over_quota) ++refused;
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(stored == kRoom);
    CHECK(refused == kRoom);
    CHECK(site.recount(alice).messages == kRoom);
    const auto route = store.route(envelope.recipients[0]);
    REQUIRE(route.route);
    CHECK(store.judge(*route.route, 0).outcome == Outcome::over_quota);
}
