// What every MDA module promises of mailboxes: made, found again, released, purged, lost.
#include "site.h"

#include <algorithm>
#include <filesystem>
#include <set>

using namespace roost;
using namespace roost::test;

namespace {

// Every path below a directory.
std::set<std::string> tree(const std::string& dir) {
    std::set<std::string> out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) out.insert(entry.path());
    return out;
}

}  // namespace

TEST_CASE("the module's settings are its own and their defaults are valid", "[contract]") {
    Site site;
    const ModuleInfo* info = must(load_module(ROOST_TEST_MODULES, ModuleKind::mda, site.module()));
    CHECK(info->abi == kModuleAbi);
    CHECK_FALSE(std::string_view(info->summary).empty());
    for (const Setting& setting : info->settings) {
        CHECK(setting.key.starts_with(site.module() + "."));
        CHECK_FALSE(setting.help.empty());
        must(check_value(setting.kind, setting.choices, setting.default_value));
    }
}

TEST_CASE("check names what is missing, touches nothing, and is content after allocate", "[contract]") {
    Site site;
    const User alice = site.user("alice@example.org");
    const auto before = tree(site.dir());
    const Readiness missing = must(site.mda().check(alice));
    CHECK_FALSE(missing.complete());
    CHECK(tree(site.dir()) == before);

    const Settings allocation = must(site.mda().allocate(alice));
    for (const std::string& key : missing.missing) CHECK(allocation.contains(key));
    CHECK(site.reader().exists(allocation));
    CHECK(must(site.mda().check(site.allocated(alice, allocation))).complete());
}

TEST_CASE("allocate can be repeated and takes what it made before, with the mail in it", "[contract]") {
    Site site;
    const User alice = site.user("alice@example.org");
    const Settings first = must(site.mda().allocate(alice));
    CHECK(must(site.mda().allocate(alice)) == first);
    const User complete = site.allocated(alice, first);
    site.delivered(complete, kHello);
    CHECK(must(site.mda().allocate(alice)) == first);
    CHECK(must(site.mda().allocate(complete)) == first);
    CHECK(site.messages(complete).size() == 1);
}

TEST_CASE("an allocation that fails at any operation can be completed", "[contract]") {
    for (const int sys : {EIO, ENOSPC}) {
        bool fired = true;
        for (std::size_t nth = 1; fired; ++nth) {
            Site site;
            const User alice = site.user("alice@example.org");
            site.files().arm(nth, sys);
            const auto tried = site.mda().allocate(alice);
            fired = site.files().fired();
            site.files().disarm();
            INFO("operation " << nth << ", errno " << sys);
            if (!tried) CHECK(is_temporary(tried.error().outcome));
            const Settings allocation = must(site.mda().allocate(alice));
            if (tried) CHECK(*tried == allocation);
            const User complete = site.allocated(alice, allocation);
            site.delivered(complete, kHello);
            CHECK(site.messages(complete).size() == 1);
        }
    }
}

TEST_CASE("release removes the empty mailbox that lost a race, and allocate makes it anew", "[contract]") {
    Site site;
    const User alice = site.user("alice@example.org");
    const Settings allocation = must(site.mda().allocate(alice));
    must(site.mda().release(alice, allocation));
    CHECK_FALSE(site.reader().exists(allocation));
    must(site.mda().release(alice, allocation));  // already gone
    CHECK(must(site.mda().allocate(alice)) == allocation);
    CHECK(site.reader().exists(allocation));
}

TEST_CASE("release spares the mailbox that the user has", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    must(site.mda().release(alice, *alice.record().allocation));
    CHECK(site.reader().exists(*alice.record().allocation));
    site.delivered(alice, kHello);
}

TEST_CASE("release never removes mail, wherever it lies", "[contract]") {
    const Folder folder = GENERATE(Folder{}, Folder{"Lists"});
    Site site;
    const User alice = site.user("alice@example.org");
    const Settings allocation = must(site.mda().allocate(alice));
    const User complete = site.allocated(alice, allocation);
    site.delivered(complete, kHello, {folder, true, {}, nullptr});
    must(site.mda().release(alice, allocation));
    CHECK(site.messages(complete, folder).size() == 1);
    site.delivered(complete, kHello);
}

TEST_CASE("purge removes the mailbox with all mail, and no other", "[contract]") {
    Site site;
    const User bob = site.with_mailbox("bob@example.org");
    site.delivered(bob, kHello);
    const auto before = tree(site.mail());
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, kHello);
    site.delivered(alice, kHello, {{"Lists", "roost"}, true, {}, nullptr});
    site.recount(alice);
    must(site.mda().purge(alice));
    CHECK_FALSE(site.reader().exists(*alice.record().allocation));
    CHECK(tree(site.mail()) == before);
    must(site.mda().purge(alice));  // already gone
    CHECK(site.messages(bob).size() == 1);
}

TEST_CASE("a mailbox that vanished as a whole is a temporary failure, never a new mailbox", "[contract]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, kHello);
    site.reader().take_away(*alice.record().allocation);
    for (const Folder& folder : {Folder{}, Folder{"Lists"}}) {
        const auto failed = site.deliver(alice, kHello, {folder, true, {}, nullptr});
        REQUIRE_FALSE(failed);
        CHECK(is_temporary(failed.error().outcome));
        CHECK(failed.error().text().find("mounted") != std::string::npos);
    }
    CHECK_FALSE(site.mda().usage(alice, {}, {}));
    CHECK_FALSE(site.mda().recount(alice, {}));
    CHECK_FALSE(site.reader().exists(*alice.record().allocation));
}

TEST_CASE("no user's name leads out of the directory, or into another user's mailbox", "[contract]") {
    Site site;
    const auto before = tree(site.dir());
    std::set<Settings> allocations;
    const std::string names[] = {
        "..",     ".",        "../alice", "../../../x@y", "a/b@example.org", ".hidden@example.org",
        "alice@", "%2e%2e@x", "alice@..", "alice@./",     "%@example.org",   "a\\b@example.org"};
    for (const std::string& name : names) {
        const User user = site.with_mailbox(name);
        site.delivered(user, kHello);
        CHECK(site.messages(user).size() == 1);
        CHECK(allocations.insert(*user.record().allocation).second);
    }
    for (const std::string& path : tree(site.dir()))
        CHECK((before.contains(path) || path.starts_with(site.mail() + "/")));
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(site.dir()).parent_path()))
        CHECK(entry.path().filename() != "x");
}
