// What every MDA module promises when the system fails it: nothing acknowledged is lost, nothing half is visible, and
// the next delivery works.
#include "site.h"

#include <algorithm>
#include <cerrno>

using namespace roost;
using namespace roost::test;

namespace {

// For what a failed delivery leaves: nothing, unless it was a removal that failed.
using Paths = std::vector<std::string>;

// All messages in a user's INBOX and in one folder.
std::vector<std::string> everything(Site& site, const User& user, const Folder& folder) {
    auto out = site.messages(user);
    const auto more = folder.empty() ? std::vector<std::string>() : site.messages(user, folder);
    out.insert(out.end(), more.begin(), more.end());
    return out;
}

}  // namespace

TEST_CASE("whichever operation of a delivery fails, mail is whole, counted, and the next delivery works",
          "[contract]") {
    const int sys = GENERATE(EIO, ENOSPC, EDQUOT, EACCES);
    const Folder folder = GENERATE(Folder{}, Folder{"Lists"});
    const bool may_be_nameless = GENERATE(false, true);
    Site site;
    const Delivery delivery{folder, true, "Received: by here\n", nullptr, may_be_nameless};
    const auto stored = [&](const std::string& text) { return site.reader().as_stored(delivery.header + text); };
    bool fired = true;
    std::size_t failures = 0;
    for (std::size_t nth = 1; fired; ++nth) {
        INFO("operation " << nth << ", errno " << sys << ", folder " << folder_name(folder));
        // Each round has a mailbox of its own, in every second one with the folder there already.
        const User user = site.with_mailbox("u" + std::to_string(nth) + "@example.org", {{"quota.storage", "1G"}});
        site.delivered(user, "first\n", nth % 2 == 0 ? delivery : Delivery{{}, true, delivery.header, nullptr});
        site.usage(user);

        site.files().arm(nth, sys);
        const auto failed = [&]() -> std::optional<Error> {
            auto used = site.mda().usage(user, {}, {100, 1});
            if (!used) return used.error();
            auto receipt = site.deliver(user, "second\n", delivery);
            if (!receipt) return receipt.error();
            return std::nullopt;
        }();
        fired = site.files().fired();
        site.files().disarm();

        const auto seen = everything(site, user, folder);
        const auto copies = std::count(seen.begin(), seen.end(), stored("second\n"));
        CHECK(std::count(seen.begin(), seen.end(), stored("first\n")) == 1);
        CHECK(seen.size() == static_cast<std::size_t>(1 + copies));
        if (failed) {
            ++failures;
            CHECK(is_temporary(failed->outcome));
            CHECK(copies == 0);  // the MTA brings it again
        } else {
            CHECK(copies == 1);
        }
        if (site.files().failed_operation() != "unlink") CHECK(site.reader().leftovers(user) == Paths());

        site.restart();
        site.delivered(user, "third\n", delivery);
        CHECK(everything(site, user, folder).size() == seen.size() + 1);
        CHECK(site.usage(user) == site.recount(user));
    }
    CHECK(failures > 3);
}

TEST_CASE("whichever operation fails, a twin gets its own copy or a temporary failure", "[contract]") {
    Site site;
    const std::string text = "Subject: twins\n\nHello.\n";
    const Message message = Message::from_text(text);
    bool fired = true;
    for (std::size_t nth = 1; fired; ++nth) {
        INFO("operation " << nth);
        const std::string number = std::to_string(nth);
        const User alice = site.with_mailbox("alice" + number + "@example.org");
        const User bob = site.with_mailbox("bob" + number + "@example.org");
        auto first = must(site.mda().prepare(alice, {}, message));
        Delivery same;
        same.twin = first.get();
        site.files().arm(nth, EIO);
        auto second = site.mda().prepare(bob, same, message);
        fired = site.files().fired();
        site.files().disarm();
        if (second) {
            must((*second)->publish());
            CHECK(site.messages(bob) == std::vector{site.reader().as_stored(text)});
        } else {
            CHECK(is_temporary(second.error().outcome));
        }
        must(first->publish());
        CHECK(site.messages(alice) == std::vector{site.reader().as_stored(text)});
        if (site.files().failed_operation() != "unlink") CHECK(site.reader().leftovers(bob) == Paths());
    }
}

TEST_CASE("a recount that fails at any operation is an Error or right, and does no harm", "[contract]") {
    Site site;
    bool fired = true;
    for (std::size_t nth = 1; fired; ++nth) {
        INFO("operation " << nth);
        const User user = site.with_mailbox("u" + std::to_string(nth) + "@example.org");
        const Receipt receipt = site.delivered(user, "first\n");
        site.files().arm(nth, EIO);
        const auto counted = site.mda().recount(user, {});
        fired = site.files().fired();
        site.files().disarm();
        const Usage expected{receipt.stored, 1};
        if (counted) CHECK(*counted == expected);
        CHECK(site.usage(user) == expected);
        if (site.files().failed_operation() != "unlink") CHECK(site.reader().leftovers(user) == Paths());
        CHECK(site.messages(user).size() == 1);
    }
}
