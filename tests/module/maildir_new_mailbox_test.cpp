// Mailboxes that were made a moment before a crash: with the journal they are not synced, but made again.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "journal_desk.h"
#include "maildir_reader.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

namespace {

// The names of the syncs that `work` does.
template <class Work>
std::vector<std::string> syncs_of(Site& site, Work work) {
    std::vector<std::string> out;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (operation.starts_with("sync")) out.push_back(std::string(operation) + " " + name);
        return 0;
    };
    work();
    site.files().before = nullptr;
    return out;
}

bool is_whole(const User& user) {
    const fs::path root = root_of(user);
    const auto mode = [&](const fs::path& path) { return fs::status(path).permissions(); };
    for (const char* part : {"", "cur", "new", "tmp"})
        if (!fs::is_directory(root / part) || mode(root / part) != fs::perms{0700}) return false;
    return true;
}

}  // namespace

TEST_CASE("new mailbox: without a journal it is synced with the directory that it is in", "[maildir]") {
    Site site;
    site.with_mailbox("bob@x");  // so that the directory of the domain is there
    const User alice = site.user("alice@x");
    CHECK(syncs_of(site, [&] { must(site.mda().allocate(alice)); }) ==
          std::vector<std::string>{"sync " + site.mail() + "/x/alice", "sync " + site.mail() + "/x"});
}

TEST_CASE("new mailbox: with the journal one flush of that makes it safe", "[maildir]") {
    Site site;
    site.with_mailbox("bob@x");
    Desk desk(site);
    site.restart(desk.open());
    const User alice = site.user("alice@x");
    CHECK(syncs_of(site, [&] { must(site.mda().allocate(alice)); }) ==
          std::vector<std::string>{"sync_data " + desk.dir() + "/segment-0"});
    // The checkpoint syncs it with its volume.
    CHECK(syncs_of(site, [&] { site.restart(); }).front().starts_with("sync_volume "));
}

TEST_CASE("new mailbox: a directory that somebody made a moment ago is synced before it is relied on", "[maildir]") {
    Site site;
    Desk desk(site);
    site.restart(desk.open());
    fs::create_directory(site.mail() + "/x");
    const std::string above = "sync " + site.mail() + "/x/..";
    const bool old = GENERATE(false, true);
    if (old) site.files().made_at = 1;
    auto syncs = syncs_of(site, [&] { must(site.mda().allocate(site.user("alice@x"))); });
    CHECK((std::find(syncs.begin(), syncs.end(), above) != syncs.end()) == !old);
    CHECK(syncs.back() == "sync_data " + desk.dir() + "/segment-0");
    // Once is enough.
    syncs = syncs_of(site, [&] { must(site.mda().allocate(site.user("bob@x"))); });
    CHECK(syncs == std::vector<std::string>{"sync_data " + desk.dir() + "/segment-0"});
}

TEST_CASE("new mailbox: one that the journal cannot take is not made", "[maildir]") {
    Site site;
    Desk desk(site);
    site.restart(desk.open());
    site.files().before = [](std::string_view operation, const std::string&, DirRef) {
        return operation == "sync_data" ? EIO : 0;
    };
    const auto made = site.mda().allocate(site.user("alice@x"));
    REQUIRE_FALSE(made);
    CHECK(made.error().outcome == Outcome::trouble);
}

TEST_CASE("new mailbox: what a crash took of it is made again, and its mail brought back", "[maildir]") {
    Site site;
    Desk desk(site);
    site.restart(desk.open());
    const User alice = site.with_mailbox("alice@x", {{"quota.storage", "1G"}});
    site.delivered(alice, "one\n");
    const std::string crashed = desk.crashed();
    site.restart();
    const std::string lost = GENERATE("", "cur", "new", "tmp");
    CAPTURE(lost);
    fs::remove_all(root_of(alice) / lost);
    const JournalRecovery found = desk.recover(crashed);
    CHECK(found.mailboxes == 1);
    CHECK(found.kept == 0);
    CHECK(is_whole(alice));
    CHECK(site.messages(alice) == std::vector<std::string>{"one\n"});
    CHECK(site.usage(alice) == site.recount(alice));
    CHECK(desk.recover(crashed).mailboxes == 0);  // done with
}

TEST_CASE("new mailbox: it is made again although no mail came to it, and synced with its volume", "[maildir]") {
    Site site;
    Desk desk(site);
    site.restart(desk.open());
    const User alice = site.with_mailbox("alice@x");
    const std::string crashed = desk.crashed();
    site.restart();
    fs::remove_all(root_of(alice));
    const auto syncs = syncs_of(site, [&] { CHECK(desk.recover(crashed).mailboxes == 1); });
    CHECK(is_whole(alice));
    REQUIRE_FALSE(syncs.empty());
    CHECK(syncs.front() == "sync_volume " + root_of(alice).string());
    site.delivered(alice, "one\n");
    CHECK(site.usage(alice) == site.recount(alice));
}

TEST_CASE("new mailbox: one that is whole stays as it is", "[maildir]") {
    Site site;
    Desk desk(site);
    site.restart(desk.open());
    const User alice = site.with_mailbox("alice@x");
    const std::string crashed = desk.crashed();
    site.restart();
    site.delivered(alice, "one\n");
    fs::create_directories(root_of(alice) / ".Lists" / "cur");
    const JournalRecovery found = desk.recover(crashed);
    CHECK(found.mailboxes == 0);
    CHECK(found.kept == 0);
    CHECK(site.messages(alice) == std::vector<std::string>{"one\n"});
    CHECK(site.usage(alice) == site.recount(alice));
}

TEST_CASE("new mailbox: one that no record says is there is not made again", "[maildir]") {
    Site site;
    Desk desk(site);
    site.restart(desk.open());
    const User alice = site.with_mailbox("alice@x");
    const std::string crashed = desk.crashed();
    site.restart();
    const fs::path root = root_of(alice);
    fs::remove_all(root);
    const std::string how = GENERATE("gone", "not yet", "moved");
    CAPTURE(how);
    if (how == "gone") site.db().records.clear();
    if (how == "not yet") site.db().records.at("alice@x").allocation.reset();
    if (how == "moved") site.allocated(alice, {{"maildir.path", site.mail() + "/elsewhere"}});
    const JournalRecovery found = desk.recover(crashed);
    CHECK(found.mailboxes == 0);
    CHECK(found.kept == 0);
    CHECK_FALSE(fs::exists(root));
    CHECK_FALSE(fs::exists(site.mail() + "/elsewhere"));
}

TEST_CASE("new mailbox: nothing is made where its file system is not mounted; it waits for the next start",
          "[maildir]") {
    Site site;
    Desk desk(site);
    site.restart(desk.open());
    const User alice = site.with_mailbox("alice@x");
    const std::string crashed = desk.crashed();
    site.restart();
    fs::remove_all(root_of(alice));
    const fs::path parent = root_of(alice).parent_path();
    const fs::path aside = site.dir() + "/aside";
    fs::rename(parent, aside);
    if (GENERATE(false, true)) fs::create_directory(parent);
    CHECK(desk.recover(crashed).kept == 1);
    CHECK_FALSE(fs::exists(root_of(alice)));
    fs::remove(parent);
    fs::rename(aside, parent);
    CHECK(desk.recover(crashed).mailboxes == 1);
    CHECK(is_whole(alice));
    CHECK(desk.recover(crashed).kept == 0);
}

TEST_CASE("new mailbox: one with a uid of its own gets it again", "[maildir]") {
    if (::geteuid() != 0) ROOST_SKIP("needs root, to give mailboxes a uid");
    Site site({"maildir.uids=5000-5010"});
    Desk desk(site);
    site.restart(desk.open());
    const User alice = site.with_mailbox("alice@x");
    site.delivered(alice, "one\n");
    const std::string crashed = desk.crashed();
    site.restart();
    fs::remove_all(root_of(alice));
    CHECK(desk.recover(crashed).mailboxes == 1);
    CHECK(is_whole(alice));
    for (const char* part : {"", "new", "cur"}) {
        struct stat st {};
        REQUIRE(::stat((root_of(alice) / part).c_str(), &st) == 0);
        CHECK(st.st_uid == 5000);
    }
    CHECK(site.messages(alice) == std::vector<std::string>{"one\n"});
}
